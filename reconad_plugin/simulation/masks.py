"""Shapes of simulated anomalies: stains, polygons, strokes and scattered blobs, as masks.

Every shape function takes the number of masks, their size and a generator, and returns
(B, H, W) bool on the CPU; lengths are given as shares of the mean side, so that a shape means the
same at every image size.
"""

import math
from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from reconad_plugin.images.size import ImageSize
from reconad_plugin.simulation.perlin import perlin_noise, rotate

MAX_CELLS_POWER: Final = 5  # Perlin grids of up to 2^5 cells an axis
COARSE_PX: Final = 128  # noise is smooth: it is made at this size and enlarged
STROKE_POINTS: Final = 64
BLOBS: Final = 24  # at most, in one mask
VERTICES: Final = (4, 12)

MaskMaker = Callable[[int, ImageSize, Generator], Tensor]


def uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Draw uniform numbers in [low, high) of a shape."""
    return low + (high - low) * torch.rand(*shape, generator=generator)


def perlin_masks(
    count: int,
    size: ImageSize,
    generator: Generator,
    octaves: int = 1,
    threshold: tuple[float, float] = (0.5, 0.5),
) -> Tensor:
    """Draw stains: turned Perlin noise above a threshold from a range; more octaves make frayed
    edges.

    Source: Zavrtanik, Kristan and Skocaj, "DRAEM", ICCV 2021, section 3.3.
    """
    share = min(1, COARSE_PX / size.mean_side_px)
    coarse = ImageSize(*(round(share * side) for side in size.shape))
    finest = min(MAX_CELLS_POWER, (coarse.shorter_px // 2).bit_length() - 1)
    cells = 2 ** torch.randint(0, finest + 1, (count, 2), generator=generator)
    noise = perlin_noise(cells, coarse, generator, octaves)[:, None]
    noise = rotate(noise, uniform(generator, -90, 90, count))
    if coarse != size:
        noise = F.interpolate(noise, size=size.shape, mode="bilinear")
    return noise[:, 0] > uniform(generator, *threshold, count, 1, 1)


def polygon_masks(
    count: int, size: ImageSize, generator: Generator, radius: tuple[float, float] = (0.04, 0.25)
) -> Tensor:
    """Draw random simple polygons of 4 to 12 corners around a point, at distances from a range."""
    low, high = VERTICES
    corners = torch.randint(low, high + 1, (count, 1), generator=generator)
    corner = torch.arange(high).expand(count, high) % corners  # beyond the last: the first again
    jitter = uniform(generator, 0, 0.8, count, high).gather(1, corner)
    angle = (corner + jitter) * (2 * math.pi) / corners
    reach = uniform(generator, *radius, count, 1) * uniform(generator, 0.5, 1, count, high)
    reach = reach.gather(1, corner)
    middle = _points(count, 1, size, generator).mT  # (B, 2, 1)
    y, x = middle[:, 0] + reach * angle.sin(), middle[:, 1] + reach * angle.cos()  # (B, V)

    # Even-odd rule a row at a time: a pixel is inside when an odd number of edges cross its row
    # to its right.
    rows, columns = _lines(size)
    y_next, x_next = y.roll(-1, 1), x.roll(-1, 1)
    last = corner == corners - 1  # the closing edge goes back to the first corner
    y_next, x_next = torch.where(last, y[:, :1], y_next), torch.where(last, x[:, :1], x_next)
    is_edge = torch.arange(high) < corners
    row = rows.view(1, -1, 1)
    crosses = ((y[:, None] > row) != (y_next[:, None] > row)) & is_edge[:, None]  # (B, H, V)
    slope = (x_next - x) / torch.where(y_next == y, 1.0, y_next - y)
    crossing = x[:, None] + (row - y[:, None]) * slope[:, None]
    crossing = torch.where(crosses, crossing, -1.0).sort(2).values  # (B, H, V), -1: no crossing
    right_of = torch.searchsorted(crossing, columns.expand(count, *size.shape).contiguous())
    return ((high - right_of) % 2).bool()


def stroke_masks(
    count: int,
    size: ImageSize,
    generator: Generator,
    length: tuple[float, float] = (0.1, 0.7),
    width: tuple[float, float] = (0.02, 0.08),
) -> Tensor:
    """Draw brush strokes: a bent line of even width, never thinner than a pixel, each of a length
    and a width from a range."""
    along = torch.linspace(-0.5, 0.5, STROKE_POINTS)
    reach = uniform(generator, *length, count, 1)
    heading = uniform(generator, 0, math.pi, count, 1)
    bend = uniform(generator, -2, 2, count, 1)
    wave = uniform(generator, 0, 0.6, count, 1) * torch.sin(
        along * uniform(generator, 5, 20, count, 1) + uniform(generator, 0, 6, count, 1)
    )
    direction = heading + bend * along + wave  # (B, K)
    step = reach / STROKE_POINTS
    path = torch.stack([direction.sin(), direction.cos()], 2).cumsum(1) * step[..., None]
    path = path - path.mean(1, keepdim=True) + _points(count, 1, size, generator)
    radius = (uniform(generator, *width, count, 1) / 2).clamp_min(0.7 / size.mean_side_px)
    field = _gaussian_field(path, radius.expand(-1, STROKE_POINTS), size)
    # A straight line of Gaussians adds up to about sqrt(pi) * radius / step on its axis.
    on_axis = (math.sqrt(math.pi) * radius / step).clamp_min(1)
    return field > (on_axis * math.exp(-1))[..., None]


def blob_masks(
    count: int,
    size: ImageSize,
    generator: Generator,
    radius: tuple[float, float] = (0.01, 0.05),
    blobs: tuple[int, int] = (1, 6),
) -> Tensor:
    """Draw scattered round blobs, never smaller than a pixel, that flow together where they touch;
    radius and number, at most ``BLOBS``, are from a range."""
    number = torch.randint(blobs[0], blobs[1] + 1, (count, 1), generator=generator)
    centre = _points(count, 1, size, generator)
    spread = uniform(generator, 0.03, 0.4, count, 1, 1)
    position = centre + spread * torch.randn(count, BLOBS, 2, generator=generator)
    position[:, 0] = centre[:, 0]  # one blob at least is inside the picture
    reach = uniform(generator, *radius, count, 1) * uniform(generator, 0.5, 1, count, BLOBS)
    reach = reach.clamp_min(0.9 / size.mean_side_px)
    reach = torch.where(torch.arange(BLOBS) < number, reach, 1e-6)
    return _gaussian_field(position, reach, size) > math.exp(-1)


def dilate(mask: Tensor) -> Tensor:
    """Grow (B, H, W) bool masks by one pixel."""
    down = mask.clone()
    down[:, 1:] |= mask[:, :-1]
    down[:, :-1] |= mask[:, 1:]
    grown = down.clone()
    grown[..., 1:] |= down[..., :-1]
    grown[..., :-1] |= down[..., 1:]
    return grown


def erode(mask: Tensor) -> Tensor:
    """Shrink (B, H, W) bool masks by one pixel; what lies beyond the border counts as mask."""
    return ~dilate(~mask)


def soften(alpha: Tensor) -> Tensor:
    """Blur (B, H, W) float masks with the kernel (1, 2, 1) / 4 down and across."""
    padded = F.pad(alpha[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    down = padded[:, :-2] + padded[:, 2:] + 2 * padded[:, 1:-1]
    return (down[..., :-2] + down[..., 2:] + 2 * down[..., 1:-1]) / 16


def soften_widely(alpha: Tensor) -> Tensor:
    """Blur (B, H, W) float masks over about a sixteenth of their side."""
    cell_px = max(1, int(ImageSize.of(alpha.shape).mean_side_px) // 16)
    coarse = soften(F.avg_pool2d(alpha[:, None], cell_px)[:, 0])
    return F.interpolate(coarse[:, None], size=alpha.shape[-2:], mode="bilinear")[:, 0]


def _points(count: int, points: int, size: ImageSize, generator: Generator) -> Tensor:
    """Draw points anywhere in a picture: (count, points, 2), down and across, in mean sides."""
    return uniform(generator, 0, 1, count, points, 2) * torch.tensor(_extent(size))


def _extent(size: ImageSize) -> list[float]:
    """Return height and width in mean sides."""
    return [side / size.mean_side_px for side in size.shape]


def _lines(size: ImageSize) -> tuple[Tensor, Tensor]:
    """Return where rows and columns are, (H,) and (W,), in mean sides."""
    rows, columns = ((torch.arange(side) + 0.5) / size.mean_side_px for side in size.shape)
    return rows, columns


def _gaussian_field(position: Tensor, radius: Tensor, size: ImageSize) -> Tensor:
    """Sum Gaussians that are exp(-1) high at their radius: (B, K, 2), (B, K) -> (B, H, W).

    A Gaussian is a product of one down and one across, so the sum is one matrix product.
    """
    down, across = (
        torch.exp(-(((line - position[..., axis, None]) / radius[..., None]) ** 2))
        for axis, line in enumerate(_lines(size))
    )
    return down.transpose(1, 2) @ across  # (B, H, K) @ (B, K, W)
