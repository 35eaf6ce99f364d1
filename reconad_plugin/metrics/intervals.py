"""What chance makes of a count: the one Clopper-Pearson interval, the one beta-binomial law and the
one conformal p-value.

Pictures of one part are alike, and so are no independent witnesses: where parts are told, a count
of pictures weighs as much as the same share of so many parts (docs/decisions/0031).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE: Final = 0.95  # of every interval
_TAILS: Final = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def index_parts(parts: Sequence[str], images: int) -> NDArray[np.intp]:
    """Number the part of each of so many images from 0: (N,). ``parts`` names them; with no names
    each image is a part of its own.

    Example:
        >>> index_parts(["b", "a", "b"], 3).tolist(), index_parts([], 3).tolist()
        ([1, 0, 1], [0, 1, 2])
    """
    if not parts:
        return np.arange(images)
    if len(parts) != images:
        raise ValueError(f"each image is of one part; got {images} and {len(parts)}")
    return np.unique(np.asarray(parts), return_inverse=True)[1]


def count_parts(parts: Sequence[str], images: int) -> int:
    """Count the parts of so many images; see ``index_parts``."""
    return len(set(parts)) if parts else images


def clopper_pearson(found: int, total: int, parts: int | None = None) -> tuple[float, float]:
    """Return the limits of the exact 95 % confidence interval of a share.

    Args:
        found: images that have it.
        total: images, at least one; independent ones unless parts are told.
        parts: how many parts they show. The limits are then those of the same share of so many
            parts, as if the pictures of a part were all alike, and so at least wide enough.

    Source: Clopper and Pearson, "The Use of Confidence or Fiducial Limits Illustrated in the
    Case of the Binomial", Biometrika 26, 1934.

    Example:
        >>> low, high = clopper_pearson(9, 10)
        >>> f"{low:.3f} to {high:.3f}"
        '0.555 to 0.997'
    """
    if parts is None or parts == total:
        limits = stats.binomtest(found, total).proportion_ci(CONFIDENCE, method="exact")
        return float(limits.low), float(limits.high)
    have, lack = found * parts / total, (total - found) * parts / total
    low = beta_interval(have, lack + 1)[0] if found else 0.0
    high = beta_interval(have + 1, lack)[1] if found < total else 1.0
    return low, high


def share_at_least(normals: ArrayLike, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of (N,) normal scores that are at least as high as each of (M,) scores, the
    score itself counted: the p-value of split conformal prediction, (M,) in (0, 1].

    Example:
        >>> share_at_least([0.4, 0.1, 0.3, 0.2], np.array([0.05, 0.35, 0.5])).tolist()
        [1.0, 0.4, 0.2]
    """
    ordered = np.sort(normals)
    at_least = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return (1 + at_least) / (1 + len(ordered))


def beta_interval(above: float, below: float) -> tuple[float, float]:
    """Return the limits that a share of the law Beta(above, below) lies within at 95 %."""
    low, high = stats.beta.ppf(_TAILS, above, below)
    return float(low), float(high)


def beta_binomial_tail(seen: int, images: int, above: float, below: float) -> float:
    """Return the chance that at least so many images have what a share of the law
    Beta(above, below) has.

    Args:
        seen: images that have it.
        images: images in all.
        above: first parameter of the share's law, positive.
        below: second parameter, positive.
    """
    return float(stats.betabinom.sf(seen - 1, images, above, below))


def exceedance_p_value(
    above: int, images: int, calibration_images: float, calibration_above: float
) -> float:
    """Return the chance that at least so many of some normal images exceed a calibrated threshold.

    New and calibration images are exchangeable when nothing has changed, so the number above
    follows the beta-binomial law; with few calibration images it is honestly wide.

    Args:
        above: images, or parts, above the threshold.
        images: images, or parts, in all.
        calibration_images: held-out normal images, or parts, that the threshold came from, at
            least one.
        calibration_above: how many of them lie at or above the threshold.

    Source: Wilks, "Determination of Sample Sizes for Setting Tolerance Limits", Annals of
    Mathematical Statistics 12, 1941.
    """
    if not images:
        return 1.0
    at_or_above = max(calibration_above, 1)
    return beta_binomial_tail(above, images, at_or_above, calibration_images - at_or_above + 1)
