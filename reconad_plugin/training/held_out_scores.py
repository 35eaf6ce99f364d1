"""Scores of normal images by networks that did not see them: thresholds come from these.

The images that calibrate are held out from all training. Where few images train, and a training
takes seconds, those are held out too, a part at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from reconad_plugin.detector.detector import Scores, score_images
from reconad_plugin.detector.normal_map import NormalMap, fit_normal_map, scores_without_own
from reconad_plugin.images.light import LightReference
from reconad_plugin.networks.base import AnomalyNetwork

CROSS_FITTED_IMAGES: Final = 100  # from so many on enough are held out anyway
CROSS_FITS: Final = 4  # parts of the training images

HeldOutImages = tuple[AnomalyNetwork, Tensor]  # a network, and images that it did not see


@dataclass(frozen=True)
class HeldOutScores:
    """What normal images show that were held out."""

    images: Tensor  # (N, 3, S, S) uint8
    as_they_come: Scores
    matched: Scores  # with their light matched
    normal_map: NormalMap | None  # what has left both maps before they score


def score_held_out(
    held_out: Sequence[HeldOutImages], window_px: int, light: LightReference, has_normal_map: bool
) -> HeldOutScores:
    """Score held-out images; with a normal map each is scored as if it had no part in it."""
    as_they_come, matched = (
        _joined([score_images(network, each, window_px, lamp) for network, each in held_out])
        for lamp in (None, light)
    )
    maps = as_they_come.anomaly_map
    normal = fit_normal_map(maps) if has_normal_map else None
    if normal is not None:
        as_they_come, matched = (
            Scores(*scores_without_own(maps, each.anomaly_map)) for each in (as_they_come, matched)
        )
    return HeldOutScores(torch.cat([each for _, each in held_out]), as_they_come, matched, normal)


def cross_fit(images: Tensor, fit: Callable[[Tensor], AnomalyNetwork]) -> list[HeldOutImages]:
    """Fit a network to all but each part of (N, 3, S, S) images; none where there are too many to
    need it, or too few to part."""
    if not CROSS_FITS <= len(images) < CROSS_FITTED_IMAGES:
        return []
    parts = torch.arange(len(images)).tensor_split(CROSS_FITS)
    is_in = [torch.isin(torch.arange(len(images)), part) for part in parts]
    return [(fit(images[~chosen]), images[chosen]) for chosen in is_in]


def _joined(parts: Sequence[Scores]) -> Scores:
    return Scores(
        np.concatenate([each.pred_score for each in parts]),
        np.concatenate([each.anomaly_map for each in parts]),
    )
