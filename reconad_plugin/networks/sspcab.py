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
CORNER_PX: Final = 1  # side of each corner patch
DILATION_PX: Final = 1  # between the middle and the corner patches
REDUCTION: Final = 8  # of the channel attention
_BORDER_PX: Final = CORNER_PX + DILATION_PX


class AttentiveBlock(nn.Module):
    """Masked convolution and squeeze-and-excitation: (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.corners = nn.ModuleList(nn.Conv2d(channels, channels, CORNER_PX) for _ in range(4))
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, max(1, channels // REDUCTION), 1),
            nn.ReLU(),
            nn.Conv2d(max(1, channels // REDUCTION), channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Predict; the mean squared difference to what came in is left in ``loss``."""
        padded = F.pad(features, (_BORDER_PX,) * 4)
        height, width = features.shape[-2:]
        size = CORNER_PX - 1
        far = 2 * _BORDER_PX - size
        starts = ((0, 0), (0, far), (far, 0), (far, far))
        predicted: Tensor = sum(
            corner(padded[..., top : top + height + size, left : left + width + size])
            for corner, (top, left) in zip(self.corners, starts, strict=True)
        )
        predicted = F.relu(predicted)
        attended: Tensor = predicted * self.attention(predicted)
        self.loss = F.mse_loss(attended.float(), features.float())
        return attended
