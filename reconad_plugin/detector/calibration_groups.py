"""Thresholds by light, of a version of before: a third of the images that it learnt, by mean luma,
has each. No training makes them any more (docs/decisions/0054).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.detector.calibration import Calibration
from reconad_plugin.images.features import describe_image


@dataclass(frozen=True)
class CalibrationGroups:
    """Levels of light with a calibration each.

    Raises:
        ValueError: there is not one level more than edges, or the edges are no rising numbers.
    """

    # luminances between the levels, in rising order; an image at an edge belongs to the brighter
    # level
    edges: tuple[float, ...]
    calibrations: tuple[Calibration, ...]  # one a level, the darkest first

    def __post_init__(self) -> None:
        is_rising = np.isfinite(self.edges).all() and (np.diff(self.edges) > 0).all()
        if len(self.calibrations) != len(self.edges) + 1 or not is_rising:
            raise ValueError(
                "levels of light need rising edges and one level more than edges; got "
                f"{len(self.calibrations)} levels and the edges {self.edges}"
            )

    @classmethod
    def read(cls, description: Mapping[str, Any]) -> "CalibrationGroups":
        """Build them of their fields, as a JSON file has them; see ``Calibration.read``."""
        calibrations = tuple(map(Calibration.read, description["calibrations"]))
        return cls(tuple(description["edges"]), calibrations)

    def levels(self, luminance: NDArray[np.float64]) -> NDArray[np.intp]:
        """Find the index of each image's calibration: (N,) mean luma in [0, 1] -> (N,)."""
        return np.searchsorted(self.edges, luminance, side="right")


def luminances(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the mean luma as a manifest has it: (N, 3, S, S) uint8 -> (N,) in [0, 1]."""
    pictures = images.transpose(0, 2, 3, 1)  # (N, 3, S, S) -> (N, S, S, 3)
    return np.array([describe_image(picture)["luminance"] for picture in pictures])
