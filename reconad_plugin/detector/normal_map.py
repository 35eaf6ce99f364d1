"""What each pixel of an anomaly map shows on normal images, which leaves the map before it scores.

The error of a reconstruction is never zero: an edge, a reflex or coarse grain is rebuilt worse than
plain ground, on every normal image. Held against its own mean and deviation, a pixel counts as
anomalous where it shows more than it usually does.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEAST_IMAGES: Final = 6  # of which each is held against five others; fewer tell nothing of pixels
PRIOR_IMAGES: Final = 10  # as if so many more had shown the deviation that all pixels share
_LEAST_DEVIATION: Final = 1e-6  # of the mean of a map

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NormalMap:
    """Mean and deviation of each pixel over held-out normal images."""

    mean: NDArray[np.float32]  # (S, S)
    deviation: NDArray[np.float32]  # (S, S), above 0

    def deviations(self, maps: Tensor) -> Tensor:
        """Return maps (B, S, S) in the deviations of each pixel; what is below its mean is 0."""
        mean, deviation = (torch.from_numpy(each).to(maps) for each in (self.mean, self.deviation))
        return ((maps - mean) / deviation).clamp_min(0)


def fit_normal_map(maps: NDArray[np.float32]) -> NormalMap | None:
    """Learn what (N, S, S) maps of held-out normal images show at each pixel; None where they are
    too few.

    Few images say little of a pixel, so its mean is drawn to that of all pixels, by as much as the
    pixels differ less than the images do, and its deviation to the common one.

    Source: Efron and Morris, "Stein's Estimation Rule and Its Competitors - An Empirical Bayes
    Approach", JASA 68, 1973, for the means.
    """
    if len(maps) < LEAST_IMAGES:
        return None
    return _of_sums(len(maps), *_sums(maps))


def scores_without_own(
    fitted_on: NDArray[np.float32], maps: NDArray[np.float32]
) -> tuple[Floats, NDArray[np.float32]]:
    """Score held-out normal images by maps from which what the others show is taken.

    An image that has a say in its own normal map would score lower than a new one does, so the
    threshold would be too low.

    Args:
        fitted_on: (N, S, S), at least six, of the images that a normal map is of.
        maps: (N, S, S) of the same images, perhaps in another light.

    Returns:
        (N,) scores, and the (N, S, S) maps that they are the highest points of.
    """
    total, squares = _sums(fitted_on)
    scores, left = np.empty(len(maps)), np.empty_like(maps)
    for index, (own, shown) in enumerate(zip(fitted_on, maps, strict=True)):
        own64 = own.astype(np.float64)
        others = _of_sums(len(maps) - 1, total - own64, squares - np.square(own64))
        left[index] = others.deviations(torch.from_numpy(shown)[None])[0].numpy()
        scores[index] = left[index].max()
    return scores, left


def _sums(maps: NDArray[np.float32]) -> tuple[Floats, Floats]:
    squares = np.einsum("nij,nij->ij", maps, maps, dtype=np.float64)  # no (N, S, S) between
    return maps.sum(0, dtype=np.float64), squares


def _of_sums(count: int, total: Floats, squares: Floats) -> NormalMap:
    mean = total / count
    within = np.maximum(squares / count - np.square(mean), 0) * count / (count - 1)
    common = float(within.mean())  # variance of an image at a pixel
    between = max(float(mean.var()) - common / count, 0.0)  # of the pixels' means
    trust = between / (between + common / count) if between else 0.0
    drawn = mean.mean() + trust * (mean - mean.mean())
    variance = (count * within + PRIOR_IMAGES * common) / (count + PRIOR_IMAGES)
    variance += trust * common / count  # of the mean itself
    least = _LEAST_DEVIATION * max(float(np.abs(mean).mean()), 1e-12)
    deviation = np.maximum(np.sqrt(variance), least)
    return NormalMap(drawn.astype(np.float32), deviation.astype(np.float32))
