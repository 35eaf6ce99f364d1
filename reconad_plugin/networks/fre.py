"""Reconstruction of frozen features: what a linear model of normal features cannot rebuild.

A network that was trained on other pictures describes every patch of a picture in its features.
Those of normal pictures lie near a subspace, which keeps most of their variance; what a patch has
beside it is its anomaly. Nothing descends: mean and subspace follow from the moments of the
features, so that a training takes seconds.

Source: Rippel, Mertens and Merhof, "Modeling the Distribution of Normal Data in Pre-Trained Deep
Features for Anomaly Detection", ICPR 2020, for the components of least variance.
"""

from importlib import import_module
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from reconad_plugin.images.light import own_light, standard_light
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.frozen_features import Features, FrozenFeatures

PATCH_PX: Final = 8  # side of the part of a picture that is described as one
_PATCH: Final = 3 * PATCH_PX**2  # numbers of one
_NEIGHBOURS: Final = 3  # side of the window over which features are averaged


class FeatureReconstruction(AnomalyNetwork):
    """Frozen features and the subspace of normal ones."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features
        self.mean: Tensor
        self.residual: Tensor
        self.picture: Tensor
        self.mean_picture: Tensor
        self.register_buffer("mean", torch.zeros(features.channels))
        # what is beside the subspace, each direction in its own deviations; columns of 0 fill up
        self.register_buffer("residual", torch.eye(features.channels))
        self.register_buffer(
            "picture", torch.zeros(features.channels, _PATCH)
        )  # of what is in the subspace
        self.register_buffer("mean_picture", torch.zeros(_PATCH))

    def describe(self, image: Tensor) -> Tensor:
        """Describe a picture (B, 3, S, S) in standard light: (B, S/8, S/8, C), averaged over
        neighbours, the coarse features interpolated."""
        layers = self.features(image)
        grid = (image.shape[-2] // PATCH_PX, image.shape[-1] // PATCH_PX)
        smooth = [
            F.avg_pool2d(layer, _NEIGHBOURS, 1, _NEIGHBOURS // 2, count_include_pad=False)
            for layer in layers
        ]
        same = [
            F.adaptive_avg_pool2d(layer, grid)
            if layer.shape[-1] >= grid[-1]
            else F.interpolate(layer, size=grid, mode="bilinear", align_corners=False)
            for layer in smooth
        ]
        return torch.cat(same, 1).permute(0, 2, 3, 1)  # (B, C, H, H) -> (B, H, H, C)

    def reconstruct(self, image: Tensor) -> Tensor:
        """Reconstruct an image (B, 3, S, S) float in [0, 1] from the subspace of its features."""
        patches = self._centred(image) @ self.picture + self.mean_picture  # (B, H, H, 192)
        in_standard_light = F.pixel_shuffle(patches.permute(0, 3, 1, 2), PATCH_PX)  # (B, 3, S, S)
        rebuilt: Tensor = own_light(in_standard_light, like=image).clamp(0, 1)
        return rebuilt

    def anomaly_map(self, image: Tensor) -> Tensor:
        """Map how far each patch is beside the subspace: (B, 3, S, S) -> (B, S, S)."""
        error = (self._centred(image) @ self.residual).square().sum(-1).sqrt()  # (B, H, H)
        size = image.shape[-2:]
        whole = F.interpolate(error[:, None], size=size, mode="bilinear", align_corners=False)
        return whole[:, 0]

    def _centred(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) in its own light -> (B, S/8, S/8, C), less the mean of normal features."""
        return self.describe(standard_light(image, like=image)) - self.mean


def build_fre(size: ImageSize, backbone: str = "") -> FeatureReconstruction:
    """Size it for sides that are multiples of 16, over the features that ``build_features``
    builds."""
    del size  # fully convolutional
    return FeatureReconstruction(build_features(backbone))


def build_features(backbone: str) -> Features:
    """Build those of the network of torchvision that is named, or else of EfficientNet-lite0."""
    if not backbone:
        return FrozenFeatures()
    module = import_module("reconad_plugin.networks.torchvision_features")  # takes seconds
    return cast(Features, module.TorchvisionFeatures(backbone))
