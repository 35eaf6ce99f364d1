"""GANomaly: rebuild the picture, encode it again, and compare the two latents.

An encoder-decoder learns to rebuild normal images so well that a discriminator cannot tell; a
second encoder learns to give the reconstruction the latent of the picture. Of an anomalous
picture the decoder makes a normal one, whose latent is elsewhere.

Source: Akcay, Atapour-Abarghouei and Breckon, "GANomaly: Semi-Supervised Anomaly Detection via
Adversarial Training", ACCV 2018, section 3; its layers are those of Radford, Metz and Chintala,
"Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
ICLR 2016. The paper's images have 32 pixels; for larger ones the channels stop doubling at 8x.
"""

from itertools import pairwise
from typing import Final

import torch
from torch import Generator, Tensor, nn

from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.autoencoder import halvings_to_grid
from reconad_plugin.networks.base import AnomalyNetwork

GRID_PX: Final = 4  # mean side of the grid before the latent
INITIAL_STD: Final = 0.02  # of all weights, as in DCGAN

Shape = tuple[int, int]  # height and width of a grid, odd ones rounded down where they are halved


class Ganomaly(AnomalyNetwork):
    """Encoder, decoder and second encoder; inside, pictures are in [-1, 1]."""

    def __init__(
        self, encoder: nn.Sequential, decoder: nn.Sequential, second_encoder: nn.Sequential
    ) -> None:
        super().__init__()
        self.encoder = encoder  # (B, 3, H, W) in [-1, 1] -> (B, latent_dim, 1, 1)
        self.decoder = decoder  # (B, latent_dim, 1, 1) -> (B, 3, H, W) in [-1, 1]
        self.second_encoder = second_encoder  # like the first, with weights of its own

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Image (B, 3, H, W) float in [0, 1] -> reconstruction and the latents of both.

        Returns:
            Reconstruction (B, 3, H, W) in [0, 1], latent of the image and latent of the
            reconstruction, (B, latent_dim) each; all float32.
        """
        latent = self.encoder(to_signed(image))  # (B, latent_dim, 1, 1)
        signed = self.decoder(latent).float()
        second_latent = self.second_encoder(signed)
        return (signed + 1) / 2, latent.flatten(1).float(), second_latent.flatten(1).float()

    def reconstruct(self, image: Tensor) -> Tensor:
        """Reconstruct an image: (B, 3, H, W) float in [0, 1] -> same shape."""
        signed: Tensor = self.decoder(self.encoder(to_signed(image))).float()
        return (signed + 1) / 2

    def image_score(self, image: Tensor, smoothed_map: Tensor) -> Tensor:
        """Return the mean squared difference of the two latents: (B, 3, H, W) -> (B,).

        The map is not used: the paper has none. Squared as in the authors' code.
        """
        del smoothed_map
        _, latent, second_latent = self(image)
        difference: Tensor = latent - second_latent
        return difference.square().mean(1)  # (B, latent_dim) -> (B,)


def build_ganomaly(size: ImageSize, width: int = 64, latent_dim: int = 100) -> Ganomaly:
    """Size a GANomaly, with the initial weights of DCGAN.

    Args:
        size: of the input; both sides at least 32.
        width: channels after the first halving; doubles with each halving up to 8x.
        latent_dim: numbers in the latent.
    """
    halvings = halvings_to_grid(size, GRID_PX)
    channels = [min(width * 2**i, width * 8) for i in range(halvings)]
    shapes = [(size.height_px // 2**i, size.width_px // 2**i) for i in range(halvings + 1)]
    sizes = (channels, latent_dim, shapes)
    network = Ganomaly(_encoder(*sizes), _decoder(*sizes), _encoder(*sizes))
    draw_weights(network)
    return network


def to_signed(image: Tensor) -> Tensor:
    """Bring [0, 1] to the [-1, 1] of a hyperbolic tangent."""
    return 2 * image - 1


def draw_weights(module: nn.Module, generator: Generator | None = None) -> None:
    """Draw the weights of convolutions without bias and BatchNorms anew, in place, as in DCGAN, and
    forget the statistics of batches.

    Convolutions come from N(0, 0.02), the scales of BatchNorm from N(1, 0.02), and both from a
    generator on the CPU, or torch's global one.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            _draw(layer.weight, 0.0, generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
            _draw(layer.weight, 1.0, generator)


def _draw(weight: Tensor, mean: float, generator: Generator | None) -> None:
    with torch.no_grad():
        weight.copy_(mean + INITIAL_STD * torch.randn(weight.shape, generator=generator))


def _encoder(channels: list[int], latent_dim: int, shapes: list[Shape]) -> nn.Sequential:
    """Size an encoder: halvings to a grid of about 4x4, and last the convolution that makes a
    latent of it.

    Every BatchNorm stands where there are about 4x4 values a channel or more, so that a single
    image has a variance in training too.
    """
    encoder = nn.Sequential(_halving(3, channels[0]), nn.LeakyReLU(0.2, inplace=True))
    for inputs, outputs in pairwise(channels):
        halving = _halving(inputs, outputs)
        encoder.extend([halving, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2, inplace=True)])
    encoder.append(nn.Conv2d(channels[-1], latent_dim, kernel_size=shapes[-1], bias=False))
    return encoder


def _decoder(channels: list[int], latent_dim: int, shapes: list[Shape]) -> nn.Sequential:
    odd = [(height % 2, width % 2) for height, width in shapes[-2::-1]]
    rising = channels[::-1]
    decoder = nn.Sequential(
        nn.ConvTranspose2d(latent_dim, rising[0], kernel_size=shapes[-1], bias=False),
        nn.BatchNorm2d(rising[0]),
        nn.ReLU(inplace=True),
    )
    for (inputs, outputs), more in zip(pairwise(rising), odd[:-1], strict=True):
        doubling = _doubling(inputs, outputs, more)
        decoder.extend([doubling, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)])
    decoder.extend([_doubling(rising[-1], 3, odd[-1]), nn.Tanh()])
    return decoder


def _halving(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1, bias=False)


def _doubling(inputs: int, outputs: int, more: Shape) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(
        inputs, outputs, kernel_size=4, stride=2, padding=1, output_padding=more, bias=False
    )
