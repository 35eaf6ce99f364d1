"""Thresholds and p-values from held-out normal images alone.

Source: split conformal prediction (Vovk, Gammerman and Shafer, "Algorithmic Learning in a
Random World", 2005): for an exchangeable new normal image, P(p_value <= a) <= a.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reconad_plugin.errors import NotEnoughImagesError

MIN_CALIBRATION_IMAGES = 2


@dataclass(frozen=True)
class Calibration:
    """The scores of held-out normal images, and the threshold that they allow.

    Attributes:
        normal_scores: sorted scores of the held-out normal images.
        image_threshold: an image that scores above it is labelled anomalous.
        target_fpr: the wished-for share of normal images above the threshold.
        supported_fpr: the share that this many images can vouch for; larger than the target
            when there are too few of them (n images vouch for 1 / (n + 1) at best).
    """

    normal_scores: tuple[float, ...]
    image_threshold: float
    target_fpr: float
    supported_fpr: float

    @property
    def is_target_supported(self) -> bool:
        """Whether there were enough held-out images for the wished-for rate."""
        return self.supported_fpr <= self.target_fpr

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of held-out normals that score at least this, the image itself counted.

        Args:
            scores: (N,) image scores.

        Returns:
            (N,) in (0, 1]: (1 + number of normals at or above) / (1 + number of normals).
        """
        normals = np.asarray(self.normal_scores)
        at_least = len(normals) - np.searchsorted(normals, scores, side="left")
        return (1 + at_least) / (1 + len(normals))

    @property
    def scores_at_threshold(self) -> int:
        """How many held-out normal images lie at or above the threshold."""
        return sum(score >= self.image_threshold for score in self.normal_scores)


def exceedance_p_value(
    above: int, images: int, calibration_images: int, calibration_above: int
) -> float:
    """Chance that at least so many of some normal images exceed a calibrated threshold.

    New and calibration images are exchangeable when nothing has changed, so the number above
    follows the beta-binomial law; with few calibration images it is honestly wide.

    Args:
        above: images above the threshold.
        images: images in all.
        calibration_images: held-out normal images that the threshold came from, at least one.
        calibration_above: how many of them lie at or above the threshold.

    Source: Wilks, "Determination of Sample Sizes for Setting Tolerance Limits", Annals of
    Mathematical Statistics 12, 1941.
    """
    if not images:
        return 1.0
    at_or_above = max(calibration_above, 1)
    below = calibration_images - at_or_above + 1
    return float(stats.betabinom.sf(above - 1, images, at_or_above, below))


def calibrate(scores: Sequence[float] | NDArray[np.float64], target_fpr: float) -> Calibration:
    """Set the threshold at a target false-positive rate.

    The threshold is the ceil((n + 1)(1 - target))-th smallest score; where n is too small for
    the target it is the largest score, and ``supported_fpr`` says what that is worth.

    Args:
        scores: scores of held-out normal images, at least two, finite.
        target_fpr: in (0, 1).

    Raises:
        NotEnoughImagesError: fewer than two scores.
        ValueError: a score is not finite.

    Example:
        >>> calibration = calibrate([0.1, 0.4, 0.2, 0.3], target_fpr=0.25)
        >>> calibration.image_threshold, calibration.supported_fpr
        (0.4, 0.2)
        >>> calibration.p_values(np.array([0.05, 0.35, 0.5])).tolist()
        [1.0, 0.4, 0.2]
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    count = len(ordered)
    if count < MIN_CALIBRATION_IMAGES:
        raise NotEnoughImagesError(
            f"a threshold needs at least {MIN_CALIBRATION_IMAGES} held-out normal images; "
            f"got {count}: bring more normal images"
        )
    if not np.isfinite(ordered).all():
        raise ValueError("scores of held-out normal images must be finite; got NaN or infinity")
    rank = min(count, math.ceil((count + 1) * (1 - target_fpr)))
    return Calibration(
        normal_scores=tuple(ordered.tolist()),
        image_threshold=float(ordered[rank - 1]),
        target_fpr=target_fpr,
        supported_fpr=(count + 1 - rank) / (count + 1),
    )
