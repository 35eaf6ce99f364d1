"""How the texture of whole pictures is learnt: the statistics of each, and their covariance."""

from typing import Final, cast

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf
from torch import Generator, Tensor

from reconad_plugin.images.light import standard_light
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.texture import TextureDistance
from reconad_plugin.training.closed_form import ClosedForm
from reconad_plugin.training.recipe import Simulation

_LEAST_SPREAD: Final = 1e-6  # of a statistic over the pictures, as a share of the mean one
_LEAST_VARIANCE: Final = 1e-6  # of a direction, as a share of the mean one; of one picture alone


class TextureRecipe(ClosedForm):
    """Statistics of the features of normal pictures, one row a picture."""

    batch_size = 16

    def __init__(self, network: AnomalyNetwork, simulation: Simulation) -> None:
        super().__init__(network, simulation)
        self._rows: list[Tensor] = []

    def losses(self, image: Tensor, generator: Generator) -> dict[str, Tensor]:
        """Compute the mean squared distance; nothing descends it."""
        del generator
        return {"total": self.network.maps(image)[1].square().mean()}

    def accumulate(self, image: Tensor) -> None:
        """See ``ClosedForm``."""
        standard = standard_light(image, like=image)
        self._rows.append(cast(TextureDistance, self.network).describe(standard).double().cpu())

    def solve(self) -> None:
        """See ``ClosedForm``."""
        rows = torch.cat(self._rows).numpy()  # (N, 2C)
        mean = rows.mean(0)
        spread = np.maximum(rows.std(0), _LEAST_SPREAD * np.abs(mean).mean() + 1e-12)
        covariance, _ = ledoit_wolf((rows - mean) / spread)
        size = len(mean)
        least = _LEAST_VARIANCE * np.eye(size)
        precision = np.linalg.inv(covariance + least) / np.outer(spread, spread)
        self.network.get_buffer("mean").copy_(torch.from_numpy(mean))
        self.network.get_buffer("precision").copy_(torch.from_numpy(precision))
