"""How frozen features are rebuilt: the moments of normal ones, and the subspace that follows."""

from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from reconad_plugin.images.light import standard_light
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.fre import PATCH_PX, FeatureReconstruction
from reconad_plugin.training.closed_form import ClosedForm
from reconad_plugin.training.recipe import Simulation

KEPT_VARIANCE: Final = 0.95  # share of the variance of normal features that the subspace keeps
_LEAST_VARIANCE: Final = 1e-5  # of a direction, as a share of the mean one


class FeatureRecipe(ClosedForm):
    """Moments of normal features, and of the pixels of pictures that they describe."""

    batch_size = 16

    def __init__(self, network: AnomalyNetwork, simulation: Simulation) -> None:
        super().__init__(network, simulation)
        channels, patch = cast(FeatureReconstruction, network).picture.shape
        self._patches = 0
        self._sums = torch.zeros(channels + patch, dtype=torch.float64)
        self._products = torch.zeros(channels, channels + patch, dtype=torch.float64)

    def losses(self, image: Tensor, generator: Generator) -> dict[str, Tensor]:
        """Compute the mean error of the features; nothing descends it."""
        del generator
        return {"total": self.network.anomaly_map(image).square().mean()}

    def accumulate(self, image: Tensor) -> None:
        """See ``ClosedForm``."""
        standard = standard_light(image, like=image)
        described = self._patches_inside(
            cast(FeatureReconstruction, self.network).describe(standard)
        )
        pixels = F.pixel_unshuffle(standard, PATCH_PX).permute(0, 2, 3, 1)
        pixels = self._patches_inside(pixels)
        both = torch.cat([described, pixels], 1)  # (patches, C + 192)
        self._patches += len(both)
        self._sums += both.sum(0).double().cpu()
        self._products += (described.double().T @ both.double()).cpu()

    def _patches_inside(self, grid: Tensor) -> Tensor:
        """Return the patches that have a pixel in the region: (B, H, H, C) -> (patches, C)."""
        if self.simulation.inside is None:
            return grid.flatten(0, 2)
        share = F.max_pool2d(self.simulation.inside[None].float(), PATCH_PX)[0]  # (H, H)
        return grid[:, (share > 0).to(grid.device)].flatten(0, 1)

    def solve(self) -> None:
        """See ``ClosedForm``."""
        network = cast(FeatureReconstruction, self.network)
        channels = len(network.mean)
        mean = self._sums / self._patches
        moments = self._products / self._patches - mean[:channels, None] * mean  # (C, C + 192)
        variance, directions = torch.linalg.eigh(moments[:, :channels])  # rising
        variance = variance.clamp_min(_LEAST_VARIANCE * float(variance.mean()) + 1e-12)
        beside = int((variance.cumsum(0) <= (1 - KEPT_VARIANCE) * variance.sum()).sum())
        beside = max(1, beside)
        residual = directions[:, :beside] / (variance[:beside] * beside).sqrt()
        kept = directions[:, beside:] / variance[beside:] @ directions[:, beside:].T
        learnt = {
            "mean": mean[:channels],
            "residual": F.pad(residual, (0, channels - beside)),
            "picture": kept @ moments[:, channels:],
            "mean_picture": mean[channels:],
        }
        for name, value in learnt.items():
            network.get_buffer(name).copy_(value)
