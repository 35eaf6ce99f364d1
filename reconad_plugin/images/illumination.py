"""How a picture's light is taken out before a network sees it, and in which colours it sees it.

A choice of the product: what a lamp does to all pixels alike says nothing of the part, and a
network that never sees it need not learn it.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor

from reconad_plugin.images.features import LUMA_WEIGHTS
from reconad_plugin.images.light import STANDARD_DEVIATION, STANDARD_MEAN, standard_light

LIGHTS: Final = ("none", "standard", "balanced", "local")  # what is taken out, the least first
COLOURS: Final = ("rgb", "lab", "luminance")  # what a network sees
TILES: Final = 8  # along each side, equalised one by one
LEVELS: Final = 256  # of grey in their histograms
MOST_CONTRAST: Final = 3.0  # a level's share of a tile is cut at so many times the even one
_LEAST_DEVIATION: Final = 1e-3

_RGB_TO_XYZ: Final = (  # of linear sRGB, its white point at 1; IEC 61966-2-1
    (0.4339, 0.3762, 0.1899),
    (0.2126, 0.7152, 0.0722),
    (0.0178, 0.1095, 0.8727),
)
_LAB_LINEAR: Final = 6 / 29  # cube root below which CIE 1976 goes on along its tangent


@dataclass(frozen=True)
class Illumination:
    """What of a picture a network sees."""

    # none: the picture as it comes. standard: at one mean and one deviation a picture. balanced: at
    # one of each colour. local: its luminance equalised in each part
    light: str = "none"
    # rgb, lab (CIE 1976, each channel in [0, 1]), or luminance, three times the same
    colours: str = "rgb"

    def normalise(self, image: Tensor) -> Tensor:
        """Return what a network sees of (B, 3, H, W) float in [0, 1]: the same shape and range."""
        return self._coloured(self._lit(image))

    def restore(self, rebuilt: Tensor, image: Tensor) -> Tensor:
        """Show what a network rebuilt of what it saw of an image as a picture in the image's own
        light: (B, 3, H, W) float in [0, 1] all three."""
        if self == Illumination():
            return rebuilt
        lit = self._lit(image)
        error = self._rgb(rebuilt) - self._rgb(self._coloured(lit))
        contrast = image.std((2, 3), keepdim=True) / _deviation(lit)  # (B, 3, 1, 1)
        return (image + error * contrast).clamp(0, 1)

    def _lit(self, image: Tensor) -> Tensor:
        if self.light == "none":
            return image
        if self.light == "standard":
            return standard_light(image, like=image).clamp(0, 1)
        if self.light == "balanced":
            centred = image - image.mean((2, 3), keepdim=True)
            scale = STANDARD_DEVIATION / _deviation(image)
            return (centred * scale + STANDARD_MEAN).clamp(0, 1)
        grey = _luminance(image)
        return (image + equalise(grey) - grey).clamp(0, 1)

    def _coloured(self, image: Tensor) -> Tensor:
        if self.colours == "luminance":
            return _luminance(image).expand_as(image)
        return rgb_to_lab(image) if self.colours == "lab" else image

    def _rgb(self, seen: Tensor) -> Tensor:
        return lab_to_rgb(seen) if self.colours == "lab" else seen


def equalise(grey: Tensor) -> Tensor:
    """Equalise the histogram of each part of (B, 1, H, W) grey pictures in [0, 1], with limited
    contrast; between parts the change is interpolated.

    Source: Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV, 1994.
    """
    height, width = grey.shape[-2:]
    rows, columns = (_between_tiles(side, grey) for side in (height, width))
    level = (grey[:, 0] * (LEVELS - 1)).round().long()  # (B, H, W)
    own = (rows.own[:, None] * TILES + columns.own) * LEVELS + level
    counts = grey.new_zeros(grey.shape[0], TILES * TILES * LEVELS)
    counts.scatter_add_(1, own.flatten(1), torch.ones_like(own.flatten(1), dtype=grey.dtype))
    share = counts.view(-1, TILES * TILES, LEVELS)  # (B, tiles, LEVELS)
    share = share / share.sum(-1, keepdim=True).clamp_min(1)
    cut = share.clamp_max(MOST_CONTRAST / LEVELS)
    cut = cut + (1 - cut.sum(-1, keepdim=True)) / LEVELS  # what was cut goes to all levels alike
    curves = cut.cumsum(-1).flatten(1)
    equalised = torch.zeros_like(level, dtype=grey.dtype)
    for row, row_share in ((rows.low, 1 - rows.high_share), (rows.high, rows.high_share)):
        for column, share_of in (
            (columns.low, 1 - columns.high_share),
            (columns.high, columns.high_share),
        ):
            at = (row[:, None] * TILES + column) * LEVELS + level
            found = curves.gather(1, at.flatten(1)).view_as(equalised)
            equalised += row_share[:, None] * share_of * found
    return equalised[:, None]


class _Axis(NamedTuple):
    """Where the pixels of one side lie among the tiles, (S,) each."""

    own: Tensor  # the tile that a pixel is in
    low: Tensor  # the tiles whose middles it lies between
    high: Tensor
    high_share: Tensor  # how much of it the higher of them has


def _between_tiles(side_px: int, like: Tensor) -> _Axis:
    pixel = torch.arange(side_px, device=like.device)
    place = ((pixel + 0.5) * TILES / side_px - 0.5).clamp(0, TILES - 1).to(like.dtype)
    low = place.floor().long()
    return _Axis(pixel * TILES // side_px, low, (low + 1).clamp_max(TILES - 1), place - low)


def rgb_to_lab(image: Tensor) -> Tensor:
    """Convert (B, 3, H, W) sRGB in [0, 1] to CIE 1976 L*a*b*, each channel in [0, 1]."""
    linear = torch.where(image > 0.04045, ((image + 0.055) / 1.055) ** 2.4, image / 12.92)
    xyz = torch.einsum("ij,bjhw->bihw", image.new_tensor(_RGB_TO_XYZ), linear)
    root = torch.where(
        xyz > _LAB_LINEAR**3,
        xyz.clamp_min(_LAB_LINEAR**3) ** (1 / 3),
        xyz / (3 * _LAB_LINEAR**2) + 4 / 29,
    )
    x, y, z = root.unbind(1)
    return torch.stack([1.16 * y - 0.16, _unit(500 * (x - y)), _unit(200 * (y - z))], 1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert what ``rgb_to_lab`` gives back to (B, 3, H, W) sRGB in [0, 1]."""
    y = (lab[:, 0] + 0.16) / 1.16
    x, z = y + (lab[:, 1] * 255 - 128) / 500, y - (lab[:, 2] * 255 - 128) / 200
    root = torch.stack([x, y, z], 1)
    tangent = 3 * _LAB_LINEAR**2 * (root - 4 / 29)
    xyz = torch.where(root > _LAB_LINEAR, root**3, tangent)
    inverse = torch.linalg.inv(lab.new_tensor(_RGB_TO_XYZ))
    linear = torch.einsum("ij,bjhw->bihw", inverse, xyz).clamp(0, 1)
    bright = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear > 0.0031308, bright, linear * 12.92)


def _unit(channel: Tensor) -> Tensor:
    return (channel + 128) / 255


def _luminance(image: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W)."""
    return (image * torch.from_numpy(LUMA_WEIGHTS).to(image).view(3, 1, 1)).sum(1, keepdim=True)


def _deviation(image: Tensor) -> Tensor:
    return image.std((2, 3), keepdim=True).clamp_min(_LEAST_DEVIATION)
