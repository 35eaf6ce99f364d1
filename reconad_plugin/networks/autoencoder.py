"""Convolutional autoencoder: the plainest reconstruction-based detector.

An encoder halves the picture down to a 4x4 grid, a linear bottleneck keeps ``latent_dim``
numbers, and the mirrored decoder rebuilds the picture. Trained on normal images alone it
rebuilds what it has seen; what it cannot rebuild is anomalous.

Source: Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks",
Science 2006, for the idea; the convolutional form is common practice.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from reconad_plugin.images.illumination import Illumination
from reconad_plugin.networks.base import AnomalyNetwork

GRID_PX = 4  # the encoder ends on a GRID_PX x GRID_PX grid


class RebuildingNetwork(AnomalyNetwork):
    """A network that rebuilds what it sees of a picture, whose map is the error of that."""

    illumination = Illumination()  # of what it sees

    @abstractmethod
    def rebuild(self, seen: Tensor) -> Tensor:
        """Rebuild what is seen of an image: (B, 3, S, S) float in [0, 1] -> same shape."""

    def reconstruct(self, image: Tensor) -> Tensor:
        """Reconstruct an image: (B, 3, S, S) float in [0, 1] -> same shape."""
        rebuilt = self.rebuild(self.illumination.normalise(image))
        return self.illumination.restore(rebuilt, image)

    def anomaly_map(self, image: Tensor) -> Tensor:
        """Sum the absolute error of what is seen over the colours: (B, 3, S, S) -> (B, S, S)."""
        seen = self.illumination.normalise(image)
        return (self.rebuild(seen).float() - seen).abs().sum(1)


class Autoencoder(RebuildingNetwork):
    """Encoder, bottleneck vector and mirrored decoder, built from ready parts."""

    def __init__(
        self, encoder: nn.Module, to_latent: nn.Linear, from_latent: nn.Linear, decoder: nn.Module
    ) -> None:
        super().__init__()
        self.encoder = encoder  # (B, 3, S, S) -> (B, C, 4, 4)
        self.to_latent = to_latent  # (B, C*16) -> (B, latent_dim)
        self.from_latent = from_latent  # (B, latent_dim) -> (B, C*16)
        self.decoder = decoder  # (B, C, 4, 4) -> (B, 3, S, S) logits

    def encode(self, image: Tensor) -> Tensor:
        """Encode an image: (B, 3, S, S) float in [0, 1] -> (B, latent_dim)."""
        grid: Tensor = self.encoder(image)  # (B, C, 4, 4)
        latent: Tensor = self.to_latent(grid.flatten(1))
        return latent

    def decode(self, latent: Tensor) -> Tensor:
        """Decode a latent: (B, latent_dim) -> (B, 3, S, S) in [0, 1]."""
        grid = self.from_latent(latent).unflatten(1, (-1, GRID_PX, GRID_PX))  # (B, C, 4, 4)
        return torch.sigmoid(self.decoder(grid))

    def rebuild(self, seen: Tensor) -> Tensor:
        """See ``RebuildingNetwork``."""
        return self.decode(self.encode(seen))

    def forward(self, image: Tensor) -> Tensor:
        """Return the reconstruction."""
        return self.reconstruct(image)


def build_autoencoder(
    image_size_px: int,
    width: int = 32,
    latent_dim: int = 128,
    light: str = "none",
    colours: str = "rgb",
) -> Autoencoder:
    """Size an autoencoder for square images.

    Args:
        image_size_px: side of the square input; a power of two of at least 32.
        width: channels after the first halving; doubles with each halving up to 4x.
        latent_dim: numbers in the bottleneck.
        light: what is taken out of a picture before; see ``Illumination``, as of colours.
        colours: that the network sees.
    """
    encoder, decoder, grid_features = build_encoder_decoder(image_size_px, width)
    network = Autoencoder(
        encoder, nn.Linear(grid_features, latent_dim), nn.Linear(latent_dim, grid_features), decoder
    )
    network.illumination = Illumination(light, colours)
    return network


def build_encoder_decoder(image_size_px: int, width: int) -> tuple[nn.Module, nn.Module, int]:
    """Size what lies on either side of a bottleneck; see ``build_autoencoder``.

    Returns:
        Encoder (B, 3, S, S) -> (B, C, 4, 4), decoder (B, C, 4, 4) -> (B, 3, S, S) logits, and
        the C*16 features of the grid between them.
    """
    halvings = (image_size_px // GRID_PX).bit_length() - 1
    channels = [min(width * 2**i, width * 4) for i in range(halvings)]

    encoder = nn.Sequential()
    for inputs, outputs in zip([3, *channels], channels, strict=False):
        encoder.append(_convolution(inputs, outputs, stride=2))

    decoder = nn.Sequential()
    for inputs, outputs in zip(channels[::-1], [*channels[-2::-1], width], strict=True):
        decoder.append(nn.Upsample(scale_factor=2, mode="nearest"))
        decoder.append(_convolution(inputs, outputs, stride=1))
    decoder.append(nn.Conv2d(width, 3, kernel_size=3, padding=1))

    return encoder, decoder, channels[-1] * GRID_PX * GRID_PX


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.1, inplace=True),
    )
