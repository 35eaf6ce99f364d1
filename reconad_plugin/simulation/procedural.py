"""Pictures made by rule and of nothing in particular: gratings, checks, stains and gradients.

They widen what an autoencoder can show when there are few other pictures to learn from.
"""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Generator, Tensor

from reconad_plugin.images.size import ImageSize
from reconad_plugin.simulation.masks import uniform
from reconad_plugin.simulation.perlin import perlin_noise

FINEST_PERIOD_PX: Final = 4
PERLIN_CELLS_POWER: Final = 5  # Perlin grids of up to 2^5 cells an axis
PERLIN_OCTAVES: Final = 4

FieldMaker = Callable[[int, ImageSize, Generator], Tensor]


def procedural_patterns(count: int, size: ImageSize, generator: Generator) -> Tensor:
    """Draw random patterns, each between two random colours: (count, 3, H, W) float32 in
    [0, 1] on the CPU, as the generator is."""
    kind = torch.randint(len(FIELDS), (count,), generator=generator)
    field = torch.empty(count, 1, *size.shape)
    for number, make in enumerate(FIELDS.values()):
        some = (kind == number).nonzero()[:, 0]
        if len(some):
            field[some, 0] = make(len(some), size, generator)
    first, second = torch.rand(2, count, 3, 1, 1, generator=generator)
    patterns: Tensor = first + (second - first) * field
    return patterns


def gratings(count: int, size: ImageSize, generator: Generator) -> Tensor:
    """Draw parallel waves at any angle, from smooth to sharp: (count, H, W) in [0, 1]."""
    along, _ = _turned_axes(count, size, generator)
    wave = _wave(along, size, generator)
    steepness = 2 ** uniform(generator, -1, 3, count, 1, 1)
    return (0.5 + steepness * wave).clamp(0, 1)


def checks(count: int, size: ImageSize, generator: Generator) -> Tensor:
    """Draw chessboards at any angle, of any two sides: (count, H, W), 0 or 1."""
    along, across = _turned_axes(count, size, generator)
    waves = _wave(along, size, generator) * _wave(across, size, generator)
    return (waves > 0).float()


def stains(count: int, size: ImageSize, generator: Generator) -> Tensor:
    """Draw Perlin noise, coarse to fine: (count, H, W) in [0, 1]."""
    finest = min(PERLIN_CELLS_POWER, (size.shorter_px // 2).bit_length() - 1)
    cells = 2 ** torch.randint(0, finest + 1, (count, 2), generator=generator)
    return (0.5 + perlin_noise(cells, size, generator, PERLIN_OCTAVES)).clamp(0, 1)


def gradients(count: int, size: ImageSize, generator: Generator) -> Tensor:
    """Draw even slopes and round glows: (count, H, W) in [0, 1]."""
    along, across = _turned_axes(count, size, generator)
    centre = uniform(generator, -0.5, 0.5, count, 1, 1)
    is_round = torch.rand(count, 1, 1, generator=generator) < 0.5
    distance = torch.hypot(along - centre, across)
    return torch.where(is_round, distance, 0.5 + along).clamp(0, 1)


FIELDS: Final[dict[str, FieldMaker]] = {
    "gratings": gratings,
    "checks": checks,
    "stains": stains,
    "gradients": gradients,
}


def _turned_axes(count: int, size: ImageSize, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw two axes at a right angle, turned at random: (count, H, W) each, 0 in the middle."""
    mean_px = size.mean_side_px
    lines = [(torch.arange(side) + 0.5) / mean_px - side / mean_px / 2 for side in size.shape]
    down, across = lines[0].view(1, -1, 1), lines[1].view(1, 1, -1)
    angle = uniform(generator, 0, math.pi, count, 1, 1)
    return (across * angle.cos() + down * angle.sin(), down * angle.cos() - across * angle.sin())


def _wave(axis: Tensor, size: ImageSize, generator: Generator) -> Tensor:
    """Draw a sine along an axis, from one period a picture to the finest one: in [-1, 1]."""
    octaves = math.log2(size.mean_side_px / FINEST_PERIOD_PX)
    periods = 2 ** uniform(generator, 0, octaves, len(axis), 1, 1)
    phase = uniform(generator, 0, 2 * math.pi, len(axis), 1, 1)
    return torch.sin(2 * math.pi * periods * axis + phase)
