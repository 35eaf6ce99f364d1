"""Weights of the first stage of DSR from a file: ours, or those that DSR's authors published."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file
from torch import Tensor

from reconad_plugin.errors import ModelFormatError
from reconad_plugin.networks.vq import VqAutoencoder

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


def read_vq(file: Path) -> VqAutoencoder:
    """Read an autoencoder from a file of weights: ours, or those that DSR's authors published.

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
    """Build an autoencoder of the sizes that a state dict's tensors have, with these weights.

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


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the authors' state dict with our names; their running means are for training only."""
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
