"""Foundations, which other networks stand on, as registered models ``reconad-vq-<name>``."""

import json
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.utils.model_utils import _validate_and_prepare_target_save_path
from safetensors.torch import save_file

from mlflow_models import registry
from mlflow_models.flavor import download_model
from mlflow_models.tracking import TrainingRecord, log_run
from reconad_plugin.config.names import FOUNDATION_PREFIX, check_product_name
from reconad_plugin.errors import ConfigError, ModelFormatError
from reconad_plugin.networks.base import FoundationNetwork, hash_weights
from reconad_plugin.networks.registry import FoundationSpec

FLAVOR_NAME: Final = "reconad_vq"
FORMAT_VERSION: Final = 1
WEIGHTS_FILE: Final = "vq.safetensors"
DESCRIPTION_FILE: Final = "vq.json"

URI_TAG: Final = "reconad.vq_uri"  # of a version: the version or file that it stands on
HASH_TAG: Final = "reconad.vq_sha256"  # of its weights


@dataclass(frozen=True)
class Foundation:
    """A network that others stand on, and where it came from."""

    uri: str  # `models:/reconad-vq-<name>/<number>`, or the path of a file
    sha256: str  # of its weights
    network: FoundationNetwork  # in eval mode

    @property
    def tags(self) -> dict[str, str]:
        """What a version that stands on it says of it."""
        return {URI_TAG: self.uri, HASH_TAG: self.sha256}


def weights_tag(network: FoundationNetwork) -> dict[str, str]:
    """Return what a foundation's own version says of its weights."""
    return {HASH_TAG: hash_weights(network)}


def foundation_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a version that say what it stands on; none where that is its own."""
    return {name: tags[name] for name in (URI_TAG, HASH_TAG) if name in tags}


def registered_name(name: str) -> str:
    """Return the name that the registry keeps a foundation's versions under, as if of a product.

    Raises:
        ConfigError: the name cannot name anything.
    """
    return f"{FOUNDATION_PREFIX}{check_product_name(name)}"


def find_foundation(named: str, spec: FoundationSpec) -> Foundation:
    """Find a foundation, for the model that is to stand on it, by what a person calls it: the name
    it was pretrained under, for the newest version; a model URI; or the path of a file, with a dot
    or a slash in it.

    Raises:
        ConfigError: there is none.
        ModelFormatError: it is something else.
    """
    if named.startswith("models:/"):
        return _load(named, spec)
    if re.search(r"[./]", named):
        network = spec.read(Path(named))
        return Foundation(str(Path(named).resolve()), hash_weights(network), network)
    versions = registry.versions(registered_name(named))
    if not versions:
        raise ConfigError(
            f"vq must be a name that was pretrained, a model URI or a file; {named!r} is not "
            f"registered: reconad pretrain-vq --name {named}"
        )
    return _load(versions[-1].uri, spec)


def log_foundation(record: TrainingRecord, network: FoundationNetwork) -> registry.Version:
    """Log a pretraining and register what came of it as a new version."""
    this_module, about = sys.modules[__name__], dict(record.tags)
    return log_run(
        record, lambda: Model.log(None, this_module, name="vq", network=network, metadata=about)
    )


def save_model(network: FoundationNetwork, path: str, mlflow_model: Model | None = None) -> None:
    """Save a foundation as an MLflow model: safetensors and JSON, no pickle; see ``flavor``."""
    _validate_and_prepare_target_save_path(path)
    folder = Path(path)
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    description = {
        "format_version": FORMAT_VERSION,
        "sizes": network.sizes,
        "sha256": hash_weights(network),
    }
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description, indent=2), encoding="utf-8")
    mlflow_model = mlflow_model or Model()
    mlflow_model.add_flavor(FLAVOR_NAME, reconad_version=version("reconad"), **network.sizes)
    mlflow_model.save(str(folder / MLMODEL_FILE_NAME))


def _load(uri: str, spec: FoundationSpec) -> Foundation:
    with tempfile.TemporaryDirectory() as folder:
        path = download_model(uri, folder)
        try:
            description = json.loads((path / DESCRIPTION_FILE).read_text(encoding="utf-8"))
            found, sha256 = description["format_version"], description["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            raise ModelFormatError(
                f"DSR stands on an autoencoder of reconad pretrain-vq; {uri} is another model: "
                "give the URI of a reconad-vq-<name>"
            ) from None
        if found != FORMAT_VERSION:
            raise ModelFormatError(
                f"this reconad reads format {FORMAT_VERSION}; {uri} has {found!r}: "
                "load it with the reconad that wrote it"
            )
        network = spec.read(path / WEIGHTS_FILE)
    if hash_weights(network) != sha256:
        raise ModelFormatError(
            f"the weights of {uri} must have the SHA-256 that was noted with them; they were "
            "changed since: pretrain again"
        )
    return Foundation(uri, sha256, network)
