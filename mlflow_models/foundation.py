"""Autoencoders that DSR stands on, as registered models ``reconad-vq-<name>`` of their own."""

import json
import re
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
from reconad_plugin.config import VQ_PREFIX, check_product_name
from reconad_plugin.errors import ConfigError, ModelFormatError
from reconad_plugin.networks.vq import VqAutoencoder
from reconad_plugin.training.pretrain import hash_vq, read_vq

FLAVOR_NAME: Final = "reconad_vq"
FORMAT_VERSION: Final = 1
WEIGHTS_FILE: Final = "vq.safetensors"
DESCRIPTION_FILE: Final = "vq.json"

VQ_URI_TAG: Final = "reconad.vq_uri"  # of a DSR version: the version or file that it stands on
VQ_HASH_TAG: Final = "reconad.vq_sha256"  # of its weights; see training.pretrain.hash_vq


@dataclass(frozen=True)
class Vq:
    """An autoencoder and where it came from.

    Attributes:
        uri: ``models:/reconad-vq-<name>/<number>``, or the path of a file.
        sha256: of its weights.
        network: in eval mode.
    """

    uri: str
    sha256: str
    network: VqAutoencoder

    @property
    def tags(self) -> dict[str, str]:
        """What a version that stands on it says of it."""
        return {VQ_URI_TAG: self.uri, VQ_HASH_TAG: self.sha256}


def vq_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Of a version's tags those that say what it stands on; none where it stands on its own."""
    return {name: tags[name] for name in (VQ_URI_TAG, VQ_HASH_TAG) if name in tags}


def registered_name(name: str) -> str:
    """Under which name the registry keeps the versions of an autoencoder, as if of a product.

    Raises:
        ConfigError: the name cannot name anything.
    """
    return f"{VQ_PREFIX}{check_product_name(name)}"


def find_vq(named: str) -> Vq:
    """An autoencoder by what a person calls it.

    Args:
        named: the name it was pretrained under, for the newest version; a model URI; or the path
            of a file, with a dot or a slash in it.

    Raises:
        ConfigError: there is none.
        ModelFormatError: it is something else.
    """
    if named.startswith("models:/"):
        return _load_vq(named)
    if re.search(r"[./]", named):
        network = read_vq(Path(named))
        return Vq(str(Path(named).resolve()), hash_vq(network), network)
    versions = registry.versions(registered_name(named))
    if not versions:
        raise ConfigError(
            f"vq must be a name that was pretrained, a model URI or a file; {named!r} is not "
            f"registered: reconad pretrain-vq --name {named}"
        )
    return _load_vq(versions[-1].uri)


def log_vq(record: TrainingRecord, network: VqAutoencoder) -> registry.Version:
    """Log a pretraining and register its autoencoder as a new version."""
    import mlflow_models.foundation as this_module

    return log_run(
        record,
        lambda: Model.log(
            artifact_path=None,
            name="vq",
            flavor=this_module,
            network=network,
            metadata=dict(record.tags),
        ),
    )


def save_model(network: VqAutoencoder, path: str, mlflow_model: Model | None = None) -> None:
    """Save an autoencoder as an MLflow model: safetensors and JSON, no pickle.

    Args:
        network: the model.
        path: a folder that does not exist yet or is empty.
        mlflow_model: the description to fill in; MLflow passes it when logging.
    """
    _validate_and_prepare_target_save_path(path)
    folder = Path(path)
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    description = {
        "format_version": FORMAT_VERSION,
        "sizes": network.sizes,
        "sha256": hash_vq(network),
    }
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description, indent=2), encoding="utf-8")
    mlflow_model = mlflow_model or Model()
    mlflow_model.add_flavor(FLAVOR_NAME, reconad_version=version("reconad"), **network.sizes)
    mlflow_model.save(str(folder / MLMODEL_FILE_NAME))


def _load_vq(uri: str) -> Vq:
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
        network = read_vq(path / WEIGHTS_FILE)
    if hash_vq(network) != sha256:
        raise ModelFormatError(
            f"the weights of {uri} must have the SHA-256 that was noted with them; they were "
            "changed since: pretrain again"
        )
    return Vq(uri, sha256, network)
