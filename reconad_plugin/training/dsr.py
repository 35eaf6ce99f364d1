"""How DSR learns: an autoencoder where none is given, then to undo and mark codes that were
exchanged, then to sharpen the mask on smudges."""

from dataclasses import dataclass
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from reconad_plugin.images.light import standard_light
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.dsr import Dsr, Subspaces
from reconad_plugin.networks.vq import VqAutoencoder
from reconad_plugin.simulation.anomalies import draw_masks
from reconad_plugin.simulation.smudges import simulate_smudges
from reconad_plugin.training.losses import focal_loss
from reconad_plugin.training.recipe import Recipe, Simulation
from reconad_plugin.training.vq import VqRecipe

ANOMALOUS_SHARE: Final = 0.5  # of a batch; the rest stays clean
NEAREST_LEFT_OUT: Final = 0.05  # of the codes; they would change nothing that can be seen
FARTHEST_SHARE: Final = (0.2, 1.0)  # of the codes that an image's anomaly draws from
IMAGE_WEIGHT: Final = 10.0


class CodesRecipe(VqRecipe):
    """The first phase, where no autoencoder is given: see ``training.vq``."""

    def __init__(self, network: AnomalyNetwork, simulation: Simulation) -> None:
        network.requires_grad_(False)
        super().__init__(cast(Dsr, network).subspaces.vq, simulation)


@dataclass(frozen=True)
class DamagedCodes:
    """Codes of pictures, some exchanged."""

    coarse: Tensor  # (B, S / 8, S / 8) long
    fine: Tensor  # (B, S / 4, S / 4) long
    mask: Tensor  # (B, S, S) bool, cells whose codes were exchanged, on the coarser grid concerned


class SubspacesRecipe(Recipe):
    """The second phase: everything but autoencoder and upsampler.

    Making a recipe settles what learns, so each is made when its phase begins.

    Source: Zavrtanik, Kristan and Skocaj, "DSR", ECCV 2022, sections 3.3 and 3.4.
    """

    learning_rate = 1e-3
    batch_size = 8

    def __init__(self, network: AnomalyNetwork, simulation: Simulation) -> None:
        network.requires_grad_(False)
        subspaces = cast(Dsr, network).subspaces
        super().__init__(subspaces, simulation)
        subspaces.requires_grad_(True)
        subspaces.vq.requires_grad_(False)
        self._rankings: tuple[Tensor, Tensor] | None = None  # the codebooks stay as they are

    def losses(self, image: Tensor, generator: Generator) -> dict[str, Tensor]:
        """See ``Recipe``."""
        network = cast(Subspaces, self.network)
        picture = standard_light(image, like=image).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            damaged, coarse, fine = self._damage(network.vq, picture, generator)
            seen_coarse = network.vq.coarse_codebook.vectors(damaged.coarse)
            seen_fine = network.vq.fine_codebook.vectors(damaged.fine)
        seen = network.compare(seen_coarse, seen_fine)
        losses = {
            "coarse_error": F.mse_loss(seen.coarse.float(), coarse),
            "fine_error": F.mse_loss(seen.fine.float(), fine),
            "image_error": IMAGE_WEIGHT
            * F.mse_loss(self.inside(seen.rebuilt), self.inside(picture)),
            "focal": focal_loss(self.inside(seen.logits), self.inside(damaged.mask)),
        }
        return {"total": torch.stack(list(losses.values())).sum(), **losses}

    def _damage(
        self, vq: VqAutoencoder, picture: Tensor, generator: Generator
    ) -> tuple[DamagedCodes, Tensor, Tensor]:
        """Damaged codes of a batch, and the vectors of its true ones, coarse and fine."""
        if self._rankings is None:
            self._rankings = vq.coarse_codebook.ranking(), vq.fine_codebook.ranking()
        encoded = vq.fine_encoder(picture)
        coarse = vq.quantise_coarse(encoded)
        fine = vq.quantise_fine(encoded, coarse.vectors)
        count, size = len(picture), ImageSize.of(picture.shape)
        anomalous = max(1, round(ANOMALOUS_SHARE * count))
        mask = torch.zeros(count, *size.shape, dtype=torch.bool)
        mask[:anomalous] = draw_masks(
            anomalous, size, generator, self.simulation.preset, self.simulation.inside
        )
        mask = mask.to(picture.device)
        draw = torch.rand(count, generator=generator).to(picture.device)
        on_both, on_coarse = draw < 0.5, draw < 0.75  # else on the fine grid alone

        coarse_mask = _cells(mask, coarse.codes) & on_coarse[:, None, None]
        fine_mask = _cells(mask, fine.codes) & (on_both | ~on_coarse)[:, None, None]
        coarse_codes = exchange_codes(coarse.codes, coarse_mask, self._rankings[0], generator)
        fine_codes = fine.codes
        some = (on_both & mask.flatten(1).any(1)).nonzero()[:, 0]
        if len(some):  # the fine features know the coarse codes, so they change as well
            vectors = vq.coarse_codebook.vectors(coarse_codes[some])
            fine_codes = fine_codes.clone()
            fine_codes[some] = vq.quantise_fine(encoded[some], vectors).codes
        fine_codes = exchange_codes(fine_codes, fine_mask, self._rankings[1], generator)
        masks = _pixels(coarse_mask, size), _pixels(fine_mask, size)
        marked = torch.where(on_coarse[:, None, None], *masks)
        return DamagedCodes(coarse_codes, fine_codes, marked), coarse.vectors, fine.vectors


class UpsamplerRecipe(Recipe):
    """The third phase: the upsampler alone, on smudges whose outline is known to the pixel.

    Source: Zavrtanik, Kristan and Skocaj, "DSR", ECCV 2022, section 3.5.
    """

    learning_rate = 1e-3
    batch_size = 8

    def __init__(self, network: AnomalyNetwork, simulation: Simulation) -> None:
        super().__init__(network, simulation)
        network.requires_grad_(False)
        cast(Dsr, network).upsampler.requires_grad_(True)

    def losses(self, image: Tensor, generator: Generator) -> dict[str, Tensor]:
        """See ``Recipe``."""
        anomalous = max(1, round(ANOMALOUS_SHARE * len(image)))
        with torch.autocast(image.device.type, enabled=False):  # pixels need their 8 bits
            smudged = simulate_smudges(
                image[:anomalous], generator, self.simulation.preset, self.simulation.inside
            )
        seen = torch.cat([smudged.image, image[anomalous:]])
        mask = torch.cat([smudged.mask, torch.zeros_like(seen[anomalous:, 0], dtype=torch.bool)])
        picture = standard_light(seen, like=seen).contiguous(memory_format=torch.channels_last)
        focal = focal_loss(self.inside(self.network(picture)[0]), self.inside(mask))
        return {"total": focal, "focal": focal}


def exchange_codes(codes: Tensor, mask: Tensor, ranking: Tensor, generator: Generator) -> Tensor:
    """Exchange the codes (B, H, W) of the cells in a mask for others that are neither too near nor
    too far in a ranking (K, K), for each code all codes by distance, itself first.

    The generator draws each image's share of the codes, and the codes of the cells from that share
    without the nearest. Distances are those from the code that stood there, where the authors' code
    takes them from the feature that led to it: the codebook is frozen, so one ranking serves all.
    """
    low, high = FARTHEST_SHARE
    share = low + (high - low) * torch.rand(len(codes), generator=generator)
    number, row, column = mask.nonzero(as_tuple=True)  # each (P,)
    unit = torch.rand(len(number), generator=generator).to(codes.device)
    before = codes[number, row, column]
    size = len(ranking)
    first = max(1, round(NEAREST_LEFT_OUT * size))
    last = (share.to(codes.device)[number] * size).ceil().clamp_min(first + 1)
    rank = (first + unit * (last - first)).long().clamp_max(size - 1)
    exchanged = codes.clone()
    exchanged[number, row, column] = ranking[before, rank].long()
    return exchanged


def _cells(mask: Tensor, codes: Tensor) -> Tensor:
    """Cells of the grid of ``codes`` that a mask touches: (B, H, W) bool -> (B, H, W) bool."""
    cell_px = mask.shape[-1] // codes.shape[-1]
    return F.max_pool2d(mask[:, None].float(), cell_px)[:, 0] > 0


def _pixels(cells: Tensor, size: ImageSize) -> Tensor:
    """(B, h, w) bool -> (B, H, W) bool."""
    cell_px = size.width_px // cells.shape[-1]
    return cells.repeat_interleave(cell_px, 1).repeat_interleave(cell_px, 2)
