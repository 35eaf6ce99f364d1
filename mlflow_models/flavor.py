"""The MLflow flavor of a detector: save, log, load, and serve as a pyfunc.

``loader_module`` in saved models names this module for ever: it must not move.
"""

import re
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pandas as pd
import yaml
from mlflow import pyfunc
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME, ModelInfo
from mlflow.models.utils import _save_example
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME
from mlflow.tracking.artifact_utils import _download_artifact_from_uri
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.utils import environment as env
from mlflow.utils.model_utils import _validate_and_prepare_target_save_path

from mlflow_models.own_wheel import NAME
from mlflow_models.requirements import write_requirements
from mlflow_models.server import open_client, outage, said_by
from mlflow_models.serving.pyfunc import (
    IMAGE_COLUMN,
    OVERLAY_COLUMN,
    REFERENCE_COLUMN,
    REGIONS_PARAMETERS,
    THRESHOLD_PARAMETER,
    DetectorPyfunc,
)
from mlflow_models.serving.start import Origin, serve
from mlflow_models.serving.version import ServedVersion
from mlflow_models.version_names import check_weights, version_at
from reconad_plugin.detector.answer import CONTEXT_COLUMN, MAP_COLUMN
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.engine_files import needs_torch
from reconad_plugin.detector.persistence import load_detector, save_detector
from reconad_plugin.errors import DISK_ERRORS, ConfigError, ModelFormatError
from reconad_plugin.images.names import as_text
from reconad_plugin.ledger.threshold_setting import in_force

FLAVOR_NAME: Final = "reconad"
DATA_FOLDER: Final = "detector"
_OF_MLFLOW: Final = re.compile(r"(models|runs):/+[^/]|mlflow-artifacts:.")  # URIs

_TEXT: Final = DataType.string
SIGNATURE: Final = ModelSignature(
    inputs=Schema(
        [
            ColSpec(_TEXT, IMAGE_COLUMN),
            ColSpec(_TEXT, CONTEXT_COLUMN, required=False),
            ColSpec(_TEXT, REFERENCE_COLUMN, required=False),
        ]
    ),
    outputs=Schema(
        [
            ColSpec(DataType.double, "pred_score", required=False),
            ColSpec(DataType.boolean, "pred_label", required=False),
            ColSpec(DataType.double, "image_threshold"),
            ColSpec(DataType.double, "p_value", required=False),
            ColSpec(_TEXT, "anomaly_map", required=False),
            ColSpec(_TEXT, "model_version"),
            ColSpec(_TEXT, "error", required=False),
            ColSpec(_TEXT, CONTEXT_COLUMN, required=False),  # of a version that has contexts
            ColSpec(_TEXT, REFERENCE_COLUMN, required=False),  # where the request has it
            ColSpec(_TEXT, OVERLAY_COLUMN, required=False),  # where it is asked for
        ]
    ),
    params=ParamSchema(
        [
            ParamSpec(MAP_COLUMN, DataType.boolean, default=False),
            *(ParamSpec(name, DataType.boolean, default=False) for name in REGIONS_PARAMETERS),
            ParamSpec(OVERLAY_COLUMN, DataType.boolean, default=False),
            ParamSpec(THRESHOLD_PARAMETER, DataType.double, default=0.0),
        ]
    ),
)


def save_model(
    detector: Detector,
    path: str,
    mlflow_model: Model | None = None,
    input_example: pd.DataFrame | None = None,
    pip_requirements: list[str] | None = None,
    metadata: dict[str, Any] | None = None,
    engines: Path | None = None,
) -> None:
    """Save a detector as an MLflow model: safetensors and JSON, no pickle.

    Args:
        detector: the model.
        path: a folder that does not exist yet or is empty.
        mlflow_model: the description to fill in; MLflow passes it when logging.
        input_example: rows with the ``image`` column.
        pip_requirements: what serving installs; by default reconad alone, whose wheel is then in
            the model; see ``requirements.py``.
        metadata: free entries of the model's description.
        engines: a folder with engines of it, from ``engine_export.export_engine``.
    """
    _validate_and_prepare_target_save_path(path)
    folder = Path(path)
    save_detector(detector, folder / DATA_FOLDER)
    if engines is not None:
        shutil.copytree(engines, folder / DATA_FOLDER, dirs_exist_ok=True)
    mlflow_model = mlflow_model or Model()
    mlflow_model.signature = SIGNATURE
    if metadata is not None:
        mlflow_model.metadata = metadata
    if input_example is not None:
        _save_example(mlflow_model, input_example, path)
    pyfunc.add_to_model(
        mlflow_model,
        loader_module=__name__,
        data=DATA_FOLDER,
        conda_env=env._CONDA_ENV_FILE_NAME,
        python_env=env._PYTHON_ENV_FILE_NAME,
    )
    mlflow_model.add_flavor(
        FLAVOR_NAME,
        reconad_version=version(NAME),
        model=detector.model,
        image_size_px=detector.image_size_px.setting,
        data=DATA_FOLDER,
    )
    write_requirements(folder, pip_requirements, needs_torch(folder / DATA_FOLDER))
    mlflow_model.model_size_bytes = sum(
        file.stat().st_size for file in folder.rglob("*") if file.is_file()
    )
    mlflow_model.save(str(folder / MLMODEL_FILE_NAME))


def log_model(detector: Detector, **log_options: Any) -> ModelInfo:
    """Log a detector to the active run.

    ``log_options`` are those of ``mlflow.models.Model.log`` and ``save_model``, such as
    ``registered_model_name``, ``input_example`` and ``metadata``.
    """
    this_module = sys.modules[__name__]
    return Model.log(None, this_module, name="model", detector=detector, **log_options)


def load_model(model_uri: str, engine: str | None = None) -> Detector:
    """Load the detector behind ``models:/reconad-<product>@champion`` or any model URI, as it
    serves: with the threshold that a person set on the version, where one did.

    ``engine`` says what scores in it; see ``persistence.load_detector``.

    Raises:
        ConfigError: there is no such model.
        ModelFormatError: it is no model of ours, or broken.
    """
    found = version_at(model_uri)
    if found is None:
        return load_calibrated(model_uri, engine)
    threshold = in_force(check_weights(found).thresholds)
    calibrated = load_calibrated(found.uri, engine)
    return calibrated if threshold is None else calibrated.held_against(threshold)


def load_calibrated(model_uri: str, engine: str | None = None) -> Detector:
    """Load a detector with the thresholds that were calibrated; see ``load_model``."""
    with tempfile.TemporaryDirectory() as folder:
        path = download_model(model_uri, folder) / DATA_FOLDER
        if not path.is_dir():
            raise ModelFormatError(
                f"a model URI must lead to a detector of reconad, with a folder {DATA_FOLDER}; "
                f"{model_uri} has none: give that of a reconad-<product>"
            )
        return load_detector(path, engine)


def download_model(model_uri: str, folder: str) -> Path:
    """Fetch the files behind a model URI; return where they are, in ``folder`` or where they were.

    Raises:
        ConfigError: there is no such model.
        PlatformError: MLflow does not answer, or its address is wrong.
    """
    asks_mlflow = _OF_MLFLOW.match(model_uri) is not None
    if asks_mlflow:
        open_client()
    try:
        if not model_uri or as_text(model_uri) != model_uri:
            raise ConfigError("it is empty, or no text")
        return Path(_download_artifact_from_uri(model_uri, folder))
    except Exception as error:  # the stores behind addresses raise almost anything
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        if asks_mlflow and (down := outage(error)) is not None:
            raise down from None
        raise ConfigError(
            "a model URI must lead to a model, such as models:/reconad-screw/3; got "
            f"{model_uri!r}: {said_by(error)}"
        ) from None


def _load_pyfunc(path: str) -> DetectorPyfunc:
    """Load the folder of a saved detector for ``mlflow.pyfunc.load_model``, which calls this."""
    model = Path(path).parent
    name, _ = _registered(model)
    signature = Model.load(str(model)).signature
    columns = tuple((signature or SIGNATURE).inputs.input_names())
    return serve(model, Origin(name, columns, _load_version, download_model))


def _load_version(model: Path) -> ServedVersion:
    """Read a version from the folder of its model."""
    return ServedVersion(load_detector(model / DATA_FOLDER), _registered(model)[1])


def _registered(model_folder: Path) -> tuple[str | None, str]:
    """Return name and version that MLflow notes beside a model downloaded from the registry."""
    note = model_folder / REGISTERED_MODEL_META_FILE_NAME
    if not note.exists():
        return None, "unregistered"
    noted = yaml.safe_load(note.read_text(encoding="utf-8"))
    return str(noted["model_name"]), str(noted["model_version"])
