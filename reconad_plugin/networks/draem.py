"""DRAEM: rebuild the picture without its anomaly, and compare.

A reconstructor learns to undo simulated anomalies, a segmenter sees picture and reconstruction
together and marks where they disagree in a way that is anomalous. Unlike the paper's, ours takes
the light out first: it sees every picture at one mean and one deviation (docs/decisions/0009).

Source: Zavrtanik, Kristan and Skocaj, "DRAEM - A discriminatively trained reconstruction
embedding for surface anomaly detection", ICCV 2021, sections 3.1 and 3.2.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from reconad_plugin.images.light import own_light, standard_light
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.sspcab import AttentiveBlock
from reconad_plugin.networks.unet import UNet, enlarge, pair


class Draem(AnomalyNetwork):
    """Reconstructor and segmenter.

    Args:
        reconstructor: (B, 3, H, W) in [0, 1] -> (B, 3, H, W).
        segmenter: (B, 6, H, W), picture and reconstruction -> (B, 2, H, W) logits, normal first.
    """

    smooths_map, border_is_normal = False, True  # as in the paper

    def __init__(self, reconstructor: "Reconstructor", segmenter: UNet) -> None:
        super().__init__()
        self.reconstructor = reconstructor
        self.segmenter = segmenter

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Picture in standard light -> reconstruction in it, and logits (B, 2, H, W)."""
        reconstruction = self.reconstructor(image)
        return reconstruction, self.segmenter(torch.cat([reconstruction, image], dim=1))

    def reconstruct(self, image: Tensor) -> Tensor:
        """Reconstruct an image (B, 3, H, W) float in [0, 1] without its anomaly."""
        reconstruction = self.reconstructor(standard_light(image, like=image)).float()
        rebuilt: Tensor = own_light(reconstruction, like=image).clamp(0, 1)
        return rebuilt

    def anomaly_map(self, image: Tensor) -> Tensor:
        """Estimate how probable an anomaly is at each pixel: (B, 3, H, W) -> (B, H, W)."""
        _, logits = self(standard_light(image, like=image))
        probability: Tensor = logits.float().softmax(1)[:, 1]  # (B, 2, H, W) -> (B, H, W)
        return probability


class Reconstructor(nn.Module):
    """Encoder and decoder without skips, so that no anomaly slips past the bottleneck.

    Args:
        width: channels at full resolution; 2, 4, 8 and 8 times that below.
        sspcab: put a self-supervised predictive block at the end of the encoder.
    """

    def __init__(self, width: int, sspcab: bool = False) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        self.encoder = nn.Sequential(pair(_convolution, 3, width))
        for inputs, outputs in pairwise(widths):
            self.encoder.extend([nn.MaxPool2d(2), pair(_convolution, inputs, outputs)])
        self.predictor = AttentiveBlock(widths[-1]) if sspcab else None
        self.decoder = nn.Sequential()
        rising = [8 * width, 4 * width, 2 * width, width]
        for inputs, outputs in zip(rising, [*rising[1:], width], strict=True):
            enlarged = enlarge(_convolution, inputs, inputs)
            self.decoder.extend([enlarged, pair(_convolution, inputs, outputs, middle=inputs)])
        self.decoder.append(nn.Conv2d(width, 3, kernel_size=3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W)."""
        features = self.encoder(image)
        if self.predictor is not None:
            features = self.predictor(features)
        rebuilt: Tensor = self.decoder(features)
        return rebuilt


def build_segmenter(width: int) -> UNet:
    """Size a segmenter: (B, 6, H, W), picture and reconstruction -> (B, 2, H, W) logits. It has
    2, 4, 8, 8 and 8 times the width of full resolution below."""
    falling = [width, 2 * width, 4 * width, 8 * width, 8 * width, 8 * width]
    rising = [8 * width, 8 * width, 4 * width, 2 * width, width, width]
    return UNet(6, falling, rising, _convolution)


def build_draem(
    size: ImageSize,
    reconstructor_width: int = 32,
    segmenter_width: int = 16,
    sspcab: bool = False,
) -> Draem:
    """Size a DRAEM for sides that are multiples of 16, with or without ``networks.sspcab``; the
    widths are 128 and 64 in the paper."""
    del size  # fully convolutional
    return Draem(Reconstructor(reconstructor_width, sspcab), build_segmenter(segmenter_width))


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
