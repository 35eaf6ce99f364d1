"""What becomes of one batch of pictures: maps and scores.

PyTorch runs it in ``torch_engine.score_images``; an engine runs the same, exported as one graph.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reconad_plugin.networks.base import AnomalyNetwork

# mean and deviation of each pixel over normal images, (S, S) or (B, S, S) each
NormalTensors = tuple[Tensor, Tensor]


def smooth_map(
    anomaly_map: Tensor,
    window_px: int,
    border_is_normal: bool = False,
    inside: Tensor | None = None,
) -> Tensor:
    """Average a map (B, S, S) over a square window of an odd side.

    Parts of a window beyond the border count as 0 where the border is normal, else not at all. The
    border is that of the picture, or of the region ``inside``, (S, S) or (B, S, S) bool, beyond
    which the result is 0.
    """

    def pool(values: Tensor) -> Tensor:
        pooled, half = values[:, None], window_px // 2
        # down, then across: a window of 21 px costs 42 sums a pixel in place of 441
        for window, beyond in (((window_px, 1), (half, 0)), ((1, window_px), (0, half))):
            pooled = F.avg_pool2d(pooled, window, 1, beyond, count_include_pad=border_is_normal)
        return pooled[:, 0]  # (B, 1, S, S) -> (B, S, S)

    if inside is None:
        return pool(anomaly_map)
    counted = inside.expand_as(anomaly_map).to(anomaly_map)
    smoothed = pool(anomaly_map * counted) * counted
    return smoothed if border_is_normal else smoothed / torch.where(inside, pool(counted), 1)


def in_deviations(maps: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Return maps (B, S, S) in the deviations of each pixel; see ``NormalMap.deviations``."""
    return ((maps - mean) / deviation).clamp_min(0)


def score_batch(
    network: AnomalyNetwork,
    batch: Tensor,
    window_px: int,
    normal: NormalTensors | None = None,
    inside: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Map and score a batch.

    Args:
        network: in eval mode.
        batch: (B, 3, S, S) float in [0, 1].
        window_px: odd side of the smoothing window.
        normal: what leaves the map before it scores.
        inside: (S, S) or (B, S, S) bool, where to look; the map is 0 elsewhere.

    Returns:
        The map (B, S, S) that people see, and (B,) scores.
    """
    anomaly_map, score_map = network.maps(batch)
    smoothed = smooth_map(score_map.float(), window_px, network.border_is_normal, inside)
    if normal is not None:
        smoothed = in_deviations(smoothed, *normal)
    if inside is not None:
        smoothed, anomaly_map = smoothed * inside, anomaly_map * inside
    shown = smoothed if network.smooths_map else anomaly_map
    return shown, network.image_score(batch, smoothed)


class ScoringGraph(nn.Module):
    """What is exported for an engine: from pictures to maps and scores.

    Args:
        network: in eval mode.
        window_px: odd side of the smoothing window.
        has_normal: whether the normal map's mean and deviation come in.
        has_region: whether where to look comes in.
    """

    def __init__(
        self, network: AnomalyNetwork, window_px: int, has_normal: bool, has_region: bool
    ) -> None:
        super().__init__()
        self.network, self.window_px = network, window_px
        self.has_normal, self.has_region = has_normal, has_region

    def forward(
        self, images: Tensor, gain: Tensor, offset: Tensor, *more: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Map and score (B, 3, S, S) uint8 pictures; see ``score_batch``.

        ``gain`` and ``offset``, (B, 3, 1, 1), bring their light to another; 1 and 0 leave it as it
        is. ``more`` are mean and deviation of the normal map, and where to look, (B, S, S) each, in
        this order, where the graph has them.
        """
        batch = (images.float() / 255 * gain + offset).clamp(0, 1)
        normal = (more[0], more[1]) if self.has_normal else None
        inside = more[-1].bool() if self.has_region else None
        return score_batch(self.network, batch, self.window_px, normal, inside)
