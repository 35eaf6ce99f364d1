"""Scores of normal images by networks that did not see them: thresholds come from these.

The images that calibrate are held out from all training. Where few images train, and a training
takes seconds, those are held out too, a part at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from reconad_plugin.detector.detector import Scores, Witness, score_images
from reconad_plugin.detector.normal_map import (
    LEAST_IMAGES,
    MapSums,
    NormalMap,
    scores_without_own,
)
from reconad_plugin.images.light import LightReference
from reconad_plugin.images.region import Mask
from reconad_plugin.networks.base import AnomalyNetwork

CROSS_FITTED_IMAGES: Final = 100  # from so many on enough are held out anyway
CROSS_FITS: Final = 4  # parts of the training images
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
) -> HeldOutScores:
    """Take what each pixel shows on normal images out of the maps of held-out ones, in a region.

    What was learnt has a say in it, as it is of many more images; each held-out image is scored as
    if it had none. Where there are too few, the maps stay.
    """
    maps = held_out.as_they_come.anomaly_map
    sums = MapSums.of(maps)
    for network, images in learnt:
        for part in _evenly(images, MAPPED_IMAGES).split(CHUNK_IMAGES):
            shown = score_images(network, part, window_px, inside=inside).anomaly_map
            sums += MapSums.of(shown)
    if sums.count < LEAST_IMAGES:
        return held_out
    as_they_come, matched = (
        Scores(*scores_without_own(sums, maps, each.anomaly_map, inside))
        for each in (held_out.as_they_come, held_out.matched)
    )
    return replace(
        held_out, as_they_come=as_they_come, matched=matched, normal_map=sums.normal_map(inside)
    )


def join_held_out(first: HeldOutScores, second: HeldOutScores, witness: Witness) -> HeldOutScores:
    """Join what two networks show of the images that both held out: all of the first, which are the
    first ones of the second."""
    count = len(first.images)

    def join(one: Scores, other: Scores) -> Scores:
        return witness.join(one, Scores(other.pred_score[:count], other.anomaly_map[:count]))

    return HeldOutScores(
        first.images,
        join(first.as_they_come, second.as_they_come),
        join(first.matched, second.matched),
        normal_map=None,  # each network has its own
    )


def cross_fit(images: Tensor, fit: Callable[[Tensor], AnomalyNetwork]) -> list[MappedImages]:
    """Fit a network to all but each part of (N, 3, S, S) images; none where there are too many to
    need it, or too few to part."""
    if not CROSS_FITS <= len(images) < CROSS_FITTED_IMAGES:
        return []
    parts = torch.arange(len(images)).tensor_split(CROSS_FITS)
    is_in = [torch.isin(torch.arange(len(images)), part) for part in parts]
    return [(fit(images[~chosen]), images[chosen]) for chosen in is_in]


def _evenly(images: Tensor, most: int) -> Tensor:
    chosen = torch.linspace(0, len(images) - 1, min(len(images), most)).round().long()
    return images if len(images) <= most else images[chosen]


def _joined(parts: Sequence[Scores]) -> Scores:
    return Scores(
        np.concatenate([each.pred_score for each in parts]),
        np.concatenate([each.anomaly_map for each in parts]),
    )
