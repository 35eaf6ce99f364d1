"""The network that a training starts from."""

from collections.abc import Mapping
from copy import deepcopy

import torch

from reconad_plugin.config.product import ProductSettings
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.torch_engine import network_of
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.base import AnomalyNetwork, FoundationNetwork
from reconad_plugin.networks.registry import Option, backbone_of, model_spec


def initial_architecture(
    product: ProductSettings, base: Detector | None, foundation: FoundationNetwork | None
) -> dict[str, Option]:
    """Return all arguments of the network's builder but the size; those of a base and of a
    foundation hold."""
    spec = model_spec(product.model)
    sizes = spec.foundation.sizes if spec.foundation else {}
    architecture = spec.architecture(
        product.width, product.options, base.architecture if base else None
    )
    backbone = backbone_of(product.features) or (base.architecture.get("backbone") if base else "")
    if spec.pretrained and backbone:
        architecture["backbone"] = backbone
    for ours, theirs in sizes.items():
        if base is not None and ours in base.architecture:
            architecture[ours] = base.architecture[ours]
        elif foundation is not None:
            architecture[ours] = foundation.sizes[theirs]
    return architecture


def initial_network(
    product: ProductSettings,
    architecture: dict[str, Option],
    base: Detector | None,
    foundation: FoundationNetwork | None,
) -> AnomalyNetwork:
    """Build a network with the weights that its training starts from: a base's, or else random ones
    by the product's seed, in which a foundation's or pretrained ones may stand.

    Raises:
        ConfigError: the base is another model, or of another size.
    """
    if base is not None:
        its = None if base.witness is None else base.witness.detector.model
        started = (base.model, base.network_size_px, base.architecture, its)
        wished = (product.model, product.image_size, architecture, product.witness)
        if started != wished or (base.windows is None) == product.windows:
            raise ConfigError(
                "fine-tuning needs the model, image size and width of the version it starts from, "
                f"{_describe_network(*started)}{_in_windows(base.windows is not None)}; the "
                f"settings say {_describe_network(*wished)}{_in_windows(product.windows)}: train "
                "from scratch"
            )
        return deepcopy(network_of(base))
    spec = model_spec(product.model)
    with torch.random.fork_rng(devices=[]):  # initial weights follow the seed, and nothing else
        torch.manual_seed(product.seed)
        network = spec.build_network(product.image_size, **architecture)
    spec.load_pretrained(network, product.features)
    if foundation is not None and spec.foundation is not None:
        network.get_submodule(spec.foundation.part).load_state_dict(foundation.state_dict())
    return network


def _describe_network(
    model: str, size: ImageSize, architecture: Mapping[str, Option], witness: str | None
) -> str:
    sizes = ", ".join(f"{name}={value}" for name, value in architecture.items())
    beside = f" with {witness} as its witness" if witness else ""
    return f"{model} at {size.setting} px ({sizes}){beside}"


def _in_windows(has_windows: bool) -> str:
    return " in windows" if has_windows else ""
