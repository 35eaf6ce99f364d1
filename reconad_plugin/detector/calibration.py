"""Thresholds and p-values from held-out normal images alone.

Source: split conformal prediction (Vovk, Gammerman and Shafer, "Algorithmic Learning in a
Random World", 2005): for an exchangeable new normal image, P(p_value <= a) <= a.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.errors import NotEnoughImagesError, UndefinedMetricError
from reconad_plugin.metrics.intervals import beta_interval, clopper_pearson, share_at_least

MIN_CALIBRATION_IMAGES: Final = 2
MIN_RANK_TO_BOUND: Final = 10  # fewer scores do not tell an odd image from the spread of the others
# a threshold lies above the score below it by at most this share of what that one lies above the
# median of those up to it
MAX_STAND_OFF: Final = 0.5


@dataclass(frozen=True)
class Calibration:
    """The scores of held-out normal images, and the thresholds that they allow."""

    normal_scores: tuple[float, ...]  # sorted scores of the held-out normal images
    image_threshold: float  # an image that scores above it is labelled anomalous
    target_fpr: float  # the wished-for share of normal images above the threshold
    # the share that these images can vouch for; larger than the target when there are too few of
    # them (n images vouch for 1 / (n + 1) at best)
    supported_fpr: float
    # at most ``supported_fpr`` of normal images have any pixel of their map above it; None where
    # the maps were not looked at
    pixel_threshold: float | None = None
    parts: int | None = None  # how many parts these images show; None: each one of its own

    @classmethod
    def read(cls, description: Mapping[str, Any]) -> "Calibration":
        """Build one of its fields, as a JSON file has them.

        Raises:
            KeyError, TypeError: a field is missing, or unknown.
            ValueError: a threshold is no finite number.
        """
        scores = tuple(description["normal_scores"])
        calibration = cls(**{**description, "normal_scores": scores})
        if not math.isfinite(calibration.image_threshold):
            raise ValueError(f"the threshold must be a number; it is {calibration.image_threshold}")
        pixel = calibration.pixel_threshold
        if pixel is not None and not math.isfinite(pixel):
            raise ValueError(f"the pixel threshold must be a number; it is {pixel}")
        return calibration

    @property
    def independent_images(self) -> int:
        """How many independent images, or else parts, the threshold rests on."""
        return len(self.normal_scores) if self.parts is None else self.parts

    @property
    def is_target_supported(self) -> bool:
        """Whether there were enough held-out images for the wished-for rate."""
        return self.supported_fpr <= self.target_fpr

    @property
    def fpr_interval(self) -> tuple[float, float]:
        """Where the true false-positive rate lies: limits of a 95 % confidence interval.

        Above the k-th smallest of n scores lies a share of all normal images that follows
        Beta(n + 1 - k, k), whatever the law of the scores. Equal scores make the true share
        smaller; the upper limit holds for them too. The bound of the threshold takes away more of
        the lowest shares than it adds to the highest (docs/decisions/0026).

        Source: Wilks, as in ``metrics.intervals``; Vovk, "Conditional Validity of Inductive
        Conformal Predictors", ACML 2012.
        """
        count = len(self.normal_scores)
        rank = _rank(count, self.target_fpr)
        weight = (self.independent_images + 1) / (
            count + 1
        )  # of an image, where parts have several
        return beta_interval((count + 1 - rank) * weight, rank * weight)

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of held-out normals that score at least this, the image itself counted:
        (1 + number of normals at or above) / (1 + number of normals), (N,) in (0, 1]. It is never
        below what so many parts can vouch for."""
        shares = share_at_least(self.normal_scores, scores)
        return np.maximum(shares, 1 / (self.independent_images + 1))

    @property
    def scores_at_threshold(self) -> int:
        """How many held-out normal images lie at or above the threshold."""
        return sum(score >= self.image_threshold for score in self.normal_scores)

    @property
    def independent_at_threshold(self) -> float:
        """The same share of the independent images or parts."""
        return self.scores_at_threshold * self.independent_images / len(self.normal_scores)


def calibrate(
    scores: Sequence[float] | NDArray[np.float64],
    target_fpr: float,
    map_maxima: Sequence[float] | NDArray[np.float64] | None = None,
    parts: int | None = None,
) -> Calibration:
    """Set the thresholds at a target false-positive rate.

    A threshold is the ceil((n + 1)(1 - target))-th smallest score; where n is too small for
    the target it is the largest score, and ``supported_fpr`` says what that is worth. The pixel
    threshold is the map maximum of the same rank, so a normal image counts once however many
    of its pixels lie above. Neither follows a single odd image: from a rank of ten on the scores
    below bound it (``MAX_STAND_OFF``; docs/decisions/0026).

    Where the images show several pictures of a part, the threshold is the same, but what vouches
    for it are parts: ``supported_fpr`` is never below one of so many and a new one, and the
    interval of the true rate is that of as many scores as there are parts (docs/decisions/0031).

    Args:
        scores: scores of held-out normal images, at least two, finite.
        target_fpr: in (0, 1).
        map_maxima: the highest point of each of these images' maps, as many, finite; without
            them there is no pixel threshold.
        parts: how many parts the images show; None: each one of its own.

    Raises:
        NotEnoughImagesError: fewer than two scores.
        ValueError: a score is not finite, or there are not as many maxima as scores.

    Example:
        >>> calibration = calibrate([0.1, 0.4, 0.2, 0.3], target_fpr=0.25)
        >>> calibration.image_threshold, calibration.supported_fpr
        (0.4, 0.2)
        >>> calibration.p_values(np.array([0.05, 0.35, 0.5])).tolist()
        [1.0, 0.4, 0.2]
    """
    ordered = _in_order(scores)
    count = len(ordered)
    if count < MIN_CALIBRATION_IMAGES:
        raise NotEnoughImagesError(
            f"a threshold needs at least {MIN_CALIBRATION_IMAGES} held-out normal images; "
            f"got {count}: bring more normal images"
        )
    if map_maxima is not None and len(map_maxima) != count:
        raise ValueError(f"each score needs one map; got {count} and {len(map_maxima)}")
    independent_images = count if parts is None else parts
    rank = _rank(count, target_fpr)
    is_bounded = rank >= MIN_RANK_TO_BOUND
    # so many of these images and a new one lie above what the others set: those from this rank on,
    # and the one below where it stands apart itself
    above = count + 1 - rank
    above += int(is_bounded and ordered[rank - 2] > _reach(ordered[: rank - 2]))

    def bound(ordered: NDArray[np.float64]) -> float:
        reach = _reach(ordered[: rank - 1]) if is_bounded else math.inf
        return float(min(ordered[rank - 1], reach))

    return Calibration(
        normal_scores=tuple(ordered.tolist()),
        image_threshold=bound(ordered),
        target_fpr=target_fpr,
        supported_fpr=max(above / (count + 1), 1 / (independent_images + 1)),
        pixel_threshold=None if map_maxima is None else bound(_in_order(map_maxima)),
        parts=parts,
    )


def _rank(count: int, target_fpr: float) -> int:
    """Return which of so many scores, the lowest first, is the threshold of a rate."""
    return min(count, math.ceil((count + 1) * (1 - target_fpr)))


def _reach(below: NDArray[np.float64]) -> float:
    """Return how high the next of (K,) sorted scores may be before it stands apart from them."""
    return float(below[-1] + MAX_STAND_OFF * (below[-1] - np.median(below)))


def images_needed(target_fpr: float, above: int = 1) -> int:
    """Return the fewest held-out normal images that can vouch for a false-positive rate, where so
    many of them and a new one lie above the threshold.

    Example:
        >>> images_needed(0.02), images_needed(0.02, above=2), images_needed(0.001)
        (49, 99, 999)
    """
    return max(MIN_CALIBRATION_IMAGES, math.ceil(above / target_fpr) - 1)


def threshold_warning(calibration: Calibration) -> str | None:
    """Return a warning where a threshold is worth less than was asked for, else None."""
    if calibration.is_target_supported:
        return None
    low, high = calibration.fpr_interval
    count, parts = len(calibration.normal_scores), calibration.independent_images
    above = round(calibration.supported_fpr * (parts + 1))
    of = "" if calibration.parts is None else f" of {parts} parts"
    needed = images_needed(calibration.target_fpr, above)
    return (
        f"{count} held-out images{of} can vouch for "
        f"{_percent(calibration.supported_fpr)} false alarms at best, not for target_fpr "
        f"{_percent(calibration.target_fpr)}: bring more normal images, "
        f"{needed}{' parts' if of else ''} held out; until then the true rate is "
        f"{_percent(low)} to {_percent(high)} (95 % interval)"
    )


@dataclass(frozen=True)
class ThresholdCheck:
    """What labelled defects say of a threshold that they had no part in."""

    found: int  # defects above the threshold
    defects: int  # defects in all
    recall: float  # the share found
    # limits of the 95 % confidence interval of the share that would be found of all such defects
    recall_interval: tuple[float, float]
    # whether defects are beyond doubt more often above the threshold than normal images may be: the
    # interval lies above that of the false-positive rate
    is_passed: bool
    sentence: str  # the same in words


def check_threshold(calibration: Calibration, defect_scores: NDArray[np.float64]) -> ThresholdCheck:
    """Hold (N,) scores of labelled defects, scored as the normal images were, against a threshold
    that comes from these alone and stays as it is.

    Raises:
        UndefinedMetricError: there is no defect, or a score is not finite.

    Example:
        >>> calibration = calibrate(np.arange(49.0), target_fpr=0.02)
        >>> check_threshold(calibration, np.array([60.0] * 9 + [10.0])).sentence
        '9 of 10 labelled defects are above the threshold: 90.0 % (95 % interval 55.5 % to 99.7 %)'
    """
    defects = len(defect_scores)
    if not defects or not np.isfinite(defect_scores).all():
        raise UndefinedMetricError(
            "a check of the threshold needs finite scores of labelled defects; got "
            f"{defects} with {int((~np.isfinite(defect_scores)).sum())} not finite"
        )
    found = int((defect_scores > calibration.image_threshold).sum())
    low, high = clopper_pearson(found, defects)
    highest_fpr = calibration.fpr_interval[1]
    is_passed = low > highest_fpr
    sentence = (
        f"{found} of {defects} labelled defects are above the threshold: "
        f"{_percent(found / defects)} (95 % interval {_percent(low)} to {_percent(high)})"
    )
    if not is_passed:
        sentence += (
            f"; of normal images it may be up to {_percent(highest_fpr)}: the threshold stays, "
            "bring more normal images and defects, or try another model"
        )
    return ThresholdCheck(found, defects, found / defects, (low, high), is_passed, sentence)


def _in_order(scores: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    if not np.isfinite(ordered).all():
        raise ValueError("scores of held-out normal images must be finite; got NaN or infinity")
    return ordered


def _percent(share: float) -> str:
    """Write a share in words: one decimal, more where that would round it to nothing.

    Example:
        >>> _percent(0.02), _percent(0.00034)
        ('2.0 %', '0.034 %')
    """
    return f"{100 * share:.1f} %" if share >= 0.001 or not share else f"{100 * share:.2g} %"
