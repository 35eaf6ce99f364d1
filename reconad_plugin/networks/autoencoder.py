"""Convolutional autoencoder: the plainest reconstruction-based detector.

An encoder halves the picture down to a grid of about 4x4, a linear bottleneck keeps ``latent_dim``
numbers, and the mirrored decoder rebuilds the picture. Trained on normal images alone it
rebuilds what it has seen; what it cannot rebuild is anomalous.

Source: Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks",
Science 2006, for the idea; the convolutional form is common practice.
"""

import math
from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reconad_plugin.images.illumination import Illumination
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.base import AnomalyNetwork

GRID_PX = 4  # mean side of the grid that the encoder ends on

Grid = tuple[int, int, int]  # channels, height and width of it


class RebuildingNetwork(AnomalyNetwork):
    """A network that rebuilds what it sees of a picture, whose map is the error of that."""

    illumination = Illumination()  # of what it sees

    @abstractmethod
    def rebuild(self, seen: Tensor) -> Tensor:
        """Rebuild what is seen of an image: (B, 3, H, W) float in [0, 1] -> same shape."""

    def reconstruct(self, image: Tensor) -> Tensor:
        """Reconstruct an image: (B, 3, H, W) float in [0, 1] -> same shape."""
        rebuilt = self.rebuild(self.illumination.normalise(image))
        return self.illumination.restore(rebuilt, image)

    def anomaly_map(self, image: Tensor) -> Tensor:
        """Sum the absolute error of what is seen over the colours: (B, 3, H, W) -> (B, H, W)."""
        seen = self.illumination.normalise(image)
        return (self.rebuild(seen).float() - seen).abs().sum(1)


class Autoencoder(RebuildingNetwork):
    """Encoder, bottleneck vector and mirrored decoder, built from ready parts."""

    def __init__(
        self,
        encoder: nn.Module,
        to_latent: nn.Linear,
        from_latent: nn.Linear,
        decoder: nn.Module,
        grid: Grid,
    ) -> None:
        super().__init__()
        self.encoder = encoder  # (B, 3, H, W) -> (B, *grid)
        self.to_latent = to_latent  # features of the grid -> (B, latent_dim)
        self.from_latent = from_latent  # the other way
        self.decoder = decoder  # (B, *grid) -> (B, 3, H, W) logits
        self.grid = grid

    def encode(self, image: Tensor) -> Tensor:
        """Encode an image: (B, 3, H, W) float in [0, 1] -> (B, latent_dim)."""
        grid: Tensor = self.encoder(image)  # (B, C, h, w)
        latent: Tensor = self.to_latent(grid.flatten(1))
        return latent

    def decode(self, latent: Tensor) -> Tensor:
        """Decode a latent: (B, latent_dim) -> (B, 3, H, W) in [0, 1]."""
        grid = self.from_latent(latent).unflatten(1, self.grid)  # (B, C, h, w)
        return torch.sigmoid(self.decoder(grid))

    def rebuild(self, seen: Tensor) -> Tensor:
        """See ``RebuildingNetwork``."""
        return self.decode(self.encode(seen))

    def forward(self, image: Tensor) -> Tensor:
        """Return the reconstruction."""
        return self.reconstruct(image)


def build_autoencoder(
    size: ImageSize,
    width: int = 32,
    latent_dim: int = 128,
    light: str = "none",
    colours: str = "rgb",
) -> Autoencoder:
    """Size an autoencoder.

    Args:
        size: of the input; both sides at least 32.
        width: channels after the first halving; doubles with each halving up to 4x.
        latent_dim: numbers in the bottleneck.
        light: what is taken out of a picture before; see ``Illumination``, as of colours.
        colours: that the network sees.
    """
    encoder, decoder, grid = build_encoder_decoder(size, width)
    features = math.prod(grid)
    to_latent, from_latent = nn.Linear(features, latent_dim), nn.Linear(latent_dim, features)
    network = Autoencoder(encoder, to_latent, from_latent, decoder, grid)
    network.illumination = Illumination(light, colours)
    return network


def halvings_to_grid(size: ImageSize, grid_px: int) -> int:
    """Return how often a picture is halved until the mean side of its grid is about this."""
    return round(math.log2(size.mean_side_px / grid_px))


def build_encoder_decoder(size: ImageSize, width: int) -> tuple[nn.Module, nn.Module, Grid]:
    """Size what lies on either side of a bottleneck; see ``build_autoencoder``.

    Returns:
        Encoder (B, 3, H, W) -> (B, *grid), decoder (B, *grid) -> (B, 3, H, W) logits, and the grid
        between them. Odd sides are rounded up where they are halved.
    """
    halvings = halvings_to_grid(size, GRID_PX)
    shapes = [tuple(-(-side // 2**i) for side in size.shape) for i in range(halvings + 1)]
    channels = [min(width * 2**i, width * 4) for i in range(halvings)]

    encoder = nn.Sequential()
    for inputs, outputs in zip([3, *channels], channels, strict=False):
        halving = nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1, bias=False)
        encoder.append(_normed(halving, outputs))

    decoder = nn.Sequential()
    rising = zip(channels[::-1], [*channels[-2::-1], width], shapes[-2::-1], strict=True)
    for inputs, outputs, shape in rising:
        decoder.append(nn.Identity())  # versions count layers by it
        decoder.append(_normed(EnlargingConvolution(inputs, outputs, shape), outputs))
    decoder.append(nn.Conv2d(width, 3, kernel_size=3, padding=1))

    height, width_px = shapes[-1]
    return encoder, decoder, (channels[-1], height, width_px)


class EnlargingConvolution(nn.Conv2d):
    """Enlarge to a shape by nearest neighbours, and convolve by 3x3: (B, C, h, w) -> (B, D, H, W).

    Where both sides double, the four pixels that a coarse one becomes are alike, so the two are one
    transposed convolution by 4x4 of the same weights: less than half the products.
    """

    def __init__(self, inputs: int, outputs: int, shape: tuple[int, ...]) -> None:
        super().__init__(inputs, outputs, kernel_size=3, padding=1, bias=False)
        self.shape = shape  # H and W
        self._kept: tuple[Tensor, Tensor] | None = None  # weights, and the kernel of them

    def forward(self, coarse: Tensor) -> Tensor:
        """Enlarge and convolve a batch."""
        if self.shape != tuple(2 * side for side in coarse.shape[-2:]):
            return super().forward(F.interpolate(coarse, size=self.shape, mode="nearest"))
        return F.conv_transpose2d(coarse, self._enlarging_kernel(), stride=2, padding=1)

    def _enlarging_kernel(self) -> Tensor:
        """Return the kernel of both at once: (C, D, 4, 4), kept while the weights stay the same.

        One picture takes less time than putting it together; a look at all weights takes little.
        """
        is_traced = torch.jit.is_tracing()  # type: ignore[attr-defined]
        if torch.is_grad_enabled() or is_traced:
            return self._put_together()
        kept = self._kept  # read once: another thread may keep its own meanwhile
        if kept is None or not _are_same(kept[0], self.weight):
            self._kept = kept = (self.weight.detach().clone(), self._put_together())
        return kept[1]

    def _put_together(self) -> Tensor:
        padded = F.pad(self.weight.flip(2, 3), (1, 1, 1, 1))
        rows = padded[:, :, 1:] + padded[:, :, :-1]
        kernel = (rows[..., 1:] + rows[..., :-1]).transpose(0, 1)
        return kernel.contiguous(memory_format=torch.channels_last)  # as pictures are


def _are_same(one: Tensor, other: Tensor) -> bool:
    if (one.dtype, one.device) != (other.dtype, other.device):
        return False
    return torch.equal(one, other)


def _normed(convolution: nn.Conv2d, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.LeakyReLU(0.1, inplace=True))
