"""Perlin noise on tensors.

Source: Perlin, "Improving Noise", SIGGRAPH 2002, for gradients and fade; its use for masks of
simulated anomalies follows Zavrtanik, Kristan and Skocaj, "DRAEM", ICCV 2021, section 3.3.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def perlin_noise(batch: int, size_px: int, cells: tuple[int, int], generator: Generator) -> Tensor:
    """Independent noise images on a grid of random gradients.

    Args:
        batch: how many.
        size_px: side of the square; at least the number of cells.
        cells: grid cells down and across.
        generator: source of the gradients.

    Returns:
        (batch, size_px, size_px) float32, about in [-1, 1].
    """
    down, across = cells
    angle = 2 * math.pi * torch.rand(batch, down + 1, across + 1, generator=generator)
    gradient = torch.stack([angle.cos(), angle.sin()], dim=-1)  # (B, down+1, across+1, 2)

    row, y = _grid_position(size_px, down)
    column, x = _grid_position(size_px, across)

    def corner(step_down: int, step_across: int) -> Tensor:
        chosen = gradient[:, row + step_down][:, :, column + step_across]  # (B, S, S, 2)
        return chosen[..., 0] * (x - step_across) + chosen[..., 1] * (y - step_down)[:, None]

    fade_x, fade_y = _fade(x), _fade(y)[:, None]
    top = torch.lerp(corner(0, 0), corner(0, 1), fade_x)
    bottom = torch.lerp(corner(1, 0), corner(1, 1), fade_x)
    return math.sqrt(2) * torch.lerp(top, bottom, fade_y)


def rotate(image: Tensor, degrees: Tensor) -> Tensor:
    """Turn each (B, S, S) image about its centre by its own angle (B,); corners mirror."""
    radians = torch.deg2rad(degrees)
    cosine, sine = radians.cos(), radians.sin()
    zero = torch.zeros_like(cosine)
    turn = torch.stack([cosine, -sine, zero, sine, cosine, zero], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(turn, [len(image), 1, *image.shape[1:]], align_corners=False)
    turned = F.grid_sample(image[:, None], grid, padding_mode="reflection", align_corners=False)
    return turned[:, 0]  # (B, 1, S, S) -> (B, S, S)


def _grid_position(size_px: int, cells: int) -> tuple[Tensor, Tensor]:
    """Of each pixel: its cell's index and its place in the cell in [0, 1)."""
    position = (torch.arange(size_px) + 0.5) * cells / size_px
    cell = position.floor().long()
    return cell, position - cell


def _fade(t: Tensor) -> Tensor:
    return t**3 * (t * (t * 6 - 15) + 10)
