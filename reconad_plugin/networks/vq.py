"""The first stage of DSR: pictures as codes of two codebooks, a coarse and a fine grid of them.

A fine grid has a code for each 4 x 4 pixels, a coarse one for each 8 x 8; the fine features know
the coarse codes. A decoder makes the picture again, whatever it shows, also of codes that were
exchanged. It sees pictures in standard light, as DRAEM does (docs/decisions/0009).

Source: Zavrtanik, Kristan and Skocaj, "DSR - A Dual Subspace Re-Projection Network for Surface
Anomaly Detection", ECCV 2022, section 3.1; the layers are those of Razavi, van den Oord and
Vinyals, "Generating Diverse High-Fidelity Images with VQ-VAE-2", NeurIPS 2019.
"""

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reconad_plugin.images.light import own_light, standard_light
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.base import FoundationNetwork
from reconad_plugin.networks.quantiser import Quantised, Quantiser

FINE_CELL_PX: Final = 4
COARSE_CELL_PX: Final = 8


@dataclass(frozen=True)
class VqOutput:
    """A picture as codes, and what they decode to."""

    reconstruction: Tensor  # (B, 3, H, W) float32, in standard light
    coarse: Quantised  # on the grid of a side / 8
    fine: Quantised  # on the grid of a side / 4


class VqAutoencoder(FoundationNetwork):
    """Two encoders, two codebooks, one decoder. Pictures are in standard light throughout.

    Args:
        width: channels of the hidden layers; 128 in the paper.
        code_dim: length of a code; 128 in the paper.
        codes: number of codes of each codebook; 4096 in the paper.
    """

    def __init__(self, width: int, code_dim: int, codes: int) -> None:
        super().__init__()
        self.sizes = {"width": width, "code_dim": code_dim, "codes": codes}
        self.fine_encoder = nn.Sequential(
            nn.Conv2d(3, width // 2, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width // 2, width, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, kernel_size=3, padding=1),
            *residuals(width),
        )
        self.coarse_encoder = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, kernel_size=3, padding=1),
            nn.ReLU(),
            *residuals(width),
        )
        self.to_coarse = nn.Conv2d(width, code_dim, kernel_size=1)
        self.to_fine = nn.Conv2d(width + code_dim, code_dim, kernel_size=1)
        self.coarse_codebook = Quantiser(codes, code_dim)
        self.fine_codebook = Quantiser(codes, code_dim)
        self.enlarge_coarse = nn.ConvTranspose2d(
            code_dim, code_dim, kernel_size=4, stride=2, padding=1
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(2 * code_dim, width, kernel_size=3, padding=1),
            *residuals(width),
            *to_picture(width),
        )

    def forward(self, image: Tensor, generator: Generator | None = None) -> VqOutput:
        """Encode and decode a picture; with a generator the codebooks learn (``Quantiser``)."""
        encoded = self.fine_encoder(image)
        coarse = self.quantise_coarse(encoded, generator)
        fine = self.quantise_fine(encoded, coarse.vectors, generator)
        return VqOutput(self.decode(coarse.vectors, fine.vectors), coarse, fine)

    def quantise_coarse(self, encoded: Tensor, generator: Generator | None = None) -> Quantised:
        """Quantise what ``fine_encoder`` gives, (B, C, H / 4, W / 4) -> coarse codes."""
        features = self.to_coarse(self.coarse_encoder(encoded))
        quantised: Quantised = self.coarse_codebook(features, generator)
        return quantised

    def quantise_fine(
        self, encoded: Tensor, coarse: Tensor, generator: Generator | None = None
    ) -> Quantised:
        """Quantise what ``fine_encoder`` gives with coarse vectors (B, D, H / 8, W / 8)."""
        both = torch.cat([encoded, self.enlarge_coarse(coarse).to(encoded.dtype)], dim=1)
        quantised: Quantised = self.fine_codebook(self.to_fine(both), generator)
        return quantised

    def decode(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Decode vectors (B, D, H / 8, W / 8) and (B, D, H / 4, W / 4) -> picture (B, 3, H, W)."""
        decoded: Tensor = self.decoder(self.join(coarse, fine)).float()
        return decoded

    def join(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Join both grids of vectors as one, (B, 2 D, H / 4, W / 4)."""
        return torch.cat([self.enlarge_coarse(coarse).to(fine.dtype), fine], dim=1)

    def reconstruct(self, image: Tensor) -> Tensor:
        """Reconstruct an image from codes: (B, 3, H, W) float in [0, 1] -> same shape."""
        reconstruction = self(standard_light(image, like=image)).reconstruction
        rebuilt: Tensor = own_light(reconstruction, like=image).clamp(0, 1)
        return rebuilt


class Residual(nn.Module):
    """A bottleneck beside a rectified shortcut: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(width, width // 2, kernel_size=3, padding=1, bias=False)
        self.widen = nn.Conv2d(width // 2, width, kernel_size=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Rectify the shortcut too, as in the authors' code and so in their weights."""
        features = F.relu(features)
        widened: Tensor = features + self.widen(F.relu(self.narrow(features)))
        return widened


def residuals(width: int) -> tuple[nn.Module, ...]:
    """Make the two residual layers that stand wherever the paper has a stack of them."""
    return Residual(width), Residual(width), nn.ReLU()


def to_picture(width: int) -> tuple[nn.Module, ...]:
    """Turn features on the fine grid into a picture: the end of both decoders of DSR."""
    return (
        nn.ConvTranspose2d(width, width // 2, kernel_size=4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(width // 2, 3, kernel_size=4, stride=2, padding=1),
    )


def build_vq(
    size: ImageSize, width: int = 32, code_dim: int = 32, codes: int = 512
) -> VqAutoencoder:
    """Size a ``VqAutoencoder`` for sides that are multiples of 16."""
    del size  # fully convolutional
    return VqAutoencoder(width, code_dim, int(codes))
