"""Scores of held-out normal images that are seen shrunk and in windows, and how both are joined."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.detector import Scores
from reconad_plugin.detector.torch_engine import score_images, to_tensor
from reconad_plugin.detector.windows import (
    LEAST_SCALE,
    Pictures,
    Windows,
    enlarge_maps,
    map_size,
    match_picture,
    score_windows,
)
from reconad_plugin.images.geometry import resize
from reconad_plugin.images.light_reference import LightReference
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.training.held_out_scores import HeldOutScores, MappedImages


def join_windows(
    held_out: Sequence[MappedImages],
    whole: HeldOutScores,
    size: ImageSize,
    window_px: int,
    light: LightReference,
    target_fpr: float,
) -> tuple[HeldOutScores, Windows]:
    """Score held-out images, (N, 3, H, W) uint8, in windows too, and join both views.

    The scale of a view is its own threshold on these images, as they come, so that normal images
    exceed both equally often.

    Args:
        held_out: networks, and images that they did not see.
        whole: scores of the same images, shrunk.
        size: of a window and of a shrunk picture.
        window_px: odd side of the score window.
        light: that images are brought to.
        target_fpr: share of normal images above the threshold.
    """
    shrunk = [resize(images.numpy(), size) for _, images in held_out]
    maps_of = map_size(ImageSize.of(held_out[0][1].shape))

    def of_windows(lamp: LightReference | None) -> Scores:
        scores: list[float] = []
        maps: list[NDArray[np.float32]] = []
        for (network, images), small in zip(held_out, shrunk, strict=True):

            def score(views: Pictures, network: AnomalyNetwork = network) -> Scores:
                return score_images(network, to_tensor(views), window_px)

            for picture, view in zip(images.numpy(), small, strict=True):
                lit = picture if lamp is None else match_picture(lamp, picture, view)
                found = score_windows(lit, size, maps_of, score)
                scores.append(found[0])
                maps.append(found[1])
        return Scores(np.array(scores), np.stack(maps))

    windows = of_windows(None)
    scales = [
        max(LEAST_SCALE, calibrate(each.pred_score, target_fpr).image_threshold)
        for each in (whole.as_they_come, windows)
    ]
    joined = Windows(size, *scales)

    def join(of_whole: Scores, of_window: Scores) -> Scores:
        maps = enlarge_maps(of_whole.anomaly_map, maps_of)
        return Scores(
            joined.join(of_whole.pred_score, of_window.pred_score),
            joined.join(maps, of_window.anomaly_map),
        )

    return replace(
        whole,
        as_they_come=join(whole.as_they_come, windows),
        matched=join(whole.matched, of_windows(light)),
    ), joined
