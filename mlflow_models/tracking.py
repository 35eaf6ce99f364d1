"""One training as one MLflow run: what it learnt from, how it went, and what came out."""

import fcntl
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Final

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow.data.pandas_dataset import PandasDataset
from mlflow.entities import Run
from mlflow.models.model import ModelInfo

from mlflow_models import flavor, registry, version_tags
from mlflow_models.plugins.manifest_dataset import from_reconad_manifest, is_manifest
from mlflow_models.server import open_client, outage, said_by
from reconad_plugin.detector.detector import Detector
from reconad_plugin.errors import ModelFormatError, PlatformError
from reconad_plugin.ledger.splits import FILLING, TRAIN
from reconad_plugin.training.report import Progress

EXPERIMENT_KIND_TAG: Final = "mlflow.experimentKind"  # which pages MLflow opens first
IMAGES_FILE: Final = "images.csv"
IMAGES_COLUMNS: Final = ["uri", "sha256", "split"]
OBJECT_COLUMNS: Final = ["version_id", "etag"]  # of an image in a bucket, as it was taken in
MODEL_TRAINING: Final = "custom_model_development"


@dataclass(frozen=True)
class TrainingRecord:
    """All of a training that is worth keeping."""

    product: str  # whose model it is
    run_name: str  # as the list of runs shows it
    params: Mapping[str, Any]  # settings, by name
    metrics: Mapping[str, float]  # figures at the end, by name
    curve: list[Progress]  # the loss over the steps
    # address -> table of the images there; the run's dataset inputs
    sources: Mapping[str, pd.DataFrame]
    # `uri`, `sha256` and `split` of every image that it learnt from or was calibrated on, and of
    # those that simulated anomalies were filled from
    images: pd.DataFrame
    figures: Mapping[str, Figure]  # file name -> plot
    tags: Mapping[str, str]  # of the run and of the registered version


def log_training(
    record: TrainingRecord, detector: Detector, engines: Path | None = None
) -> registry.Version:
    """Log a training and register its detector as a new version, with engines from a folder."""
    tags = dict(record.tags)
    return log_run(record, lambda: flavor.log_model(detector, metadata=tags, engines=engines))


def log_run(record: TrainingRecord, log_model: Callable[[], ModelInfo]) -> registry.Version:
    """Log a training and register what ``log_model`` logs to its run as a new version."""
    with _product_run(record.product, record.run_name, record.tags):
        mlflow.log_params(dict(record.params))
        for uri, table in record.sources.items():
            dataset = _dataset(uri, table)
            mlflow.log_input(dataset, context="training")
        mlflow.log_text(_list_images(record.images), IMAGES_FILE)
        info = log_model()
        for point in record.curve:
            values = {"train_loss": point.loss, "elapsed_s": point.elapsed_s}
            others = {"held_out_loss": point.held_out_loss, "separation": point.separation}
            values |= {name: value for name, value in others.items() if value is not None}
            mlflow.log_metrics(values, step=point.step, model_id=info.model_id)
        mlflow.log_metrics(dict(record.metrics), model_id=info.model_id)
        for file_name, figure in record.figures.items():
            mlflow.log_figure(figure, file_name)
        return registry.register(record.product, info, record.tags)


def _dataset(uri: str, table: pd.DataFrame) -> PandasDataset:
    """Make a dataset of a manifest, or of the table of a folder of images."""
    if is_manifest(uri):
        return from_reconad_manifest(uri, table)
    columns = table.astype(dict.fromkeys(table.select_dtypes("int"), "float64"))
    with warnings.catch_warnings():  # of two readers for local folders, both the same
        warnings.filterwarnings("ignore", message="The specified dataset source")
        name = uri.rsplit("/", 1)[-1].removesuffix(".parquet")
        return mlflow.data.from_pandas(columns, source=uri, name=f"manifest-{name}")


def run_of(model_uri: str) -> str:
    """Return the id of the run that trained the version behind a model URI."""
    return str(mlflow.models.get_model_info(model_uri).run_id)


def sources_of(version: registry.Version) -> list[str]:
    """Return the addresses of the manifests that a version was trained on, oldest first."""
    return sources_of_run(open_client().get_run(version.run_id))


def sources_of_run(run: Run) -> list[str]:
    """Return the same of the run that trained it."""
    inputs = run.inputs.dataset_inputs
    return sorted(str(json.loads(each.dataset.source)["uri"]) for each in inputs)


def tags_of(model_uri: str) -> dict[str, str]:
    """Return what was noted of the version behind a model URI when it was trained."""
    return dict(mlflow.models.get_model_info(model_uri).metadata or {})


def read_training_images(model_uri: str) -> pd.DataFrame:
    """Read which images the version behind a model URI learnt from: ``uri``, ``sha256``, ``split``,
    and ``OBJECT_COLUMNS`` where its training noted them.

    Raises:
        ModelFormatError: its training left no such list.
    """
    return images_of_run(run_of(model_uri), model_uri)


def images_of_run(run_id: str, model_uri: str) -> pd.DataFrame:
    """Read the same of the run that trained a version, also where its weights were removed.

    Raises:
        ModelFormatError: it left no such list.
    """
    if IMAGES_FILE not in {file.path for file in open_client().list_artifacts(run_id)}:
        raise ModelFormatError(
            f"a version must have a list of the images that it learnt from; {model_uri} has no "
            f"{IMAGES_FILE}: train it again with this reconad"
        )
    text = mlflow.artifacts.load_text(f"runs:/{run_id}/{IMAGES_FILE}")
    return pd.read_csv(StringIO(text), dtype=str, keep_default_na=False)


def _list_images(images: pd.DataFrame) -> str:
    noted = [name for name in OBJECT_COLUMNS if name in images]
    return str(images[[*IMAGES_COLUMNS, *noted]].to_csv(index=False))


def trained_on(version: registry.Version) -> frozenset[str]:
    """Return the SHA-256 of the images that a version was fitted to; none where it left no list."""
    try:
        images = read_training_images(version.uri)
    except ModelFormatError:
        return frozenset()
    return frozenset(images.loc[images["split"] == TRAIN, "sha256"])


def filled_from(version: registry.Version) -> pd.DataFrame:
    """Return which confirmed defects a version's simulated anomalies were filled from: ``uri``,
    ``sha256`` and ``split``; none where it left no list."""
    try:
        images = read_training_images(version.uri)
    except ModelFormatError:
        images = pd.DataFrame(columns=IMAGES_COLUMNS)
    return images[images["split"] == FILLING]


def log_verdict(
    version: registry.Version, verdict: Mapping[str, Any], figures: Mapping[str, Figure]
) -> None:
    """Add the gate's verdict to the run of the version it is about."""
    client = open_client()
    client.log_dict(version.run_id, verdict, "gate/verdict.json")
    checks = pd.DataFrame(verdict["checks"]).to_csv(index=False)
    client.log_text(version.run_id, checks, "gate/checks.csv")
    for file_name, figure in figures.items():
        client.log_figure(version.run_id, figure, f"gate/{file_name}")


def log_night(
    product: str,
    night: str,
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    figures: Mapping[str, Figure],
    files: Mapping[str, str],
) -> str:
    """Log a night's monitoring as one run: figures by name, plots, and text files; its run id."""
    with _product_run(product, f"night {night}", {version_tags.NIGHT_TAG: night, **tags}) as run:
        mlflow.log_metrics(dict(metrics))
        for file_name, figure in figures.items():
            mlflow.log_figure(figure, file_name)
        for file_name, text in files.items():
            mlflow.log_text(text, file_name)
        return str(run.info.run_id)


def check_ready(product: str) -> None:
    """Open MLflow as a training of a product will at its end: the experiment, a run and its files.

    Processes on one machine take turns, since the first makes the tables of a new database.

    Raises:
        PlatformError: MLflow does not answer, or refuses one of these.
    """
    lock = Path(tempfile.gettempdir()) / f"reconad-mlflow-{os.getuid()}.lock"
    with lock.open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        client = open_client()
        try:
            with _product_run(product, "ready", {}) as run:
                mlflow.log_text("A training may log here.\n", "ready.txt")
            client.delete_run(run.info.run_id)
        except PlatformError:
            raise
        except Exception as error:  # places for files raise almost anything
            raise outage(error) or PlatformError(
                f"a training needs an experiment and a place for files in MLflow; {said_by(error)}"
            ) from error


@contextmanager
def _product_run(product: str, run_name: str, tags: Mapping[str, str]) -> Iterator[Any]:
    os.environ.pop("MLFLOW_RUN_ID", None)  # of another run, which MLflow would go on with
    try:
        experiment = mlflow.set_experiment(f"reconad/{product}")
    except Exception as error:  # such as one that somebody deleted
        raise outage(error) or PlatformError(
            f"a run needs the experiment reconad/{product} in MLflow; {said_by(error)}"
        ) from error
    if experiment.tags.get(EXPERIMENT_KIND_TAG) != MODEL_TRAINING:
        mlflow.set_experiment_tag(EXPERIMENT_KIND_TAG, MODEL_TRAINING)
    with mlflow.start_run(
        experiment_id=experiment.experiment_id, run_name=run_name, tags=dict(tags)
    ) as run:
        yield run
