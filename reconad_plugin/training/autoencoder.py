"""How an autoencoder learns: rebuild the picture, in square and absolute error."""

from typing import Final

import torch.nn.functional as F
from torch import Tensor

from reconad_plugin.networks.autoencoder import Autoencoder

SQUARED_SHARE: Final = 0.6  # of the loss; the rest is absolute error


class AutoencoderRecipe:
    """Loss of the autoencoder on a batch of normal images."""

    def __init__(self, network: Autoencoder) -> None:
        self.network = network

    def losses(self, image: Tensor) -> dict[str, Tensor]:
        """Losses by name; ``total`` is the one to descend.

        Args:
            image: (B, 3, S, S) float in [0, 1].
        """
        reconstruction = self.network(image).float()
        squared = F.mse_loss(reconstruction, image)
        absolute = F.l1_loss(reconstruction, image)
        return {
            "total": SQUARED_SHARE * squared + (1 - SQUARED_SHARE) * absolute,
            "squared_error": squared,
            "absolute_error": absolute,
        }
