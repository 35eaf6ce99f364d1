"""What detectors do on the golden set: the figures that the gate decides on."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.detector.detector import Detector
from reconad_plugin.errors import UndefinedMetricError
from reconad_plugin.gate.golden import GoldenSet
from reconad_plugin.gate.limits import LIMITS
from reconad_plugin.images.geometry import resize
from reconad_plugin.images.region import pixels_inside
from reconad_plugin.metrics.image import image_auroc
from reconad_plugin.metrics.intervals import share_at_least


@dataclass(frozen=True, eq=False)
class ScoredGoldenSet:
    """The scores of one version on the N normal and M anomalous images; it was trained on none."""

    normal_scores: NDArray[np.float64]  # (N,) higher is more anomalous
    # (N,) bool, whether it lies above the version's own threshold
    normal_flagged: NDArray[np.bool_]
    anomalous_scores: NDArray[np.float64]  # (M,)
    anomalous_flagged: NDArray[np.bool_]  # (M,) bool
    # held-out normal images, or else parts, that the version's threshold came from
    calibration_images: int
    calibration_flagged: float  # how many of them lie at or above it
    # standard deviation over mean of a normal image's map; 0 is a map that says the same everywhere
    map_spread: float
    map_coverage: float  # share of normal pixels above half of what anomalous images peak at
    seconds_per_image: float  # of scoring
    size_bytes: int  # of the weights

    @property
    def recall(self) -> float:
        """Share of anomalous images above the version's own threshold."""
        return float(self.anomalous_flagged.mean())

    @property
    def auroc(self) -> float:
        """Chance that an anomalous image scores above a normal one."""
        return image_auroc(self.normal_scores, self.anomalous_scores)

    def threshold_at(self, fpr: float) -> float:
        """Return the threshold that this share of these normal images lies above."""
        return float(np.sort(self.normal_scores)[threshold_index(len(self.normal_scores), fpr)])

    def normal_share_above(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of these normal images that score as high, the image itself counted."""
        return share_at_least(self.normal_scores, scores)


def score_golden_set(
    detectors: Sequence[Detector],
    golden: GoldenSet,
    clock: Callable[[], float] = time.perf_counter,
) -> list[ScoredGoldenSet]:
    """Score the same images with each detector, at the size that it takes; the clock is in seconds.

    Raises:
        UndefinedMetricError: there are no normal or no anomalous images.
    """
    if not len(golden.normal) or not len(golden.anomalous):
        raise UndefinedMetricError(
            "a version is judged on normal and anomalous images; got "
            f"{len(golden.normal)} and {len(golden.anomalous)}: bring held-out normal images"
        )
    seconds = _seconds_per_image(detectors, golden.normal[: LIMITS.timed_images], clock)
    return [
        _score(each, golden.at(each.image_size_px), took)
        for each, took in zip(detectors, seconds, strict=True)
    ]


def _score(detector: Detector, golden: GoldenSet, seconds_per_image: float) -> ScoredGoldenSet:
    normal, anomalous = detector.score(golden.normal), detector.score(golden.anomalous)
    calibration, seen = detector.calibration, pixels_inside(normal.anomaly_map, detector.region)
    marked = LIMITS.marked_height * np.median(anomalous.map_maxima)
    return ScoredGoldenSet(
        normal_scores=normal.pred_score,
        normal_flagged=normal.pred_score > calibration.image_threshold,
        anomalous_scores=anomalous.pred_score,
        anomalous_flagged=anomalous.pred_score > calibration.image_threshold,
        calibration_images=calibration.independent_images,
        calibration_flagged=calibration.independent_at_threshold,
        map_spread=_map_spread(seen),
        map_coverage=float((seen > marked).mean()),
        seconds_per_image=seconds_per_image,
        size_bytes=detector.size_bytes,
    )


def _map_spread(maps: NDArray[np.float32]) -> float:
    """Compute the mean over N maps of the deviation over the mean, (N, S, S) or (N, P)."""
    of_a_map = tuple(range(1, maps.ndim))
    return float((maps.std(of_a_map) / np.maximum(maps.mean(of_a_map), 1e-12)).mean())


def _seconds_per_image(
    detectors: Sequence[Detector], images: NDArray[np.uint8], clock: Callable[[], float]
) -> list[float]:
    """Time the quickest of some rounds, one detector after the other in each, so that a busy
    minute meets all alike."""
    best = [float("inf")] * len(detectors)
    sized = [resize(images, detector.image_size_px) for detector in detectors]
    for _ in range(LIMITS.timed_rounds):
        for index, detector in enumerate(detectors):
            start_s = clock()
            detector.score(sized[index])
            best[index] = min(best[index], (clock() - start_s) / len(images))
    return best


def threshold_index(normals: int, fpr: float) -> int:
    """Return the index of the threshold among the normal images, the lowest first."""
    return math.ceil((normals - 1) * (1 - fpr))
