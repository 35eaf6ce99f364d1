"""One training as one MLflow run: what it learnt from, how it went, and what came out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient

from mlflow_models import flavor, registry
from reconad_plugin.scoring import Detector
from reconad_plugin.training.loop import Progress

EXPERIMENT_KIND_TAG: Final = "mlflow.experimentKind"  # which pages MLflow opens first
MODEL_TRAINING: Final = "custom_model_development"


@dataclass(frozen=True)
class TrainingRecord:
    """All of a training that is worth keeping.

    Attributes:
        product: whose model it is.
        run_name: as the list of runs shows it.
        params: settings, by name.
        metrics: figures at the end, by name.
        curve: the loss over the steps.
        manifests: address in S3 -> the night's manifest; the run's dataset inputs.
        figures: file name -> plot.
        tags: of the run and of the registered version.
    """

    product: str
    run_name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    curve: list[Progress]
    manifests: Mapping[str, pd.DataFrame]
    figures: Mapping[str, Figure]
    tags: Mapping[str, str]


def log_training(record: TrainingRecord, detector: Detector) -> registry.Version:
    """Log a training and register its detector as a new version."""
    with _product_run(record.product, record.run_name, record.tags):
        mlflow.log_params(dict(record.params))
        for uri, manifest in record.manifests.items():
            name = uri.rsplit("/", 1)[-1].removesuffix(".parquet")
            columns = manifest.astype(dict.fromkeys(manifest.select_dtypes("int"), "float64"))
            dataset = mlflow.data.from_pandas(columns, source=uri, name=f"manifest-{name}")
            mlflow.log_input(dataset, context="training")
        info = flavor.log_model(detector, metadata=dict(record.tags))
        for point in record.curve:
            values = {"train_loss": point.loss, "elapsed_s": point.elapsed_s}
            if point.held_out_loss is not None:
                values["held_out_loss"] = point.held_out_loss
            mlflow.log_metrics(values, step=point.step, model_id=info.model_id)
        mlflow.log_metrics(dict(record.metrics), model_id=info.model_id)
        for file_name, figure in record.figures.items():
            mlflow.log_figure(figure, file_name)
        return registry.register(record.product, info, record.tags)


def log_verdict(
    version: registry.Version, verdict: dict[str, Any], figures: Mapping[str, Figure]
) -> None:
    """Add the gate's verdict to the run of the version it is about."""
    client = MlflowClient()
    client.log_dict(version.run_id, verdict, "gate/verdict.json")
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
    """One run for a night's monitoring: figures by name, plots, and text files. Its run id."""
    with _product_run(product, f"night {night}", {"reconad.night": night, **tags}) as run:
        mlflow.log_metrics(dict(metrics))
        for file_name, figure in figures.items():
            mlflow.log_figure(figure, file_name)
        for file_name, text in files.items():
            mlflow.log_text(text, file_name)
        return str(run.info.run_id)


@contextmanager
def _product_run(product: str, run_name: str, tags: Mapping[str, str]) -> Iterator[Any]:
    experiment = mlflow.set_experiment(f"reconad/{product}")
    if experiment.tags.get(EXPERIMENT_KIND_TAG) != MODEL_TRAINING:
        mlflow.set_experiment_tag(EXPERIMENT_KIND_TAG, MODEL_TRAINING)
    with mlflow.start_run(
        experiment_id=experiment.experiment_id, run_name=run_name, tags=dict(tags)
    ) as run:
        yield run
