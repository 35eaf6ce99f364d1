"""Variational autoencoder: an autoencoder whose bottleneck is a Gaussian instead of a point.

Encoder and decoder are the autoencoder's. The bottleneck gives a mean and a variance for each of
``latent_dim`` numbers; training samples from them, scoring takes the mean, so that an image has
one reconstruction and one map.

Source: Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

from reconad_plugin.images.illumination import Illumination
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.autoencoder import Grid, RebuildingNetwork, build_encoder_decoder

# Beyond it exp() says nothing new: standard deviations of 0.0003 and of 55, where the prior has 1.
LOG_VARIANCE_RANGE: Final = (-16.0, 8.0)


class Vae(RebuildingNetwork):
    """Encoder, Gaussian bottleneck and mirrored decoder, built from ready parts."""

    def __init__(
        self,
        encoder: nn.Module,
        to_mean: nn.Linear,
        to_log_variance: nn.Linear,
        from_latent: nn.Linear,
        decoder: nn.Module,
        grid: Grid,
    ) -> None:
        super().__init__()
        self.encoder = encoder  # (B, 3, H, W) -> (B, *grid)
        self.to_mean = to_mean  # features of the grid -> (B, latent_dim)
        self.to_log_variance = to_log_variance  # the same
        self.from_latent = from_latent  # (B, latent_dim) -> features of the grid
        self.decoder = decoder  # (B, *grid) -> (B, 3, H, W) logits
        self.grid = grid

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode an image (B, 3, H, W) in [0, 1]: mean and log-variance, (B, latent_dim) each."""
        grid = self.encoder(image).flatten(1)  # (B, C, h, w) -> (B, C*h*w)
        mean: Tensor = self.to_mean(grid)
        log_variance: Tensor = self.to_log_variance(grid)
        return mean, log_variance.clamp(*LOG_VARIANCE_RANGE)

    def decode(self, latent: Tensor) -> Tensor:
        """Decode a latent: (B, latent_dim) -> (B, 3, H, W) in [0, 1]."""
        grid = self.from_latent(latent).unflatten(1, self.grid)  # (B, C, h, w)
        return torch.sigmoid(self.decoder(grid))

    def rebuild(self, seen: Tensor) -> Tensor:
        """Rebuild what is seen from its latent's mean: (B, 3, H, W) in [0, 1] -> same shape."""
        mean, _ = self.encode(seen)
        return self.decode(mean)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the latent."""
        return self.encode(image)


def build_vae(
    size: ImageSize,
    width: int = 32,
    latent_dim: int = 128,
    light: str = "none",
    colours: str = "rgb",
) -> Vae:
    """Size a variational autoencoder; see ``build_autoencoder``."""
    encoder, decoder, grid = build_encoder_decoder(size, width)
    features = math.prod(grid)
    network = Vae(
        encoder,
        nn.Linear(features, latent_dim),
        nn.Linear(features, latent_dim),
        nn.Linear(latent_dim, features),
        decoder,
        grid,
    )
    network.illumination = Illumination(light, colours)
    return network
