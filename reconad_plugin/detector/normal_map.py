"""What each pixel of an anomaly map shows on normal images, which leaves the map before it scores.

The error of a reconstruction is never zero: an edge, a reflex or coarse grain is rebuilt worse than
plain ground, on every normal image. Held against its own mean and deviation, a pixel counts as
anomalous where it shows more than it usually does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.metrics.intervals import index_parts

LEAST_IMAGES: Final = 6  # of which each is held against five others; fewer tell nothing of pixels
PRIOR_IMAGES: Final = 10  # as if so many more had shown the deviation that all pixels share
_LEAST_DEVIATION: Final = 1e-6  # of the mean of a map

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NormalMap:
    """Mean and deviation of each pixel over normal images."""

    mean: NDArray[np.float32]  # (S, S); (B, S, S) where each image of a batch has its own
    deviation: NDArray[np.float32]  # as many, above 0

    @classmethod
    def stack(cls, maps: Sequence["NormalMap"]) -> "NormalMap":
        """Return those of a batch of images as one."""
        return cls(
            *(np.stack([getattr(each, of) for each in maps]) for of in ("mean", "deviation"))
        )

    def deviations(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return maps (B, S, S) in the deviations of each pixel; what is below its mean is 0."""
        return np.asarray(np.maximum((maps - self.mean) / self.deviation, 0), np.float32)


@dataclass(frozen=True)
class MapSums:
    """Sums over maps of normal images, which a normal map follows from."""

    count: int  # images
    total: Floats  # (S, S)
    squares: Floats  # (S, S)

    @classmethod
    def of(cls, maps: NDArray[np.float32]) -> "MapSums":
        """Sum (N, S, S) maps."""
        squares = np.einsum("nij,nij->ij", maps, maps, dtype=np.float64)  # no (N, S, S) between
        return cls(len(maps), maps.sum(0, dtype=np.float64), squares)

    @property
    def mean(self) -> NDArray[np.float32]:
        """(S, S) mean of these maps."""
        return np.asarray(self.total / self.count, np.float32)

    @property
    def scatter(self) -> Floats:
        """(S, S) squares of what these maps differ from their mean, summed."""
        return np.maximum(self.squares - np.square(self.total) / self.count, 0)

    def __add__(self, other: "MapSums") -> "MapSums":
        """Return the sums over the images of both."""
        return MapSums(
            self.count + other.count, self.total + other.total, self.squares + other.squares
        )

    def without(self, own: NDArray[np.float32]) -> "MapSums":
        """Return the sums over all images but some, whose maps (N, S, S) are among them."""
        some = MapSums.of(own)
        return MapSums(
            self.count - some.count, self.total - some.total, self.squares - some.squares
        )

    def normal_map(self, inside: NDArray[np.bool_] | None = None) -> NormalMap:
        """Learn what each pixel shows on normal images, of at least two. Pixels outside a region,
        (S, S), have no say in what all share.

        Few images say little of a pixel, so its mean is drawn to that of all pixels, by as much as
        the pixels differ less than the images do, and its deviation to the common one.

        Source: Efron and Morris, "Stein's Estimation Rule and Its Competitors - An Empirical Bayes
        Approach", JASA 68, 1973, for the means.
        """
        count, mean = self.count, self.total / self.count
        within = np.maximum(self.squares / count - np.square(mean), 0) * count / (count - 1)
        counted = slice(None) if inside is None else inside
        common = float(within[counted].mean())  # variance of an image at a pixel
        between = max(float(mean[counted].var()) - common / count, 0.0)  # of the pixels' means
        trust = between / (between + common / count) if between else 0.0
        middle = mean[counted].mean()
        drawn = middle + trust * (mean - middle)
        variance = (count * within + PRIOR_IMAGES * common) / (count + PRIOR_IMAGES)
        variance += trust * common / count  # of the mean itself
        least = _LEAST_DEVIATION * max(float(np.abs(mean[counted]).mean()), 1e-12)
        deviation = np.maximum(np.sqrt(variance), least)
        return NormalMap(drawn.astype(np.float32), deviation.astype(np.float32))


def scores_without_own(
    sums: MapSums,
    own: NDArray[np.float32],
    maps: NDArray[np.float32],
    inside: NDArray[np.bool_] | None = None,
    parts: Sequence[str] = (),
) -> tuple[Floats, NDArray[np.float32]]:
    """Score held-out normal images by maps from which what the others show is taken.

    An image that has a say in its own normal map would score lower than a new one does, so the
    threshold would be too low.

    Args:
        sums: over the images that the normal map is of, these among them; three at least.
        own: (N, S, S), the maps of these that are in the sums.
        maps: (N, S, S) of the same images, perhaps in another light.
        inside: (S, S), where to look; both maps are 0 elsewhere.
        parts: of which part each image is; it is held against those of other parts alone. Without
            them each is a part of its own.

    Returns:
        (N,) scores, and the (N, S, S) maps that they are the highest points of.
    """

    def others(index: NDArray[np.intp]) -> list[NormalMap]:
        return [sums.without(own[index]).normal_map(inside)] * len(index)

    return score_part_by_part(maps, parts, others)


def score_part_by_part(
    maps: NDArray[np.float32],
    parts: Sequence[str],
    others: Callable[[NDArray[np.intp]], Sequence[NormalMap]],
) -> tuple[Floats, NDArray[np.float32]]:
    """Score (N, S, S) maps, those of a part by the normal maps that ``others`` gives for their
    indices, one each; see ``scores_without_own``."""
    scores, left = np.empty(len(maps)), np.empty_like(maps)
    of_part = index_parts(parts, len(maps))
    for part in range(of_part.max() + 1):
        index = np.flatnonzero(of_part == part)
        for each, normal in zip(index, others(index), strict=True):
            left[each] = normal.deviations(maps[each])
            scores[each] = left[each].max()
    return scores, left
