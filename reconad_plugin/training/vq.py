"""How the first stage of DSR learns: rebuild normal images and pictures of anything else."""

from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from reconad_plugin.errors import CodebookCollapsedError
from reconad_plugin.images.light import STANDARD_DEVIATION, is_grey, standard_light
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.quantiser import Quantised, Quantiser
from reconad_plugin.networks.vq import VqAutoencoder
from reconad_plugin.simulation.procedural import procedural_patterns
from reconad_plugin.simulation.textures import TextureDraw, Textures, load_textures
from reconad_plugin.training.recipe import Recipe, Simulation

COMMITMENT_WEIGHT: Final = 0.25
IMAGERY_SHARE: Final = 0.5  # of a batch; the rest are normal images
LEAST_PERPLEXITY: Final = 0.02  # of a codebook's size; below it has collapsed
SETTLED_AFTER: Final = 200  # batches; earlier a low perplexity is no sign of anything


class VqRecipe(Recipe):
    """Squared error in shares of a picture's variance, and features that stay near their codes.

    Half of each batch are unrelated pictures, textures and patterns by turns: what is anomalous
    on a product has to have codes of its own.

    Source: van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete Representation Learning",
    NeurIPS 2017, equation 3, with codes by running means.
    """

    learning_rate = 1e-3
    batch_size = 8

    def __init__(self, network: AnomalyNetwork, simulation: Simulation) -> None:
        super().__init__(network, simulation)
        network.requires_grad_(True)

    def losses(self, image: Tensor, generator: Generator) -> dict[str, Tensor]:
        """See ``Recipe``.

        Raises:
            CodebookCollapsedError: a codebook is hardly used any more.
        """
        network = cast(VqAutoencoder, self.network)
        with torch.autocast(image.device.type, enabled=False):  # pixels need their 8 bits
            mixed = self._mix(image, generator)
        picture = standard_light(mixed, like=mixed).contiguous(memory_format=torch.channels_last)
        seen = network(picture, generator)
        squared = F.mse_loss(seen.reconstruction, picture) / STANDARD_DEVIATION**2
        coarse, fine = _commitment(seen.coarse), _commitment(seen.fine)
        if self.training:
            check_codebooks(network)
        return {
            "total": squared + coarse + fine,
            "squared_error": squared,
            "coarse_commitment": coarse,
            "fine_commitment": fine,
        }

    def check(self) -> None:
        """See ``Recipe``.

        Raises:
            CodebookCollapsedError: a codebook was hardly used.
        """
        network = cast(VqAutoencoder, self.network)
        for name, codebook in codebooks(network).items():
            check_perplexity(name, codebook.perplexity, codebook.size)

    def _mix(self, image: Tensor, generator: Generator) -> Tensor:
        count, size_px = round(IMAGERY_SHARE * len(image)), image.shape[-1]
        textures = self.simulation.textures or load_textures(size_px)
        imagery = draw_imagery(count, textures.to(image.device), generator)
        if is_grey(image):  # a camera without colours needs no codes for them
            imagery = imagery.mean(1, keepdim=True).expand_as(imagery)
        return torch.cat([image[: len(image) - count], imagery])


def draw_imagery(count: int, textures: Textures, generator: Generator) -> Tensor:
    """Varied textures and procedural patterns, half of each: (count, 3, S, S) in [0, 1]."""
    pixels = textures.pixels
    size_px, device = pixels.shape[1], pixels.device
    patterns = procedural_patterns(count - count // 2, size_px, generator).to(device)
    of_textures = count // 2
    draw = TextureDraw.draw(of_textures, textures, generator)
    place = torch.arange(of_textures * size_px**2, device=device)
    row, column = place // size_px % size_px, place % size_px
    looks = draw.at(place // size_px**2, row, column)  # (count * S * S, 3)
    varied = looks.view(of_textures, size_px, size_px, 3).movedim(-1, 1)
    return torch.cat([patterns, varied])


def codebooks(network: VqAutoencoder) -> dict[str, Quantiser]:
    """Both codebooks by name."""
    return {"coarse": network.coarse_codebook, "fine": network.fine_codebook}


def check_codebooks(network: VqAutoencoder) -> None:
    """Check the perplexities of a training that is under way; the first batches are let pass.

    Raises:
        CodebookCollapsedError: see ``check_perplexity``.
    """
    for name, codebook in codebooks(network).items():
        if codebook.batches >= SETTLED_AFTER:
            check_perplexity(name, codebook.perplexity, codebook.size)


def check_perplexity(name: str, perplexity: float, size: int) -> None:
    """Check one codebook.

    Raises:
        CodebookCollapsedError: nearly all features fall to a few of its codes.
    """
    least = LEAST_PERPLEXITY * size
    if not perplexity >= least:
        raise CodebookCollapsedError(
            f"the perplexity of a codebook must be at least {least:.1f}; that of the {name} one "
            f"of {size} codes is {perplexity:.1f}: bring more varied images or textures, ask for "
            "fewer codes, or lower learning_rate"
        )


def _commitment(quantised: Quantised) -> Tensor:
    error = F.mse_loss(quantised.features, quantised.vectors.detach())
    return COMMITMENT_WEIGHT * error
