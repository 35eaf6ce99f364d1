"""Texture of a whole picture: how far the statistics of its features lie from those of normal ones.

A crack or an uneven grinding may be nowhere remarkable and everywhere a little. Mean and deviation
of each feature over the picture, held against those of normal pictures, show it.

Source: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
Journal of Multivariate Analysis 88, 2004, for their covariance.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from reconad_plugin.images.light import standard_light
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.fre import PATCH_PX, build_features
from reconad_plugin.networks.frozen_features import Features

_LEAST_DEVIATION = 1e-4  # of a feature over a picture


class TextureDistance(AnomalyNetwork):
    """Frozen features and the law of their statistics over normal pictures."""

    smooths_map = False

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features
        self.mean: Tensor
        self.precision: Tensor
        self.register_buffer("mean", torch.zeros(2 * features.channels))
        self.register_buffer("precision", torch.eye(2 * features.channels))

    def describe(self, image: Tensor) -> Tensor:
        """Describe a picture (B, 3, H, W) in standard light: the mean of each feature over it, and
        then the deviation of each, (B, 2C)."""
        return _statistics(self.features(image))

    def reconstruct(self, image: Tensor) -> Tensor:
        """Return the image, (B, 3, H, W) float in [0, 1], as it is: statistics rebuild nothing."""
        return image

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map what each patch adds to the distance, and the distance everywhere: (B, 3, H, W) ->
        (B, H, W) each."""
        layers = self.features(standard_light(image, like=image))
        beside = _statistics(layers) - self.mean  # (B, 2C)
        pull = beside @ self.precision  # (B, 2C)
        distance = (pull * beside).sum(1).clamp_min(0).sqrt()  # (B,)
        size = image.shape[-2:]
        grid = (size[0] // PATCH_PX, size[1] // PATCH_PX)
        shares = beside.new_zeros(image.shape[0], 1, *grid)
        at, channels = 0, self.features.channels
        for layer in layers:
            own = slice(at, at + layer.shape[1])
            of_mean = pull[:, :channels][:, own, None, None]  # (B, C of the layer, 1, 1)
            of_deviation = pull[:, channels:][:, own, None, None]
            from_mean = layer - layer.mean((2, 3), keepdim=True)
            deviation = layer.std((2, 3), keepdim=True).clamp_min(_LEAST_DEVIATION)
            share = of_mean * from_mean + of_deviation * from_mean.square() / (2 * deviation)
            shares += F.interpolate(
                share.sum(1, keepdim=True), size=grid, mode="bilinear", align_corners=False
            )
            at = own.stop
        whole = F.interpolate(shares, size=size, mode="bilinear", align_corners=False)
        everywhere = distance[:, None, None].expand(-1, *size)
        return whole[:, 0].clamp_min(0), everywhere

    def anomaly_map(self, image: Tensor) -> Tensor:
        """Map what each patch adds to the distance: (B, 3, H, W) -> (B, H, W)."""
        return self.maps(image)[0]


def build_texture(size: ImageSize, backbone: str = "") -> TextureDistance:
    """Size it for sides that are multiples of 16, over the features that
    ``networks.fre.build_features`` builds."""
    del size  # fully convolutional
    return TextureDistance(build_features(backbone))


def _statistics(layers: list[Tensor]) -> Tensor:
    means = [layer.mean((2, 3)) for layer in layers]
    deviations = [layer.std((2, 3)) for layer in layers]
    return torch.cat(means + deviations, 1)
