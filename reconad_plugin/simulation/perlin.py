"""Perlin noise on tensors, a batch at a time.

Source: Perlin, "Improving Noise", SIGGRAPH 2002, for gradients and fade; its use for masks of
simulated anomalies follows Zavrtanik, Kristan and Skocaj, "DRAEM", ICCV 2021, section 3.3.

The noise at a pixel is a sum over the corners of the grid, of fade weights down and across times
the corner's gradient times the way to the corner. Weights and ways depend on one axis each, so
the whole picture is two products of small matrices instead of a loop over corners.
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from reconad_plugin.images.size import ImageSize


def perlin_noise(cells: Tensor, size: ImageSize, generator: Generator, octaves: int = 1) -> Tensor:
    """Draw independent noise images, each on its own grid of random gradients.

    Args:
        cells: (B, 2) whole numbers of at least 1: grid cells down and across.
        size: of the images. Grids finer than half of a side are left out of the octaves.
        generator: source of the gradients.
        octaves: how many noises are added, each half as strong and twice as fine as the one
            before.

    Returns:
        (B, H, W) float32, about in [-1, 1].
    """
    noise, finest = _one_octave(cells, size, generator), size.shorter_px // 2
    total = 1.0
    for octave in range(1, octaves):
        finer = cells * 2**octave
        strength = 0.5**octave * (finer.amax(1) <= finest)[:, None, None]
        noise += strength * _one_octave(finer.clamp_max(finest), size, generator)
        total += 0.5**octave
    return noise / total


def rotate(image: Tensor, degrees: Tensor) -> Tensor:
    """Turn each (B, C, H, W) image about its centre by its own angle (B,); corners mirror."""
    height, width = image.shape[-2:]
    radians = torch.deg2rad(degrees).to(image.device).view(-1, 1, 1)
    lines = [(torch.arange(n, device=image.device) * 2 + 1) / n - 1 for n in (height, width)]
    down, across = lines[0].view(1, -1, 1), lines[1].view(1, 1, -1)
    cosine, sine = radians.cos(), radians.sin()
    grid = image.new_empty(len(image), height, width, 2)
    torch.sub(across * cosine, down * (sine * (height / width)), out=grid[..., 0])
    torch.add(across * (sine * (width / height)), down * cosine, out=grid[..., 1])
    return F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)


def _one_octave(cells: Tensor, size: ImageSize, generator: Generator) -> Tensor:
    finest = int(cells.max())
    angle = 2 * math.pi * torch.rand(len(cells), finest + 1, finest + 1, generator=generator)
    down_tables, across_tables = (_axis_tables(side, finest) for side in size.shape)
    weight_down, way_down = down_tables[:, cells[:, 0]]  # each (B, H, finest + 1)
    weight_across, way_across = across_tables[:, cells[:, 1]]  # each (B, W, finest + 1)
    down = torch.cat([weight_down @ angle.cos(), way_down @ angle.sin()], dim=2)
    across = torch.cat([way_across, weight_across], dim=2)
    return math.sqrt(2) * down @ across.transpose(1, 2)  # (B, H, 2J) @ (B, 2J, W)


@cache
def _axis_tables(size_px: int, finest: int) -> Tensor:
    """Return the fade weight, and weight times way, of each pixel to each grid line:
    (2, finest + 1, size_px, finest + 1), the second axis by number of cells."""
    cells = torch.arange(finest + 1).view(-1, 1, 1)
    pixel = (torch.arange(size_px) + 0.5).view(1, -1, 1) / size_px
    way = pixel * cells - torch.arange(finest + 1).view(1, 1, -1)
    weight = 1 - _fade(way.abs().clamp_max(1))
    return torch.stack([weight, weight * way])


def _fade(t: Tensor) -> Tensor:
    return t**3 * (t * (t * 6 - 15) + 10)
