"""How a variational autoencoder learns: rebuild from a noisy latent, and keep it near N(0, 1)."""

from typing import Final, cast

import torch
from torch import Generator, Tensor

from reconad_plugin.networks.vae import Vae
from reconad_plugin.training.recipe import Recipe

# Where pixels are Gaussian about the reconstruction with this standard deviation, in units of
# [0, 1], the log-likelihood is -||x - d(z)||^2 / (2 sigma^2). Multiplied by 2 sigma^2, the bound
# of Kingma and Welling becomes ||x - d(z)||^2 + 2 sigma^2 KL. The unweighted sum stands for a
# sigma of 0.71: then fine differences between normal images count as noise, and the part of the
# latent that would tell them collapses onto its prior. 0.1 is above the noise of a camera and
# below the contrast of a part.
PIXEL_SIGMA: Final = 0.1
KL_WEIGHT: Final = 2 * PIXEL_SIGMA**2


class VaeRecipe(Recipe):
    """Squared error plus the divergence of the latent from its prior.

    ``||x - d(z)||^2 + KL_WEIGHT * KL``, both summed within an image as the bound asks for, then
    divided by the number of values in an image, so that the size of the loss does not depend on
    the size of the image. The two keep their proportion: where images are larger, there is more
    to be explained by as many latent numbers, and the divergence is the smaller part.

    Source: Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014, equations 4 and 10
    and appendix B.
    """

    learning_rate = 1e-3
    batch_size = 16

    def losses(self, image: Tensor, generator: Generator) -> dict[str, Tensor]:
        """See ``Recipe``; ``divergence`` is in nats an image."""
        network = cast(Vae, self.network)
        image = network.illumination.normalise(image)
        mean, log_variance = (part.float() for part in network.encode(image))
        noise = torch.randn(mean.shape, generator=generator).to(image.device)
        latent = mean + noise * (0.5 * log_variance).exp()
        error = self.inside(network.decode(latent).float() - image)
        values = error[0].numel()
        of_an_image = tuple(range(1, error.ndim))
        squared = error.square().sum(of_an_image).mean() / values  # (B, 3, S, S) -> (B,) -> ()
        divergence = gaussian_divergence(mean, log_variance).mean()
        total = squared + KL_WEIGHT * divergence / values
        return {"total": total, "squared_error": squared, "divergence": divergence}


def gaussian_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Sum ``KL(N(mean, variance) || N(0, 1))`` over the latent: (B, D) twice -> (B,), nats."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1)
