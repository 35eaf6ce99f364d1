"""What normal images show at each context: a position of the camera, or a variant of the product.

A fixed camera that looks at several positions sees another edge and another reflex at each. Held
against all of them an image may show at its own position what is normal only at another.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.detector.normal_map import (
    PRIOR_IMAGES,
    Floats,
    MapSums,
    NormalMap,
    score_part_by_part,
)
from reconad_plugin.images.features import LUMA_WEIGHTS
from reconad_plugin.images.names import printable
from reconad_plugin.metrics.intervals import clopper_pearson, index_parts

LEAST_IMAGES: Final = 8  # that are normal, of a context with a normal map of its own
MOST_CONTEXTS: Final = 100  # whose maps are in a version: 6.5 MB at 128 px
REFERENCE_PX: Final = 64  # side of the small pictures that contexts are told apart by
DETAIL_PX: Final = 5  # side of the window whose mean is taken out of them: what is larger is light
# how many times as far from its reference as any learnt image was a picture may be: later nights
# differ more than those that were learnt, and pictures of something else lie five times as far
MARGIN: Final = 2.0
# share of learnt images that the others of their contexts tell right, below which no picture tells
LEAST_RIGHT: Final = 0.75
_PRIOR_SHARE: Final = 0.1  # of the mean variance of a detail, which each has at least
_BATCH: Final = 64
_LEAST_CONTRAST: Final = 0.1  # grey levels

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class References:
    """Small pictures of contexts, which tell of a new picture which of them it shows."""

    means: NDArray[np.float32]  # (K, 64, 64) details of the normal images of each context
    deviation: NDArray[np.float32]  # (64, 64) of a detail within a context, above 0
    # in deviations; what is farther from all of them is unknown, and with 0 all is
    reach: float

    @classmethod
    def fit(cls, details: NDArray[np.float32], index: NDArray[np.intp]) -> "References":
        """Learn them from (N, 64, 64) details of images of the contexts 0 to K - 1, at least two
        of each. Where these do not tell each other's contexts, as of exposures of one part, all
        pictures are unknown: a wrong context is worse than none, and a warning says so."""
        contexts = range(index.max() + 1)
        counts = np.bincount(index)[index][:, None, None]  # of the context of each image
        means = np.stack([details[index == each].mean(0) for each in contexts])
        left = details - means[index]  # (N, 64, 64)
        variance = np.square(left).sum(0) / max(1, len(details) - len(means))
        variance += _PRIOR_SHARE * variance.mean() + 1e-12
        to_others = left * counts / (counts - 1)  # from the mean of the others of its context
        own = np.sqrt((np.square(to_others) / variance).mean((1, 2)))  # (N,)
        references = cls(means, np.sqrt(variance), MARGIN * float(own.max()))
        others = references._distances(details)
        others[np.arange(len(index)), index] = np.inf
        right = float((own < others.min(1)).mean())
        if right >= LEAST_RIGHT:
            return references
        warnings.warn(
            f"contexts must be told where pictures do not tell them; {right:.0%} of the images are "
            "most like the others of their own: give `context` when serving, or names with a "
            "pattern; what is not told is held against the normal map and threshold of all",
            stacklevel=2,
        )
        return replace(references, reach=0.0)

    def nearest(self, images: NDArray[np.uint8]) -> NDArray[np.intp]:
        """Return the number of the context that (N, 3, H, W) images show: (N,); -1 where it
        is none of these."""
        distance = self._distances(describe_details(images))
        return np.where(distance.min(1) <= self.reach, distance.argmin(1), -1)

    def _distances(self, details: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how far (N, 64, 64) details are from each context, in deviations: (N, K)."""
        shown = (details / self.deviation).reshape(len(details), -1)
        known = (self.means / self.deviation).reshape(len(self.means), -1)
        squares = np.square(shown).sum(1)[:, None] - 2 * shown @ known.T + np.square(known).sum(1)
        return np.asarray(np.sqrt(np.maximum(squares, 0) / shown.shape[1]), np.float32)


def describe_details(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Reduce (N, 3, H, W) images to what tells contexts apart: (N, 64, 64) of luma, less the mean
    around each pixel, in one contrast. No lamp changes it much."""
    down, across = (_means_of_parts(length) for length in images.shape[-2:])
    around = _means_around(REFERENCE_PX)
    details = np.empty((len(images), REFERENCE_PX, REFERENCE_PX), np.float32)
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        luma = np.einsum("c,bchw->bhw", LUMA_WEIGHTS, batch, optimize=True)
        small = down @ luma @ across.T  # (B, H, W) -> (B, 64, 64)
        fine = small - around @ small @ around.T
        contrast = fine.std((1, 2), keepdims=True, ddof=1)
        details[start : start + _BATCH] = fine / np.maximum(contrast, _LEAST_CONTRAST)
    return details


@cache
def _means_of_parts(length: int) -> NDArray[np.float32]:
    """Return what takes the means of 64 parts of so many pixels, (64, length); where they are not
    a multiple of 64, the parts overlap."""
    part, pixel = np.arange(REFERENCE_PX)[:, None], np.arange(length)
    begin, end = part * length // REFERENCE_PX, -(-(part + 1) * length // REFERENCE_PX)
    return _mean_of((begin <= pixel) & (pixel < end))


@cache
def _means_around(length: int) -> NDArray[np.float32]:
    """Return what takes the mean around each of so many pixels, (length, length)."""
    pixel = np.arange(length)
    return _mean_of(np.abs(pixel[:, None] - pixel) <= DETAIL_PX // 2)


def _mean_of(chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.asarray(chosen / chosen.sum(1, keepdims=True), np.float32)


@dataclass(frozen=True)
class ContextMaps:
    """What each pixel shows on normal images of each of K contexts."""

    names: tuple[str, ...]  # (K,)
    images: tuple[int, ...]  # (K,) that each mean is of
    means: NDArray[np.float32]  # (K, S, S)
    deviation: NDArray[np.float32]  # (S, S) within a context, above 0
    references: References
    pattern: str | None = None  # what finds a context in a picture's name; None: its folder does
    held_out: tuple[int, ...] = ()  # (K,) held-out images of each
    above: tuple[int, ...] = ()  # (K,) how many of them score above the threshold
    # (K,) threshold of each as a multiple of that of all, which its maps are divided by; empty in a
    # version of before, where that of all holds
    own_thresholds: tuple[float, ...] = ()
    parts: tuple[int, ...] = ()  # (K,) that the held-out images show; empty: each one of its own

    @cached_property
    def maps(self) -> Mapping[str, NormalMap]:
        """The normal map of each."""
        own = self.own_thresholds or (1.0,) * len(self.names)
        each = zip(self.names, self.means, self.images, own, strict=True)
        return {
            name: NormalMap(mean, _of_a_new_image(self.deviation, count) * np.float32(multiple))
            for name, mean, count, multiple in each
        }

    def of(self, images: NDArray[np.uint8], told: Sequence[str | None] | None) -> tuple[str, ...]:
        """Return the context of (N, 3, H, W) images: what is told of each, else what is
        recognised; empty where the version does not know it, which is said once if it was told."""
        found = [""] * len(images) if told is None else [each or "" for each in told]
        if asked := [index for index, name in enumerate(found) if not name]:
            nearest = self.references.nearest(images[asked])
            for index, number in zip(asked, nearest, strict=True):
                found[index] = "" if number < 0 else self.names[number]
        for name in {*found} - {"", *self.names}:
            _warn_of_unknown(name, self.names)
        return tuple(name if name in self.maps else "" for name in found)

    @property
    def fpr_intervals(self) -> tuple[tuple[float, float], ...]:
        """Where the true false-positive rate of each context lies: limits of a 95 % confidence
        interval, of its own held-out images, or their parts, alone; 0 to 1 where it has none."""
        each = zip(self.above, self.held_out, self.parts or self.held_out, strict=True)
        return tuple(
            clopper_pearson(above, count, parts) if count else (0.0, 1.0)
            for above, count, parts in each
        )

    @property
    def false_alarms(self) -> str:
        """Describe threshold and false alarms of each on held-out images, one after the other."""
        own = self.own_thresholds or (1.0,) * len(self.names)
        each = zip(self.names, own, self.above, self.held_out, self.fpr_intervals, strict=True)
        return "; ".join(
            f"{name}: threshold {multiple:.2f} of the common one, {above} of {count} held-out "
            f"images above it, {100 * low:.0f} to {100 * high:.0f} %"
            for name, multiple, above, count, (low, high) in each
        )


@dataclass(frozen=True)
class ContextSums:
    """Sums over maps of normal images, which the normal maps of contexts follow from."""

    every: MapSums  # over all images, of whatever context
    each: Mapping[str, MapSums]  # over those of each context that has a normal map of its own
    scatter: Floats  # (S, S) squares of what these differ from the mean of their context

    @classmethod
    def of(cls, maps: NDArray[np.float32], contexts: Sequence[str]) -> "ContextSums":
        """Sum (N, S, S) maps of images of (N,) contexts; '' is none."""
        told = np.array(contexts, dtype=object)
        each = {name: MapSums.of(maps[told == name]) for name in sorted({*contexts} - {""})}
        return cls(MapSums.of(maps), each, _scatter(each, maps.shape[1:]))

    def __add__(self, other: "ContextSums") -> "ContextSums":
        """Return the sums over the images of both."""
        each = dict(self.each)
        for name, sums in other.each.items():
            each[name] = each[name] + sums if name in each else sums
        return ContextSums(self.every + other.every, each, _scatter(each, self.scatter.shape))

    def without(self, own: NDArray[np.float32], contexts: Sequence[str]) -> "ContextSums":
        """Return the sums over all images but some, whose maps (N, S, S) are among them."""
        each, scatter, told = dict(self.each), self.scatter, np.array(contexts, dtype=object)
        for name in {*contexts} & each.keys():
            left = each[name].without(own[told == name])
            scatter = scatter - each[name].scatter + left.scatter
            each[name] = left
        return ContextSums(self.every.without(own), each, scatter)

    def normal_map(self, context: str, inside: NDArray[np.bool_] | None = None) -> NormalMap:
        """Learn what each pixel shows on normal images of a context, as a new one is held against
        it; that of all images where the context has none of its own."""
        if context not in self.each:
            return self.every.normal_map(inside)
        own = self.each[context]
        return NormalMap(own.mean, _of_a_new_image(self._deviation(inside), own.count))

    def context_maps(
        self, references: References, inside: NDArray[np.bool_] | None = None
    ) -> ContextMaps:
        """Learn it of all contexts, whose references stand in the order of their names."""
        names = tuple(sorted(self.each))
        return ContextMaps(
            names,
            tuple(self.each[name].count for name in names),
            np.stack([self.each[name].mean for name in names]),
            self._deviation(inside),
            references,
        )

    def _deviation(self, inside: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        """(S, S) of an image about the mean of its context, pooled over the contexts."""
        freedom = sum(sums.count - 1 for sums in self.each.values())
        variance = np.maximum(self.scatter, 0) / freedom
        common = float(variance[slice(None) if inside is None else inside].mean())
        pooled = (freedom * variance + PRIOR_IMAGES * common) / (freedom + PRIOR_IMAGES)
        return np.sqrt(pooled + 1e-24).astype(np.float32)


def choose_contexts(
    learnt: Sequence[str], held_out: Sequence[str], parts: Sequence[str] = ()
) -> tuple[str, ...]:
    """Choose the contexts that have a normal map of their own: those that any held-out image is
    held against seven images of other parts at. None where there is but one, or none is told.

    Args:
        learnt: contexts of images that have a say in the maps; '' is none.
        held_out: those of held-out images, which have a say as well.
        parts: that the held-out images show; empty: each one of its own.
    """
    count = Counter([*learnt, *held_out])
    del count[""]
    of_parts = Counter(zip(held_out, index_parts(parts, len(held_out)).tolist(), strict=True))
    own = {name: max(n for (at, _), n in of_parts.items() if at == name) for name in {*held_out}}
    others = {name: n - own.get(name, 0) for name, n in count.items()}
    able = [name for name, _ in count.most_common() if others[name] >= LEAST_IMAGES - 1]
    if len(able) > MOST_CONTEXTS:
        warnings.warn(
            f"at most {MOST_CONTEXTS} contexts have a normal map of their own; {len(able)} could "
            "have one, so those with the most images do: tell fewer by position_pattern",
            stacklevel=2,
        )
    return tuple(sorted(able[:MOST_CONTEXTS])) if len(count) > 1 else ()


def scores_in_context(
    sums: ContextSums,
    own: NDArray[np.float32],
    maps: NDArray[np.float32],
    contexts: Sequence[str],
    inside: NDArray[np.bool_] | None = None,
    parts: Sequence[str] = (),
) -> tuple[Floats, NDArray[np.float32]]:
    """Score held-out normal images by maps from which what the others of their context show is
    taken; see ``normal_map.scores_without_own``. ``contexts`` names that of each image."""
    told = np.array(contexts, dtype=object)

    def others(index: NDArray[np.intp]) -> list[NormalMap]:
        left = sums.without(own[index], told[index].tolist())
        normal = {context: left.normal_map(context, inside) for context in {*told[index]}}
        return [normal[context] for context in told[index]]

    return score_part_by_part(maps, parts, others)


def _of_a_new_image(deviation: NDArray[np.float32], images: int) -> NDArray[np.float32]:
    """Return the deviation of a new image about a mean that is itself of so many images."""
    return np.asarray(deviation * np.sqrt(1 + 1 / images), np.float32)


def _scatter(each: Mapping[str, MapSums], shape: tuple[int, ...]) -> Floats:
    return np.asarray(sum((sums.scatter for sums in each.values()), np.zeros(shape)), np.float64)


@cache
def _warn_of_unknown(context: str, known: tuple[str, ...]) -> None:
    """Name a context that was told and has no normal map, once a run."""
    _logger.warning(
        "the context %s has no normal map of its own, and its images are held against the one of "
        "all contexts; known are %s: correct its name, or train on %d normal images of it",
        printable(context), printable(", ".join(known)), LEAST_IMAGES,
    )  # fmt: skip
