"""Scores of normal images by networks that did not see them: thresholds come from these.

The images that calibrate are held out from all training. Where few images train, and a training
takes seconds, those are held out too, a share at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reconad_plugin.detector.contexts import (
    ContextMaps,
    ContextSums,
    References,
    choose_contexts,
    describe_details,
    scores_in_context,
)
from reconad_plugin.detector.detector import Scores, Witness
from reconad_plugin.detector.normal_map import LEAST_IMAGES, NormalMap
from reconad_plugin.detector.own_thresholds import OwnThresholds
from reconad_plugin.detector.torch_engine import score_images
from reconad_plugin.detector.windows import enlarge_maps
from reconad_plugin.images.light_reference import LightReference
from reconad_plugin.images.region import Mask
from reconad_plugin.images.size import ImageSize
from reconad_plugin.metrics.intervals import count_parts, index_parts
from reconad_plugin.networks.base import AnomalyNetwork

CROSS_FITTED_IMAGES: Final = 100  # from so many on, or so many parts, enough are held out anyway
CROSS_FITS: Final = 4  # shares of the training images
MAPPED_IMAGES: Final = 1000  # of those learnt, spread evenly, have a say in a normal map
CHUNK_IMAGES: Final = 256  # whose maps are in memory at one time

MappedImages = tuple[AnomalyNetwork, Tensor]  # a network, and (N, 3, S, S) uint8 images for it


@dataclass(frozen=True)
class HeldOutScores:
    """What normal images show that were held out."""

    images: Tensor  # (N, 3, S, S) uint8
    as_they_come: Scores
    matched: Scores  # with their light matched
    normal_map: NormalMap | None  # what has left both maps before they score
    parts: tuple[str, ...] = ()  # that each shows; empty: each one of its own
    positions: tuple[str, ...] = ()  # of the camera, of each; empty: none is told
    contexts: ContextMaps | None = None  # what did so instead where a position has its own


def score_held_out(
    held_out: Sequence[MappedImages],
    window_px: int,
    light: LightReference,
    inside: Mask | None = None,
) -> HeldOutScores:
    """Score normal images, in a region, by networks that did not see them."""
    as_they_come, matched = (
        _joined([
            score_images(network, each, window_px, lamp, inside=inside)
            for network, each in held_out
        ])
        for lamp in (None, light)
    )  # fmt: skip
    return HeldOutScores(torch.cat([each for _, each in held_out]), as_they_come, matched, None)


def take_normal_map(
    held_out: HeldOutScores,
    learnt: Sequence[MappedImages],
    window_px: int,
    inside: Mask | None = None,
    positions: Sequence[str] = (),
) -> HeldOutScores:
    """Take what each pixel shows on normal images out of the maps of held-out ones, in a region.

    What was learnt has a say in it, as it is of many more images; each held-out image is scored as
    if it had none. Where there are too few, the maps stay. ``positions`` are those of the camera
    that what was learnt came from: one with enough images has a normal map of its own.
    """
    maps = held_out.as_they_come.anomaly_map
    chosen = [_evenly(images, MAPPED_IMAGES) for _, images in learnt]
    told = [positions[index] for each in chosen for index in each] if positions else []
    names = choose_contexts(told, held_out.positions, held_out.parts if held_out.positions else ())
    of_learnt, of_held_out = _only(names, told), _only(names, held_out.positions)
    of_held_out = of_held_out or [""] * len(maps)
    chunks = [
        (network, images, index)
        for (network, images), each in zip(learnt, chosen, strict=True)
        for index in each.split(CHUNK_IMAGES)
    ]
    sums, contexts_of_learnt = ContextSums.of(maps, of_held_out), iter(of_learnt or repeat(""))
    for network, images, index in chunks:
        shown = score_images(network, images[index], window_px, inside=inside).anomaly_map
        sums += ContextSums.of(shown, list(islice(contexts_of_learnt, len(index))))
    parts = index_parts(held_out.parts, len(maps))
    if sums.every.count - np.bincount(parts).max() < LEAST_IMAGES - 1:  # that it is held against
        return held_out
    as_they_come, matched = (
        Scores(
            *scores_in_context(sums, maps, each.anomaly_map, of_held_out, inside, held_out.parts)
        )
        for each in (held_out.as_they_come, held_out.matched)
    )
    contexts = None
    if names:
        own = OwnThresholds.fit(as_they_come.pred_score, of_held_out, held_out.parts)
        as_they_come, matched = (_divided(each, own.of_images) for each in (as_they_come, matched))
        seen = chain([held_out.images], (images[index] for _, images, index in chunks))
        details = np.concatenate([describe_details(each.numpy()) for each in seen])
        references = _fit_references(names, [*of_held_out, *of_learnt], details)
        contexts = sums.context_maps(references, inside)
        multiples = tuple(own.of_contexts.get(name, 1.0) for name in contexts.names)
        contexts = replace(contexts, own_thresholds=multiples)
    return replace(
        held_out,
        as_they_come=as_they_come,
        matched=matched,
        normal_map=sums.every.normal_map(inside),
        contexts=contexts,
    )


def _divided(scores: Scores, by: NDArray[np.float64]) -> Scores:
    """Return scores and maps of N images, each divided by a number of its own."""
    maps = scores.anomaly_map / by[:, None, None]
    return Scores(scores.pred_score / by, np.asarray(maps, np.float32))


def _only(names: Sequence[str], positions: Sequence[str]) -> list[str]:
    """Return positions, with '' for those that are not among the names."""
    return [each if each in names else "" for each in positions]


def _fit_references(
    names: Sequence[str], contexts: Sequence[str], details: NDArray[np.float32]
) -> References:
    """Fit references to (N, 64, 64) details of images of contexts, some of them of none."""
    told = np.array([bool(each) for each in contexts])
    index = np.array([names.index(each) for each in contexts if each])
    return References.fit(details[told], index)


def join_held_out(first: HeldOutScores, second: HeldOutScores, witness: Witness) -> HeldOutScores:
    """Join what two networks show of the images that both held out: all of the first, which are the
    first ones of the second."""
    count = len(first.images)

    def join(one: Scores, other: Scores) -> Scores:
        seen = ImageSize(*other.anomaly_map.shape[-2:])  # may be larger than what the first saw
        enlarged = Scores(one.pred_score, enlarge_maps(one.anomaly_map, seen))
        return witness.join(enlarged, Scores(other.pred_score[:count], other.anomaly_map[:count]))

    return HeldOutScores(
        first.images,
        join(first.as_they_come, second.as_they_come),
        join(first.matched, second.matched),
        normal_map=None,  # each network has its own
        parts=first.parts,
        positions=first.positions,
    )


def cross_fit(
    images: Tensor, fit: Callable[[Tensor], AnomalyNetwork], parts: tuple[str, ...] = ()
) -> list[MappedImages]:
    """Fit a network to all but each of four shares of (N, 3, S, S) images; none where there are
    too many to need it, or too few to share out. The images of a part are in one share; without
    ``parts`` each is a part of its own, and it is parts that are counted."""
    if not are_shared_out(len(images), parts):
        return []
    return [(fit(images[~chosen]), images[chosen]) for chosen in _shares(parts, len(images))]


def are_shared_out(images: int, parts: tuple[str, ...] = ()) -> bool:
    """Say whether ``cross_fit`` shares out so many images, or the parts that they show."""
    return CROSS_FITS <= count_parts(parts, images) < CROSS_FITTED_IMAGES


def order_of_shares(values: tuple[str, ...], parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is told of each image in the order that ``cross_fit`` gives these back."""
    if not values:
        return ()
    shares = _shares(parts, len(values))
    return tuple(chain(*(np.array(values)[share.numpy()] for share in shares)))


def _shares(parts: tuple[str, ...], images: int) -> list[Tensor]:
    """Say which images are in each share: (N,) bool each."""
    of_part = torch.from_numpy(index_parts(parts, images))
    count = count_parts(parts, images)
    return [torch.isin(of_part, each) for each in torch.arange(count).tensor_split(CROSS_FITS)]


def _evenly(images: Tensor, most: int) -> Tensor:
    """Return the indices of so many images at most, spread evenly."""
    return torch.linspace(0, len(images) - 1, min(len(images), most)).round().long()


def _joined(parts: Sequence[Scores]) -> Scores:
    return Scores(
        np.concatenate([each.pred_score for each in parts]),
        np.concatenate([each.anomaly_map for each in parts]),
    )
