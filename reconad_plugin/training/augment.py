"""Light as training sees it: every lamp that the future may bring."""

from typing import Final

import torch
from torch import Generator, Tensor

from reconad_plugin.images.light import dim_lamp

POWER_RANGE: Final = (0.7, 1.3)  # of the lamp's light
COLOUR_RANGE: Final = 0.05  # gain of each colour, +-
CONTRAST_RANGE: Final = (0.9, 1.1)


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

    lit = dim_lamp(image, draw(*POWER_RANGE)) * draw(1 - COLOUR_RANGE, 1 + COLOUR_RANGE, 3)
    mean = lit.mean((1, 2, 3), keepdim=True)
    return ((lit - mean) * draw(*CONTRAST_RANGE) + mean).clamp(0, 1)
