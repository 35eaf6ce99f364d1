"""How GANomaly learns: against a discriminator that tells real pictures from rebuilt ones."""

import copy
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.ganomaly import Ganomaly, draw_weights, to_signed
from reconad_plugin.training.recipe import Recipe, Simulation

ADVERSARIAL_WEIGHT: Final = 1.0
CONTEXTUAL_WEIGHT: Final = 50.0
LATENT_WEIGHT: Final = 1.0
COLLAPSED_BELOW: Final = 1e-5  # discriminator's loss below which the generator learns nothing


class Discriminator(nn.Module):
    """Tells real pictures from rebuilt ones."""

    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features = features  # (B, 3, S, S) in [-1, 1] -> (B, C, 4, 4)
        self.classifier = classifier  # (B, C, 4, 4) -> (B, 1, 1, 1) logit, positive for real

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Image (B, 3, S, S) float in [0, 1] -> features (B, C, 4, 4) and logit (B,), float32."""
        features = self.features(to_signed(image))
        logit = self.classifier(features).flatten()  # (B, 1, 1, 1) -> (B,)
        return features.float(), logit.float()


class GanomalyRecipe(Recipe):
    """Losses of generator and discriminator in one sum, which reaches each by its own part alone.

    The discriminator's loss is taken on reconstructions cut from the generator, and the
    generator's adversarial loss under a copy of the discriminator that passes gradients on to
    the picture and keeps none. So one optimiser over both descends as two would, in the same
    step.

    As in the authors' code, contextual errors are measured between pictures in [-1, 1], and real
    and rebuilt pictures go through the discriminator as batches of their own. Its BatchNorms
    take their statistics from these two passes; the adversarial pass normalises by its batch and
    leaves no trace. In eval mode all BatchNorms use the statistics they have gathered, nothing
    is gathered and the discriminator is never drawn anew.

    Args:
        network: generator; the discriminator has the shape of its encoder.
        simulation: not used: only normal images are learnt.

    Source: Akcay et al., "GANomaly", ACCV 2018, section 3.
    """

    learning_rate = 2e-4
    betas = (0.5, 0.999)
    batch_size = 32

    def __init__(self, network: AnomalyNetwork, simulation: Simulation) -> None:
        super().__init__(network, simulation)
        self.discriminator = _discriminator_like(cast(Ganomaly, network).encoder)
        self.discriminator_loss: Tensor  # of the last training step
        self.register_buffer("discriminator_loss", torch.tensor(torch.inf))

    def losses(self, image: Tensor, generator: Generator) -> dict[str, Tensor]:
        """See ``Recipe``."""
        # Weights that a backward pass still needs must not change: so before the step that
        # follows the collapse, and not right after it.
        if self.training and self.discriminator_loss < COLLAPSED_BELOW:
            draw_weights(self.discriminator, generator)

        rebuilt, latent, second_latent = cast(Ganomaly, self.network)(image)
        real_features, discriminator_loss = self._discriminate(image, rebuilt.detach())
        if self.training:
            self.discriminator_loss.copy_(discriminator_loss.detach())
        adversarial = F.mse_loss(self._features_without_trace(rebuilt), real_features.detach())
        contextual = F.l1_loss(self.inside(to_signed(rebuilt)), self.inside(to_signed(image)))
        latent_error = F.mse_loss(second_latent, latent)
        generator_loss = ADVERSARIAL_WEIGHT * adversarial + CONTEXTUAL_WEIGHT * contextual
        generator_loss = generator_loss + LATENT_WEIGHT * latent_error
        losses = {"adversarial": adversarial, "contextual": contextual, "latent": latent_error}
        total = generator_loss + discriminator_loss
        return {"total": total, **losses, "discriminator": discriminator_loss}

    def _discriminate(self, image: Tensor, rebuilt: Tensor) -> tuple[Tensor, Tensor]:
        """Features of real pictures, and the mean cross-entropy of real and rebuilt ones."""
        real_features, real = self.discriminator(image)
        _, fake = self.discriminator(rebuilt)
        taken_for_rebuilt = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        taken_for_real = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        return real_features, (taken_for_rebuilt + taken_for_real) / 2

    def _features_without_trace(self, image: Tensor) -> Tensor:
        """Compute the discriminator's features, with gradients for the image alone."""
        weights = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        statistics = {name: value.clone() for name, value in self.discriminator.named_buffers()}
        frozen = {**weights, **statistics}
        features: Tensor = torch.func.functional_call(self.discriminator, frozen, (image,))[0]
        return features


def _discriminator_like(encoder: nn.Sequential) -> Discriminator:
    """Build a discriminator of an encoder's shape: one logit takes the place of the latent.

    Its first weights are always the same, and torch's global random state is left alone.
    """
    to_latent = cast(nn.Conv2d, encoder[-1])
    discriminator = Discriminator(
        copy.deepcopy(encoder[:-1]),
        nn.utils.skip_init(
            nn.Conv2d, to_latent.in_channels, 1, kernel_size=to_latent.kernel_size, bias=False
        ),
    )
    draw_weights(discriminator, Generator().manual_seed(0))
    return discriminator
