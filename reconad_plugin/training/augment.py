"""Normal pictures as training sees them: every lamp and every pose that the future may bring."""

from typing import Final

import torch
from torch import Generator, Tensor

from reconad_plugin.images.light import dim_lamp, is_grey
from reconad_plugin.simulation.perlin import rotate

POWER_RANGE: Final = (0.7, 1.3)  # of the lamp's light
COLOUR_RANGE: Final = 0.05  # gain of each colour, +-
CONTRAST_RANGE: Final = (0.9, 1.1)
TURNED_SHARE: Final = 1 / 3  # of the pictures of parts that may lie at any angle


def vary_light(image: Tensor, generator: Generator) -> Tensor:
    """Change lamp power, colour temperature and contrast, picture by picture.

    Args:
        image: (B, 3, S, S) float in [0, 1].
        generator: the only source of randomness.
    """
    batch = len(image)

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        unit = torch.rand(batch, channels, 1, 1, generator=generator)
        return (low + (high - low) * unit).to(image.device)

    lit = dim_lamp(image, draw(*POWER_RANGE))
    colour = draw(1 - COLOUR_RANGE, 1 + COLOUR_RANGE, 3)
    if not is_grey(image):  # a camera without colours does not see a lamp's
        lit = lit * colour
    mean = lit.mean((1, 2, 3), keepdim=True)
    return ((lit - mean) * draw(*CONTRAST_RANGE) + mean).clamp(0, 1)


def vary_geometry(image: Tensor, kind: str, generator: Generator) -> Tensor:
    """Mirror pictures, or turn them too, picture by picture.

    Args:
        image: (B, 3, S, S).
        kind: ``none`` for a fixed camera over parts that always lie alike; ``mirror`` for parts
            that may lie mirrored, left to right and upside down; ``rotate`` for parts that may
            lie at any angle: mirrored, and a third of them turned, as the corners of a turned
            picture are made up.
        generator: the only source of randomness.
    """
    if kind == "none":
        return image
    for axis in (-1, -2):
        chosen = torch.rand(len(image), 1, 1, 1, generator=generator) < 0.5
        image = torch.where(chosen.to(image.device), image.flip(axis), image)
    if kind == "rotate":
        quarters = torch.rand(len(image), 1, 1, 1, generator=generator) < 0.5
        image = torch.where(quarters.to(image.device), image.transpose(-1, -2), image)
        turned = (torch.rand(len(image), generator=generator) < TURNED_SHARE).nonzero()[:, 0]
        degrees = 180 * torch.rand(len(turned), generator=generator) - 90
        if len(turned):
            image = image.clone()
            image[turned] = rotate(image[turned], degrees)
    return image
