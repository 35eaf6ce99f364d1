"""Smudges of one colour: plain shapes whose exact outline can be learnt.

Source: Zavrtanik, Kristan and Skocaj, "DSR", ECCV 2022, section 3.5; opacity of the authors' code.
"""

from typing import Final

import torch
from torch import Generator, Tensor

from reconad_plugin.images.light import is_grey
from reconad_plugin.images.size import ImageSize
from reconad_plugin.simulation.anomalies import LEAST_CHANGE, SimulatedAnomalies, draw_masks
from reconad_plugin.simulation.masks import uniform
from reconad_plugin.simulation.presets import Preset

OPACITY: Final = (0.2, 1.0)
LEAST_CONTRAST: Final = LEAST_CHANGE / OPACITY[0]  # so that the faintest one can be seen


def simulate_smudges(
    images: Tensor, generator: Generator, preset: Preset, inside: Tensor | None = None
) -> SimulatedAnomalies:
    """Put one smudge on each image.

    Args:
        images: (N, 3, S, S) float in [0, 1], on any device.
        generator: of the CPU; the only source of randomness.
        preset: its shapes.
        inside: (S, S) bool on the CPU, where they may be; anywhere by default.
    """
    count = len(images)
    size = ImageSize.of(images.shape)
    mask = draw_masks(count, size, generator, preset, inside).to(images.device)
    covered = mask[:, None].float()
    before = (images * covered).sum((-2, -1)) / covered.sum((-2, -1))  # (N, 3)
    colour = torch.rand(count, 3, generator=generator).to(images.device)
    if is_grey(images):  # a camera without colours sees none
        colour = colour[:, :1].expand_as(colour)
    is_faint = (colour - before).abs().amax(1, keepdim=True) < LEAST_CONTRAST
    colour = torch.where(is_faint, (colour + 0.5) % 1, colour)
    alpha = covered * uniform(generator, *OPACITY, count, 1, 1, 1).to(images.device)
    return SimulatedAnomalies(images + alpha * (colour[:, :, None, None] - images), mask)
