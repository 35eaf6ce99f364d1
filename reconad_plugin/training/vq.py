"""How the first stage of DSR learns: rebuild normal images and pictures of anything else."""

from collections.abc import Mapping
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.errors import CodebookCollapsedError
from reconad_plugin.images.light import STANDARD_DEVIATION, is_grey, standard_light
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.quantiser import CodebookUse, Quantised
from reconad_plugin.networks.vq import VqAutoencoder, build_vq
from reconad_plugin.simulation.procedural import procedural_patterns
from reconad_plugin.simulation.textures import TextureDraw, Textures, load_textures
from reconad_plugin.training.loop import DEFAULTS, RunOptions, train
from reconad_plugin.training.losses import ssim_map
from reconad_plugin.training.recipe import Recipe, Simulation
from reconad_plugin.training.report import FoundationReport, TrainingReport

COMMITMENT_WEIGHT: Final = 0.25
IMAGERY_SHARE: Final = 0.5  # of a batch; the rest are normal images
LEAST_PERPLEXITY: Final = 0.02  # of a codebook's size; below it has collapsed
MEASURED_IMAGES: Final = 64  # of each kind
MEASURED_AT_ONCE: Final = 16
_MEASURED_SEED: Final = 20_220_802  # of the unrelated pictures that are measured
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
        losses = {"squared_error": squared, "coarse_commitment": coarse, "fine_commitment": fine}
        return {"total": squared + coarse + fine, **losses}

    def check(self) -> None:
        """See ``Recipe``.

        Raises:
            CodebookCollapsedError: a codebook was hardly used.
        """
        check_codebooks(cast(VqAutoencoder, self.network), settled_after=0)

    def _mix(self, image: Tensor, generator: Generator) -> Tensor:
        count, size = round(IMAGERY_SHARE * len(image)), ImageSize.of(image.shape)
        textures = self.simulation.textures or load_textures(round(size.mean_side_px))
        imagery = draw_imagery(count, size, textures.to(image.device), generator)
        if is_grey(image):  # a camera without colours needs no codes for them
            imagery = imagery.mean(1, keepdim=True).expand_as(imagery)
        return torch.cat([image[: len(image) - count], imagery])


def draw_imagery(count: int, size: ImageSize, textures: Textures, generator: Generator) -> Tensor:
    """Draw varied textures and procedural patterns, half of each: (count, 3, H, W) in [0, 1]."""
    device = textures.pixels.device
    patterns = procedural_patterns(count - count // 2, size, generator).to(device)
    of_textures = count // 2
    draw = TextureDraw.draw(of_textures, textures, generator)
    pixel = torch.arange(of_textures * size.pixels, device=device)
    row, column = pixel // size.width_px % size.height_px, pixel % size.width_px
    filling = draw.at(pixel // size.pixels, row, column)  # (count * H * W, 3)
    varied = filling.view(of_textures, *size.shape, 3).movedim(-1, 1)
    return torch.cat([patterns, varied])


def check_codebooks(network: VqAutoencoder, settled_after: int = SETTLED_AFTER) -> None:
    """Check the perplexities of codebooks that have learnt from so many batches.

    Raises:
        CodebookCollapsedError: see ``check_perplexity``.
    """
    codebooks = {"coarse": network.coarse_codebook, "fine": network.fine_codebook}
    for name, codebook in codebooks.items():
        if codebook.batches >= settled_after:
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
    return COMMITMENT_WEIGHT * F.mse_loss(quantised.features, quantised.vectors.detach())


def pretrain_vq(
    images: Tensor,
    held_out: Tensor,
    textures: Textures,
    settings: TrainingSettings,
    seed: int,
    sizes: Mapping[str, int],
    options: RunOptions = DEFAULTS,
) -> tuple[VqAutoencoder, FoundationReport]:
    """Train a two-level quantised autoencoder on normal images and unrelated pictures.

    Args:
        images: (N, 3, H, W) uint8 normal images, of one product or of many.
        held_out: (M, 3, H, W) uint8 normal images to measure on; ``images`` where there are none.
        textures: the unrelated pictures, of the same size; patterns are drawn beside them.
        settings: steps, budget, learning rate, batch, variations.
        seed: of first weights, order, variation and patterns.
        sizes: arguments of ``build_vq``.
        options: device, precision, checkpoints, progress.

    Raises:
        NotEnoughImagesError: no image.
        TrainingDivergedError: the loss is not a number.
        CodebookCollapsedError: a codebook is hardly used.
    """
    with torch.random.fork_rng(devices=[]):  # initial weights follow the seed, and nothing else
        torch.manual_seed(seed)
        network = build_vq(ImageSize.of(images.shape), **sizes)
    recipe = VqRecipe(network, Simulation(textures=textures.to(options.device)))
    # A map of its errors says nothing about its worth, so nothing validates: the last average stays
    training = train(recipe, images, images[:0], settings, seed, options=options)
    network = network.to("cpu")
    report = measure_vq(network, held_out if len(held_out) else images, textures, training)
    for name, use in report.codebooks.items():
        check_perplexity(name, use.perplexity, use.size)
    return network, report


def measure_vq(
    network: VqAutoencoder, images: Tensor, textures: Textures, training: TrainingReport
) -> FoundationReport:
    """Measure an autoencoder on (N, 3, H, W) uint8 normal images; up to 64, spread evenly."""
    chosen = torch.linspace(0, len(images) - 1, min(len(images), MEASURED_IMAGES)).round().long()
    normal = images[chosen].float() / 255
    generator, shape = Generator().manual_seed(_MEASURED_SEED), ImageSize.of(images.shape)
    imagery = draw_imagery(len(normal), shape, textures.to("cpu"), generator)
    pictures = torch.cat([normal, imagery]).split(MEASURED_AT_ONCE)
    with torch.inference_mode():
        rebuilt = torch.cat([network.reconstruct(some) for some in normal.split(MEASURED_AT_ONCE)])
        seen = [network(standard_light(some, like=some)) for some in pictures]
    squared = (rebuilt - normal).square().mean((1, 2, 3))  # (N, 3, H, W) -> (N,)
    size = network.coarse_codebook.size
    uses = {
        "coarse": CodebookUse.of(torch.cat([each.coarse.codes for each in seen]), size),
        "fine": CodebookUse.of(torch.cat([each.fine.codes for each in seen]), size),
    }
    psnr_db = float(-10 * squared.clamp_min(1e-10).log10().mean())
    ssim = float(ssim_map(rebuilt, normal).mean())
    return FoundationReport(training, uses, psnr_db, ssim, imagery)
