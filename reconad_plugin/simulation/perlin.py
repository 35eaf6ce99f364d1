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


def perlin_noise(cells: Tensor, size_px: int, generator: Generator, octaves: int = 1) -> Tensor:
    """Draw independent noise images, each on its own grid of random gradients.

    Args:
        cells: (B, 2) whole numbers of at least 1: grid cells down and across.
        size_px: side of the square. Grids finer than half of it are left out of the octaves.
        generator: source of the gradients.
        octaves: how many noises are added, each half as strong and twice as fine as the one
            before.

    Returns:
        (B, size_px, size_px) float32, about in [-1, 1].
    """
    noise = _one_octave(cells, size_px, generator)
    total = 1.0
    for octave in range(1, octaves):
        finer = cells * 2**octave
        strength = 0.5**octave * (finer.amax(1) <= size_px // 2)[:, None, None]
        noise += strength * _one_octave(finer.clamp_max(size_px // 2), size_px, generator)
        total += 0.5**octave
    return noise / total


def rotate(image: Tensor, degrees: Tensor) -> Tensor:
    """Turn each (B, C, S, S) image about its centre by its own angle (B,); corners mirror."""
    size_px = image.shape[-1]
    radians = torch.deg2rad(degrees).to(image.device).view(-1, 1, 1)
    line = (torch.arange(size_px, device=image.device) * 2 + 1) / size_px - 1
    down, across = line.view(1, -1, 1), line.view(1, 1, -1)
    cosine, sine = radians.cos(), radians.sin()
    grid = image.new_empty(len(image), size_px, size_px, 2)
    torch.sub(across * cosine, down * sine, out=grid[..., 0])
    torch.add(across * sine, down * cosine, out=grid[..., 1])
    return F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)


def _one_octave(cells: Tensor, size_px: int, generator: Generator) -> Tensor:
    finest = int(cells.max())
    angle = 2 * math.pi * torch.rand(len(cells), finest + 1, finest + 1, generator=generator)
    tables = _axis_tables(size_px, finest)
    weight_down, way_down = tables[:, cells[:, 0]]  # each (B, S, finest + 1)
    weight_across, way_across = tables[:, cells[:, 1]]
    down = torch.cat([weight_down @ angle.cos(), way_down @ angle.sin()], dim=2)
    across = torch.cat([way_across, weight_across], dim=2)
    return math.sqrt(2) * down @ across.transpose(1, 2)  # (B, S, 2J) @ (B, 2J, S)


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
