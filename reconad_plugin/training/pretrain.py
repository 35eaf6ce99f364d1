"""The first stage of DSR as a product of its own: trained, measured, or read from a file."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file
from torch import Generator, Tensor

from reconad_plugin.config import TrainingSettings
from reconad_plugin.errors import ModelFormatError
from reconad_plugin.images.light import standard_light
from reconad_plugin.networks.quantiser import CodebookUse
from reconad_plugin.networks.vq import VqAutoencoder, VqOutput, build_vq
from reconad_plugin.simulation.textures import Textures
from reconad_plugin.training.loop import Progress, TrainingReport, train
from reconad_plugin.training.losses import ssim_map
from reconad_plugin.training.recipe import Simulation
from reconad_plugin.training.vq import VqRecipe, check_perplexity, draw_imagery

MEASURED_IMAGES: Final = 64  # of each kind
BATCH_SIZE: Final = 16
_SEED: Final = 20_220_802  # of the unrelated pictures that are measured

_PUBLISHED: Final = {  # names in the authors' file -> ours
    "_encoder_b._conv_1.": "fine_encoder.0.",
    "_encoder_b._conv_2.": "fine_encoder.2.",
    "_encoder_b._conv_3.": "fine_encoder.4.",
    "_encoder_b._residual_stack._layers.0._block.1.": "fine_encoder.5.narrow.",
    "_encoder_b._residual_stack._layers.0._block.3.": "fine_encoder.5.widen.",
    "_encoder_b._residual_stack._layers.1._block.1.": "fine_encoder.6.narrow.",
    "_encoder_b._residual_stack._layers.1._block.3.": "fine_encoder.6.widen.",
    "_encoder_t._conv_1.": "coarse_encoder.0.",
    "_encoder_t._conv_2.": "coarse_encoder.2.",
    "_encoder_t._residual_stack._layers.0._block.1.": "coarse_encoder.4.narrow.",
    "_encoder_t._residual_stack._layers.0._block.3.": "coarse_encoder.4.widen.",
    "_encoder_t._residual_stack._layers.1._block.1.": "coarse_encoder.5.narrow.",
    "_encoder_t._residual_stack._layers.1._block.3.": "coarse_encoder.5.widen.",
    "_pre_vq_conv_top.": "to_coarse.",
    "_pre_vq_conv_bot.": "to_fine.",
    "upsample_t.": "enlarge_coarse.",
    "_decoder_b._conv_1.": "decoder.0.",
    "_decoder_b._residual_stack._layers.0._block.1.": "decoder.1.narrow.",
    "_decoder_b._residual_stack._layers.0._block.3.": "decoder.1.widen.",
    "_decoder_b._residual_stack._layers.1._block.1.": "decoder.2.narrow.",
    "_decoder_b._residual_stack._layers.1._block.3.": "decoder.2.widen.",
    "_decoder_b._conv_trans_1.": "decoder.4.",
    "_decoder_b._conv_trans_2.": "decoder.6.",
}
_PUBLISHED_CODES: Final = {"_vq_vae_top.": "coarse_codebook.", "_vq_vae_bot.": "fine_codebook."}


@dataclass(frozen=True)
class VqReport:
    """What a pretraining came to.

    Attributes:
        training: steps, seconds and curve.
        coarse: use of the coarse codebook, over normal images and unrelated pictures, half of
            each, as in training.
        fine: the same of the fine one.
        psnr_db: peak signal-to-noise ratio of the normal images' reconstructions, mean.
        ssim: their structural similarity, mean.
    """

    training: TrainingReport
    coarse: CodebookUse
    fine: CodebookUse
    psnr_db: float
    ssim: float


def pretrain_vq(
    images: Tensor,
    held_out: Tensor,
    textures: Textures,
    settings: TrainingSettings,
    seed: int,
    sizes: Mapping[str, int],
    device: str = "cpu",
    checkpoint_folder: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> tuple[VqAutoencoder, VqReport]:
    """Train a two-level quantised autoencoder on normal images and unrelated pictures.

    Args:
        images: (N, 3, S, S) uint8 normal images, of one product or of many.
        held_out: (M, 3, S, S) uint8 normal images to measure on; ``images`` where there are none.
        textures: the unrelated pictures, of the same size; patterns are drawn beside them.
        settings: steps, budget, rate, batch, variations.
        seed: of first weights, order, variation and patterns.
        sizes: arguments of ``build_vq``.
        device: where to train.
        checkpoint_folder: see ``training.loop.train``.
        on_progress: called after each step.

    Raises:
        NotEnoughImagesError: no image.
        TrainingDivergedError: the loss is not a number.
        CodebookCollapsedError: a codebook is hardly used.
    """
    with torch.random.fork_rng(devices=[]):  # initial weights follow the seed, and nothing else
        torch.manual_seed(seed)
        network = build_vq(images.shape[-1], **sizes)
    recipe = VqRecipe(network, Simulation(textures=textures.to(device)))
    training = train(
        recipe,
        images,
        images[:0],  # a map of its errors says nothing about its worth: the last average is kept
        settings,
        seed,
        device=device,
        checkpoint_folder=checkpoint_folder,
        on_progress=on_progress,
    )
    network = network.to("cpu")
    report = measure_vq(network, held_out if len(held_out) else images, textures, training)
    check_perplexity("coarse", report.coarse.perplexity, report.coarse.size)
    check_perplexity("fine", report.fine.perplexity, report.fine.size)
    return network, report


def measure_vq(
    network: VqAutoencoder, images: Tensor, textures: Textures, training: TrainingReport
) -> VqReport:
    """Measure an autoencoder on (N, 3, S, S) uint8 normal images; up to 64, spread evenly."""
    places = torch.linspace(0, len(images) - 1, min(len(images), MEASURED_IMAGES))
    normal = images[places.round().long()].float() / 255
    imagery = draw_imagery(len(normal), textures.to("cpu"), Generator().manual_seed(_SEED))
    with torch.inference_mode():
        rebuilt = torch.cat([network.reconstruct(batch) for batch in normal.split(BATCH_SIZE)])
        seen: list[VqOutput] = [
            network(standard_light(batch, like=batch))
            for batch in torch.cat([normal, imagery]).split(BATCH_SIZE)
        ]
    squared = (rebuilt - normal).square().mean((1, 2, 3))  # (N, 3, S, S) -> (N,)
    size = network.coarse_codebook.size
    return VqReport(
        training,
        CodebookUse.of(torch.cat([each.coarse.codes for each in seen]), size),
        CodebookUse.of(torch.cat([each.fine.codes for each in seen]), size),
        float(-10 * squared.clamp_min(1e-10).log10().mean()),
        float(ssim_map(rebuilt, normal).mean()),
    )


def read_vq(file: Path) -> VqAutoencoder:
    """An autoencoder from a file of weights: ours, or those that DSR's authors published.

    Args:
        file: safetensors, or a state dict as torch writes it. No code in it is run: only tensors
            are read.

    Raises:
        ModelFormatError: the file cannot be read, or is no state dict of such an autoencoder.
    """
    try:
        if file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # what is no pickle makes the unpickler raise almost anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelFormatError(
            f"weights must be safetensors or a torch state dict of tensors alone; {file}: {reason}"
        ) from None
    try:
        return vq_of(state)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFormatError(
            f"{file} must hold the weights of a two-level quantised autoencoder: {reason}"
        ) from None


def vq_of(state: Mapping[str, Tensor]) -> VqAutoencoder:
    """An autoencoder of the sizes that a state dict's tensors have, with these weights.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor holds something else than finite numbers.
        RuntimeError: a tensor has another shape or no place.
    """
    if "_encoder_b._conv_1.weight" in state:
        state = _renamed(state)
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} must hold finite numbers")
    width = state["fine_encoder.2.weight"].shape[0]
    codes, code_dim = state["coarse_codebook.sums"].shape
    network = VqAutoencoder(width, code_dim, codes)
    network.load_state_dict(state)
    return network.eval()


def hash_vq(network: VqAutoencoder) -> str:
    """SHA-256 of all its weights and codes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' state dict with our names; their running means are for training only."""
    renamed: dict[str, Tensor] = {}
    for theirs, ours in _PUBLISHED.items():
        found = {name: tensor for name, tensor in state.items() if name.startswith(theirs)}
        renamed |= {name.replace(theirs, ours, 1): tensor for name, tensor in found.items()}
    for theirs, ours in _PUBLISHED_CODES.items():
        codes = state[f"{theirs}_embedding.weight"]
        renamed[f"{ours}sums"] = codes
        renamed[f"{ours}counts"] = torch.ones(len(codes))
        renamed[f"{ours}batches"] = torch.ones(())
    return renamed
