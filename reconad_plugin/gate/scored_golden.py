"""What detectors do on the judge's images: the figures that the gate decides on."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reconad_plugin.detector.detector import Detector, Scores
from reconad_plugin.errors import UndefinedMetricError
from reconad_plugin.gate.comparison import SIMULATED, Evidence, GoldenLabels
from reconad_plugin.images.geometry import resize
from reconad_plugin.simulation.anomalies import simulate_anomalies
from reconad_plugin.simulation.presets import STAINS

MOST_REPEATS: Final = 4  # simulated anomalies an image
MOST_SIMULATED: Final = 400  # in all, but one an image
TIMED_IMAGES: Final = 8
TIMED_ROUNDS: Final = 5  # the quickest counts: noise of a busy machine only slows down


@dataclass(frozen=True)
class GoldenSet:
    """Images every version is judged on, each (N, 3, S, S) uint8.

    Attributes:
        normal: held-out normal images.
        anomalous: images with a defect.
        labels: what each of them is.
    """

    normal: Tensor
    anomalous: Tensor
    labels: GoldenLabels

    def with_normal(
        self, images: Tensor, names: Sequence[str], nights: Sequence[str]
    ) -> "GoldenSet":
        """The same set with more normal images, of the nights they arrived."""
        labels = replace(
            self.labels,
            normal=(*self.labels.normal, *names),
            nights=(*self.labels.nights, *nights),
        )
        return GoldenSet(torch.cat([self.normal, images]), self.anomalous, labels)

    def with_anomalous(self, other: "GoldenSet") -> "GoldenSet":
        """The same set with another's anomalous images beside its own."""
        labels = replace(
            self.labels,
            kind=f"{self.labels.kind} and {other.labels.kind}",
            anomalous=(*self.labels.anomalous, *other.labels.anomalous),
            defects=(*self.labels.defects, *other.labels.defects),
        )
        return GoldenSet(self.normal, torch.cat([self.anomalous, other.anomalous]), labels)

    def at(self, size_px: int) -> "GoldenSet":
        """The same images as squares of another size."""
        return replace(
            self, normal=resize(self.normal, size_px), anomalous=resize(self.anomalous, size_px)
        )


def simulated_golden_set(
    normal: Tensor, names: Sequence[str], nights: Sequence[str], seed: int
) -> GoldenSet:
    """Held-out normal images, and the same images with simulated anomalies.

    An anomaly follows from the image's name, its own number and the seed alone, so it stays what
    it is when other images join.

    Args:
        normal: (N, 3, S, S) uint8, the judge's.
        names: of these images.
        nights: they arrived on, ``YYYY-MM-DD``.
        seed: of the anomalies.
    """
    repeats = min(MOST_REPEATS, max(1, MOST_SIMULATED // max(1, len(normal))))
    anomalous_names = tuple(
        f"{name} simulated {n}" for name in names for n in range(1, repeats + 1)
    )
    anomalous = [
        simulate_anomalies(image[None], _generator(name, seed), STAINS).pixels
        for image, name in zip(normal.repeat_interleave(repeats, 0), anomalous_names, strict=True)
    ]
    labels = GoldenLabels(
        kind=SIMULATED,
        normal=tuple(names),
        nights=tuple(nights),
        anomalous=anomalous_names,
        defects=(SIMULATED,) * len(anomalous_names),
    )
    return GoldenSet(normal, torch.cat([normal[:0], *anomalous]), labels)


def gather_evidence(
    detectors: Sequence[Detector],
    golden: GoldenSet,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Evidence]:
    """Score the golden set with each detector, at the size that it takes.

    Args:
        detectors: the versions in question.
        golden: the same images for every version.
        clock: in seconds.

    Raises:
        UndefinedMetricError: there are no normal or no anomalous images.
    """
    if not len(golden.normal) or not len(golden.anomalous):
        raise UndefinedMetricError(
            "a version is judged on normal and anomalous images; got "
            f"{len(golden.normal)} and {len(golden.anomalous)}: bring held-out normal images"
        )
    seconds = _seconds_per_image(detectors, golden.normal[:TIMED_IMAGES], clock)
    return [
        _gather(each, golden.at(each.image_size_px), took)
        for each, took in zip(detectors, seconds, strict=True)
    ]


def disagreements(challenger: Evidence, champion: Evidence, most: int) -> NDArray[np.intp]:
    """Places, among normal and then anomalous images, of those that two versions see most
    differently: first where one alarms and the other does not, then by how ordinary the image
    looks to each."""
    ours, theirs = (
        each.ordinariness(np.concatenate([each.normal_scores, each.anomalous_scores]))
        for each in (challenger, champion)
    )
    our_alarms, their_alarms = (
        np.concatenate([each.normal_alarms, each.anomalous_alarms])
        for each in (challenger, champion)
    )
    apart = (our_alarms != their_alarms) + np.abs(ours - theirs)
    return np.argsort(-apart, kind="stable")[:most]


def _gather(detector: Detector, golden: GoldenSet, seconds_per_image: float) -> Evidence:
    normal, anomalous = detector.score(golden.normal), detector.score(golden.anomalous)
    calibration = detector.calibration
    return Evidence(
        normal_scores=normal.pred_score,
        normal_alarms=normal.pred_score > calibration.image_threshold,
        anomalous_scores=anomalous.pred_score,
        anomalous_alarms=anomalous.pred_score > calibration.image_threshold,
        calibration_images=len(calibration.normal_scores),
        calibration_alarms=calibration.scores_at_threshold,
        map_spread=_map_spread(normal),
        map_coverage=float((normal.anomaly_map > np.median(anomalous.map_maxima) / 2).mean()),
        seconds_per_image=seconds_per_image,
        size_bytes=sum(
            weights.numel() * weights.element_size()
            for weights in detector.network.state_dict().values()
        ),
    )


def _map_spread(scores: Scores) -> float:
    maps = scores.anomaly_map
    spread = maps.std((1, 2)) / np.maximum(maps.mean((1, 2)), 1e-12)  # (N, S, S) -> (N,)
    return float(spread.mean())


def _seconds_per_image(
    detectors: Sequence[Detector], images: Tensor, clock: Callable[[], float]
) -> list[float]:
    """The quickest of some rounds, taken by turns, so that a busy minute meets all alike."""
    best = [float("inf")] * len(detectors)
    sized = [resize(images, detector.image_size_px) for detector in detectors]
    for _ in range(TIMED_ROUNDS):
        for place, detector in enumerate(detectors):
            start_s = clock()
            detector.score(sized[place])
            best[place] = min(best[place], (clock() - start_s) / len(images))
    return best


def _generator(name: str, seed: int) -> torch.Generator:
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7]))
