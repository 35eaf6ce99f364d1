"""SSPCAB: a block that must predict each value from its surroundings, and weighs the channels.

The convolution sees four corner patches around a pixel and not the pixel itself, so what is
unpredictable there, such as an anomaly, comes out different from what went in. That difference
is a loss of its own.

Source: Ristea et al., "Self-Supervised Predictive Convolutional Attentive Block for Anomaly
Detection", CVPR 2022, section 3.
"""

from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

LOSS_WEIGHT: Final = 0.1


class AttentiveBlock(nn.Module):
    """Masked convolution and squeeze-and-excitation: (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C.
        kernel: side of each corner patch.
        dilation: pixels between the middle and the corner patches.
        reduction: of the channel attention.
    """

    def __init__(
        self, channels: int, kernel: int = 1, dilation: int = 1, reduction: int = 8
    ) -> None:
        super().__init__()
        self._kernel = kernel
        self._border = kernel + dilation
        self.corners = nn.ModuleList(nn.Conv2d(channels, channels, kernel) for _ in range(4))
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, max(1, channels // reduction), 1),
            nn.ReLU(),
            nn.Conv2d(max(1, channels // reduction), channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Predict; the mean squared difference to what came in is left in ``loss``."""
        padded = F.pad(features, (self._border,) * 4)
        height, width = features.shape[-2:]
        size = self._kernel - 1
        far = 2 * self._border - size
        starts = ((0, 0), (0, far), (far, 0), (far, far))
        predicted: Tensor = sum(
            corner(padded[..., top : top + height + size, left : left + width + size])
            for corner, (top, left) in zip(self.corners, starts, strict=True)
        )
        predicted = F.relu(predicted)
        attended: Tensor = predicted * self.attention(predicted)
        self.loss = F.mse_loss(attended.float(), features.float())
        return attended
