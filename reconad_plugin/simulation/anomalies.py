"""Simulated anomalies on normal images: a Perlin mask filled with a texture.

Source: Zavrtanik, Kristan and Skocaj, "DRAEM", ICCV 2021, section 3.3: noise of 2^k cells an
axis, turned, thresholded at 0.5; texture blended with a random opacity.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Generator, Tensor

from reconad_plugin.simulation.perlin import perlin_noise, rotate
from reconad_plugin.simulation.textures import load_textures, random_textures

MASK_THRESHOLD: Final = 0.5
MAX_CELLS_POWER: Final = 5  # up to 2^5 cells an axis
MIN_MASK_SHARE: Final = 0.001  # of the picture; emptier masks are drawn again
_MAX_DRAWS: Final = 20


@dataclass(frozen=True)
class SimulatedAnomalies:
    """Images with an anomaly each, and where it is.

    Attributes:
        image: (N, 3, S, S) uint8 in [0, 255].
        mask: (N, S, S) bool, never empty.
    """

    image: Tensor
    mask: Tensor


def simulate_anomalies(
    images: Tensor, generator: Generator, opacity: tuple[float, float] = (0.2, 1.0)
) -> SimulatedAnomalies:
    """Put one simulated anomaly on each image.

    Args:
        images: (N, 3, S, S) uint8 normal images.
        generator: the only source of randomness.
        opacity: range that the texture's opacity is drawn from, within (0, 1].
    """
    count, _, size_px, _ = images.shape
    mask = torch.stack([_perlin_mask(size_px, generator) for _ in range(count)])
    texture = random_textures(count, load_textures(size_px), generator)
    low, high = opacity
    strength = low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)
    clean = images.float() / 255
    blended = torch.lerp(clean, texture, strength * mask[:, None])
    return SimulatedAnomalies((blended * 255).round().byte(), mask.bool())


def _perlin_mask(size_px: int, generator: Generator) -> Tensor:
    """One (S, S) mask of 0 and 1 that covers at least ``MIN_MASK_SHARE`` of the picture."""
    mask = torch.zeros(size_px, size_px)
    for _ in range(_MAX_DRAWS):
        powers = torch.randint(0, MAX_CELLS_POWER + 1, (2,), generator=generator).tolist()
        noise = perlin_noise(1, size_px, (2 ** powers[0], 2 ** powers[1]), generator)
        turn = 180 * torch.rand(1, generator=generator) - 90
        mask = (rotate(noise, turn)[0] > MASK_THRESHOLD).float()
        if mask.mean() >= MIN_MASK_SHARE:
            return mask
    mask[size_px // 3 : size_px // 2, size_px // 3 : size_px // 2] = 1
    return mask
