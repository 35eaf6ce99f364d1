"""U-Net: an encoder and a decoder with skips between equal grids, for what marks pixels.

Source: Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Convolution = Callable[[int, int], tuple[nn.Module, ...]]  # channels in and out -> its layers


class UNet(nn.Module):
    """U-Net with two classes.

    Args:
        inputs: channels that come in.
        falling: channels of the encoder, from full resolution to the coarsest grid.
        rising: channels of the decoder, from the coarsest grid to full resolution; begins with
            the last of ``falling``.
        convolution: a convolution with its norm and what follows.
    """

    def __init__(
        self, inputs: int, falling: Sequence[int], rising: Sequence[int], convolution: Convolution
    ) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            pair(convolution, before, width) for before, width in pairwise([inputs, *falling])
        )
        self.enlarge, self.merge = nn.ModuleList(), nn.ModuleList()
        for (below, width), skip in zip(pairwise(rising), falling[-2::-1], strict=True):
            self.enlarge.append(enlarge(convolution, below, width))
            self.merge.append(pair(convolution, width + skip, width))
        self.output = nn.Conv2d(rising[-1], 2, kernel_size=3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 2, H, W) logits."""
        x, skips = pictures, []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2, ceil_mode=True) if level else x)
            skips.append(x)
        for up, merge, skip in zip(self.enlarge, self.merge, skips[-2::-1], strict=True):
            height, width = skip.shape[-2:]  # odd where the pooled grid was rounded up
            x = merge(torch.cat([up(x)[..., :height, :width], skip], dim=1))
        logits: Tensor = self.output(x)
        return logits


def pair(
    convolution: Convolution, inputs: int, outputs: int, middle: int | None = None
) -> nn.Sequential:
    """Make two convolutions: (B, inputs, H, W) -> (B, outputs, H, W)."""
    middle = middle or outputs
    return nn.Sequential(*convolution(inputs, middle), *convolution(middle, outputs))


def enlarge(convolution: Convolution, inputs: int, outputs: int) -> nn.Sequential:
    """Double the grid smoothly, then convolve: (B, inputs, H, W) -> (B, outputs, 2H, 2W)."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        *convolution(inputs, outputs),
    )
