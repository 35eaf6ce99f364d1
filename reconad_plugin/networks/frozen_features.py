"""Features of a picture from a network that was trained on other pictures and learns no more.

The first eleven blocks of EfficientNet-lite0. Its weights come from whoever trains (see
``training.pretrained_features``) and travel in the version; without any, its filters are random.

Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML
2019, table 1; the lite variant has no squeeze-and-excitation and ReLU6 for swish.
"""

from typing import Final, NamedTuple, Self

import torch.nn.functional as F
from torch import Tensor, nn

STEM_CHANNELS: Final = 32
_MEAN, _DEVIATION = 127 / 255, 128 / 255  # of the pixels that the weights were trained on
_BATCH_NORM_EPSILON: Final = 1e-3


class _Stage(NamedTuple):
    """Blocks in a row that have one size of channels."""

    repeats: int
    kernel_px: int
    stride: int  # of the first of them
    expansion: int
    channels: int


STAGES: Final = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
)
TAPPED: Final = (2, 4, 10)  # the blocks whose outputs are features: the last at strides 4, 8, 16
CHANNELS: Final = 24 + 40 + 112  # of the three together


class Features(nn.Module):
    """Pictures to features: (B, 3, S, S) float in [0, 1] -> three layers, (B, C, S/4, S/4), at an
    eighth and at a sixteenth of the side. Batch norms stay as they are."""

    channels: int  # of the three together

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode."""
        del mode
        return super().train(False)


class FrozenFeatures(Features):
    """Features of EfficientNet-lite0; its weights get no gradient."""

    channels = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolution(3, STEM_CHANNELS, kernel_px=3, stride=2)
        self.blocks = nn.ModuleList()
        channels = STEM_CHANNELS
        for stage in STAGES:
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                block = _Block(channels, stage.channels, stage.kernel_px, stride, stage.expansion)
                self.blocks.append(block)
                channels = stage.channels
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) float in [0, 1] -> features at strides 4, 8 and 16, (B, C, H/4, W/4) etc."""
        seen = self.stem((image - _MEAN) / _DEVIATION)
        features = []
        for number, block in enumerate(self.blocks):
            seen = block(seen)
            if number in TAPPED:
                features.append(seen)
        return features


class _Block(nn.Module):
    """Inverted residual: widen, convolve each channel, narrow; added to the input where it fits.

    Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel_px: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        self.widen = _convolution(inputs, wide) if expansion > 1 else nn.Identity()
        self.filter = _convolution(wide, wide, kernel_px, stride, groups=wide)
        self.narrow = _convolution(wide, outputs)
        self.narrow.pop(2)  # linear
        self.is_added = stride == 1 and inputs == outputs

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        narrow: Tensor = self.narrow(self.filter(self.widen(image)))
        return narrow + image if self.is_added else narrow


class _SamePadded(nn.Conv2d):
    """A convolution whose output is the input divided by the stride, rounded up: it pads as the
    weights were trained with, more on the right and below where it cannot be even."""

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads: list[int] = []
        for side in (image.shape[-1], image.shape[-2]):
            pad = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [pad // 2, pad - pad // 2]
        return super().forward(F.pad(image, pads))


def _convolution(
    inputs: int, outputs: int, kernel_px: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        _SamePadded(inputs, outputs, kernel_px, stride, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=_BATCH_NORM_EPSILON),
        nn.ReLU6(inplace=True),
    )
