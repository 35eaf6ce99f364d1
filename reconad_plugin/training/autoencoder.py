"""How an autoencoder learns: rebuild the picture, in square and absolute error."""

from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from reconad_plugin.networks.autoencoder import Autoencoder
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.training.recipe import Recipe, Simulation

SQUARED_SHARE: Final = 0.6  # of the loss; the rest is absolute error


class AutoencoderRecipe(Recipe):
    """Loss of the autoencoder on a batch of normal images.

    Args:
        network: the autoencoder.
        simulation: not used: only normal images are learnt.
        denoising: standard deviation of noise added to what the network sees and not to what it
            must rebuild; 0 adds none.
        sparsity: weight of the mean absolute latent; 0 leaves it out.

    Source of denoising: Vincent et al., "Extracting and Composing Robust Features with Denoising
    Autoencoders", ICML 2008.
    """

    learning_rate = 1e-3
    batch_size = 16

    def __init__(
        self,
        network: AnomalyNetwork,
        simulation: Simulation,
        denoising: float = 0.0,
        sparsity: float = 0.0,
    ) -> None:
        super().__init__(network, simulation)
        self.denoising = denoising
        self.sparsity = sparsity

    def losses(self, image: Tensor, generator: Generator) -> dict[str, Tensor]:
        """See ``Recipe``."""
        network = cast(Autoencoder, self.network)
        image = network.illumination.normalise(image)
        seen = image
        if self.denoising:
            noise = torch.randn(image.shape, generator=generator).to(image.device)
            seen = (image + self.denoising * noise).clamp(0, 1)
        latent = network.encode(seen)
        reconstruction = network.decode(latent).float()
        rebuilt, wanted = self.inside(reconstruction), self.inside(image)
        squared = F.mse_loss(rebuilt, wanted)
        absolute = F.l1_loss(rebuilt, wanted)
        losses = {"squared_error": squared, "absolute_error": absolute}
        total = SQUARED_SHARE * squared + (1 - SQUARED_SHARE) * absolute
        if self.sparsity:
            losses["sparsity"] = latent.float().abs().mean()
            total = total + self.sparsity * losses["sparsity"]
        return {"total": total, **losses}
