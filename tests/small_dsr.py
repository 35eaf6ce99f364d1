"""A DSR of few weights and pictures for it, for the tests of its networks and its training."""

import torch
from torch import Generator

from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.dsr import build_dsr

SIZE_PX = 64
CODES = 40


def seeded(seed=0):
    """A generator."""
    return Generator().manual_seed(seed)


def small(size_px=SIZE_PX):
    """A network of few weights, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_dsr(ImageSize.square(size_px), 8, 8, CODES, restriction_width=8, unet_width=4)


def pictures(count, size_px=SIZE_PX, seed=1):
    """(count, 3, S, S) float with room above and below."""
    return 0.35 + 0.2 * torch.rand(count, 3, size_px, size_px, generator=seeded(seed))
