"""DSR: bring the codes of a picture back to those of normal pictures, and compare what they show.

A frozen autoencoder with two codebooks (``networks.vq``) shows any picture. Two restriction
networks learn to give damaged codes back as normal ones, a decoder of the product shows these,
and a detector marks where the two pictures disagree. Both come from grids of codes, so an
upsampler sharpens the mask. All of it sees standard light (docs/decisions/0009).

Source: Zavrtanik, Kristan and Skocaj, "DSR - A Dual Subspace Re-Projection Network for Surface
Anomaly Detection", ECCV 2022, section 3; layers as in the authors' code.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from reconad_plugin.images.light import own_light, standard_light
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks import vq as first_stage
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.unet import UNet, enlarge, pair

SMALLEST_GRID: Final = 4  # that a restriction network halves its input to
BOTTLENECK: Final = 64  # channels of the object decoder's


@dataclass(frozen=True)
class Comparison:
    """The two pictures of a grid of codes, and where they disagree."""

    general: Tensor  # (B, 3, H, W) float32, what the codes show
    rebuilt: Tensor  # (B, 3, H, W) float32, what the normal codes show
    logits: Tensor  # (B, 2, H, W), normal first; as coarse as the codes
    coarse: Tensor  # (B, D, H / 8, W / 8), what the restriction gives, before it is quantised
    fine: Tensor  # (B, D, H / 4, W / 4), the same


class Subspaces(AnomalyNetwork):
    """All of DSR but the upsampler: what the second phase trains."""

    smooths_map, border_is_normal = False, True  # as in the paper

    def __init__(
        self,
        vq: first_stage.VqAutoencoder,
        coarse_restriction: nn.Module,
        fine_restriction: nn.Module,
        object_decoder: nn.Module,
        detector: nn.Module,
    ) -> None:
        super().__init__()
        self.vq = vq  # the autoencoder of the first phase; stays as it is
        self.coarse_restriction = coarse_restriction  # (B, D, H / 8, W / 8) -> the same
        self.fine_restriction = fine_restriction  # (B, D, H / 4, W / 4) -> the same
        self.object_decoder = object_decoder  # (B, 2 D, H / 4, W / 4) -> (B, 3, H, W)
        self.detector = detector  # (B, 6, H, W), rebuilt and general picture -> (B, 2, H, W) logits

    def forward(self, image: Tensor) -> Comparison:
        """Picture (B, 3, H, W) in standard light -> its codes and the normal ones, compared."""
        with torch.no_grad():
            encoded = self.vq.fine_encoder(image)
            coarse = self.vq.quantise_coarse(encoded).vectors
            fine = self.vq.quantise_fine(encoded, coarse).vectors
        return self.compare(coarse, fine)

    def compare(self, coarse: Tensor, fine: Tensor) -> Comparison:
        """Compare codes (B, D, H / 8, W / 8) and (B, D, H / 4, W / 4), damaged or not."""
        with torch.no_grad():
            general = self.vq.decode(coarse, fine)
        restricted_coarse = self.coarse_restriction(coarse)
        restricted_fine = self.fine_restriction(fine)
        normal = self.vq.join(
            self.vq.coarse_codebook(restricted_coarse).vectors,
            self.vq.fine_codebook(restricted_fine).vectors,
        )
        rebuilt = self.object_decoder(normal).float()
        logits = self.detector(torch.cat([rebuilt.detach(), general], dim=1))
        return Comparison(general, rebuilt, logits, restricted_coarse, restricted_fine)

    def reconstruct(self, image: Tensor) -> Tensor:
        """Reconstruct an image (B, 3, H, W) in [0, 1] as its normal codes show it."""
        rebuilt = self(standard_light(image, like=image)).rebuilt
        picture: Tensor = own_light(rebuilt, like=image).clamp(0, 1)
        return picture

    def anomaly_map(self, image: Tensor) -> Tensor:
        """Estimate how probable an anomaly is, as coarse as codes: (B, 3, H, W) -> (B, H, W)."""
        return _probability(self(standard_light(image, like=image)).logits)


class Dsr(AnomalyNetwork):
    """The whole of DSR. The score comes from the coarse mask, the map is the sharpened one.

    Args:
        subspaces: everything before the upsampler.
        upsampler: (B, 8, H, W), both pictures and the coarse mask -> (B, 2, H, W) logits.
    """

    smooths_map, border_is_normal = False, True  # as in the paper

    def __init__(self, subspaces: Subspaces, upsampler: nn.Module) -> None:
        super().__init__()
        self.subspaces = subspaces
        self.upsampler = upsampler

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Picture (B, 3, H, W) in standard light -> logits (B, 2, H, W) of the sharp mask, and the
        coarse mask (B, 2, H, W) as probabilities."""
        with torch.no_grad():
            seen = self.subspaces(image)
            mask = seen.logits.float().softmax(1)
        logits = self.upsampler(torch.cat([seen.rebuilt, seen.general, mask], dim=1))
        return logits, mask

    def reconstruct(self, image: Tensor) -> Tensor:
        """Reconstruct an image (B, 3, H, W) in [0, 1] as its normal codes show it."""
        return self.subspaces.reconstruct(image)

    def anomaly_map(self, image: Tensor) -> Tensor:
        """Estimate how probable an anomaly is at each pixel: (B, 3, H, W) -> (B, H, W)."""
        return self.maps(image)[0]

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sharp map and the coarse one of the score, each (B, H, W) in [0, 1]."""
        logits, coarse = self(standard_light(image, like=image))
        return _probability(logits), coarse[:, 1]


class Restriction(nn.Module):
    """Encoder and decoder without skips, so that nothing damaged slips past the bottleneck.

    Args:
        channels: of what comes in and goes out.
        width: channels on the first grid; doubled with each halving.
        levels: grids, each half as large as the one before; 3 in the paper.
    """

    def __init__(self, channels: int, width: int, levels: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels)]
        self.layers = nn.Sequential(pair(_convolution, channels, width))
        for inputs, outputs in pairwise(widths):
            self.layers.extend([nn.MaxPool2d(2), pair(_convolution, inputs, outputs)])
        for inputs, outputs in pairwise(widths[::-1]):
            enlarged = enlarge(_convolution, inputs, outputs)
            self.layers.extend([enlarged, pair(_convolution, outputs, outputs)])
        self.layers.append(nn.Conv2d(width, channels, kernel_size=3, padding=1))

    def forward(self, vectors: Tensor) -> Tensor:
        """(B, D, H, W) -> (B, D, H, W)."""
        restricted: Tensor = self.layers(vectors)
        return restricted


def _unet(inputs: int, width: int) -> UNet:
    """Size a U-net of four grids, with 2, 4 and 4 times the width below full resolution."""
    falling = [width, 2 * width, 4 * width, 4 * width]
    return UNet(inputs, falling, falling[::-1], _convolution)


def build_dsr(
    size: ImageSize,
    vq_width: int = 32,
    code_dim: int = 32,
    codes: int = 512,
    restriction_width: int = 32,
    unet_width: int = 16,
) -> Dsr:
    """Size a DSR for sides that are multiples of 16.

    Args:
        size: height and width.
        vq_width: hidden channels of the autoencoder and of the object decoder; 128 in the paper.
        code_dim: length of a code; 128 in the paper.
        codes: of each codebook; 4096 in the paper.
        restriction_width: 128 in the paper.
        unet_width: of detector and upsampler; 64 in the paper.
    """

    def restriction(cell_px: int) -> Restriction:
        # as often as both sides of the grid can be halved evenly
        evenly = math.gcd(*size.shape) // cell_px
        halvings = (evenly & -evenly).bit_length() - 1
        coarsest = (size.shorter_px // cell_px // SMALLEST_GRID).bit_length()
        levels = min(3, coarsest, halvings + 1)
        return Restriction(code_dim, restriction_width, levels)

    subspaces = Subspaces(
        first_stage.VqAutoencoder(vq_width, code_dim, int(codes)),
        restriction(first_stage.COARSE_CELL_PX),
        restriction(first_stage.FINE_CELL_PX),
        _object_decoder(2 * code_dim, vq_width),
        _unet(6, unet_width),
    )
    return Dsr(subspaces, _unet(8, unet_width))


def _object_decoder(channels: int, width: int) -> nn.Sequential:
    """Size a decoder that halves the fine grid twice before it decodes, so that it draws what the
    product has there."""
    return nn.Sequential(
        *_convolution(channels, channels),
        *_convolution(channels, 2 * channels),
        nn.MaxPool2d(2),
        *_convolution(2 * channels, 2 * channels),
        *_convolution(2 * channels, 4 * channels),
        nn.MaxPool2d(2),
        nn.Conv2d(4 * channels, BOTTLENECK, kernel_size=1),
        nn.ConvTranspose2d(BOTTLENECK, BOTTLENECK, kernel_size=4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(BOTTLENECK, BOTTLENECK, kernel_size=4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(BOTTLENECK, width, kernel_size=3, padding=1),
        *first_stage.residuals(width),
        *first_stage.to_picture(width),
    )


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (  # a bias would be taken out by the norm
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.InstanceNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _probability(logits: Tensor) -> Tensor:
    return logits.float().softmax(1)[:, 1]  # (B, 2, H, W) -> (B, H, W)
