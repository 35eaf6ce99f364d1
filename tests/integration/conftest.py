"""Shared by the evaluator's tests: an experiment to evaluate in, labelled rows and answers."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

import mlflow
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.models import EvaluationResult
from PIL import Image

from tests.conftest import NewStore
from tests.labelled import answers_for, labelled_rows

Evaluate = Callable[..., EvaluationResult]


def save_blank(figure: Figure, buffer: BinaryIO, **_: object) -> None:
    """Write a picture of one pixel in place of a figure."""
    Image.new("RGB", (1, 1)).save(buffer, format="PNG")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory, new_store: NewStore) -> Iterator[str]:
    """An experiment in a tracking store of its own."""
    folder = tmp_path_factory.mktemp("tracking")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", new_store(folder))
        artifacts = (folder / "artifacts").as_uri()
        yield MlflowClient().create_experiment("evaluation", artifact_location=artifacts)


@pytest.fixture(scope="module")
def evaluate(experiment: str) -> Evaluate:
    """Evaluates a model in a run of its own; drawing its figures takes most of the time, so they
    are blank unless a test looks at them."""

    def run(
        model: object, data: pd.DataFrame, is_drawn: bool = False, **options: object
    ) -> EvaluationResult:
        options = {"targets": "label", "evaluators": "reconad", **options}
        with mlflow.start_run(experiment_id=experiment), pytest.MonkeyPatch.context() as patch:
            if not is_drawn:
                patch.setattr(Figure, "savefig", save_blank)
            return mlflow.models.evaluate(model, data, model_type="reconad", **options)

    return run


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return labelled_rows()


@pytest.fixture(scope="module")
def answers(data: pd.DataFrame) -> pd.DataFrame:
    """Of a model that makes both kinds of mistakes."""
    return answers_for(data, seed=1, quality=0.12)
