"""Two detectors held against each other: what they learnt, number by number."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.torch_engine import TorchEngine, network_of


@dataclass(frozen=True)
class WeightDifferences:
    """What two detectors have learnt, compared."""

    tensors: int  # of both together, by name
    numbers: int  # in those of the first
    # name of each tensor that differs -> its largest absolute difference; infinite where only one
    # has it, where shapes differ, or where one number is none
    different: Mapping[str, float]

    @property
    def worst(self) -> tuple[str, float] | None:
        """Name and difference of the tensor that differs most; None where all are equal."""
        return max(self.different.items(), key=lambda each: each[1], default=None)


def compare_weights(one: Detector, other: Detector) -> WeightDifferences:
    """Compare all that two detectors have learnt, with their witnesses.

    Raises:
        ConfigError: a graph scores in place of a network.
    """
    first, second = learnt_arrays(one), learnt_arrays(other)
    names = sorted({*first, *second})
    apart = {name: _difference(first.get(name), second.get(name)) for name in names}
    return WeightDifferences(
        tensors=len(names),
        numbers=sum(each.size for each in first.values()),
        different={name: largest for name, largest in apart.items() if largest > 0},
    )


def learnt_arrays(detector: Detector) -> dict[str, NDArray[np.generic]]:
    """Return what a detector has learnt by name: its network's weights, its normal map, and the
    same of its witness.

    Raises:
        ConfigError: a graph scores in place of the network.
    """
    arrays = TorchEngine(network_of(detector), detector.window_px).weights()
    if (normal := detector.normal_map) is not None:
        arrays |= {"normal_map.mean": normal.mean, "normal_map.deviation": normal.deviation}
    if detector.witness is not None:
        beside = learnt_arrays(detector.witness.detector)
        arrays |= {f"witness.{name}": values for name, values in beside.items()}
    return arrays


def _difference(one: NDArray[np.generic] | None, other: NDArray[np.generic] | None) -> float:
    if one is None or other is None or one.shape != other.shape:
        return inf
    if np.array_equal(one, other):
        return 0.0
    largest = float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())
    return largest if np.isfinite(largest) else inf
