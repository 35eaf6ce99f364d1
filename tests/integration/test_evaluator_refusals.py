"""What MLflow's evaluation with our figures refuses, on a real tracking store."""

from collections.abc import Callable

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from reconad_plugin.errors import ConfigError, InvalidImageError, UndefinedMetricError
from tests.integration.conftest import Evaluate
from tests.labelled import answering


def lacks(*columns: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda answer: answer.drop(columns=list(columns))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda answer: answer["pred_score"], "got Series", id="one column"),
        pytest.param(lacks("anomaly_map"), "the columns pred_score, .*anomaly_map", id="no maps"),
        pytest.param(lambda answer: answer.head(3), "must answer 24 rows", id="too few rows"),
        pytest.param(
            lambda answer: answer.assign(anomaly_map=None), "row 0 has not", id="empty maps"
        ),
        pytest.param(
            lambda answer: answer.assign(pred_label=False), "pred_label must say", id="other labels"
        ),
    ],
)
def test_a_model_of_another_kind_is_refused(
    evaluate: Evaluate,
    data: pd.DataFrame,
    answers: pd.DataFrame,
    change: Callable[[pd.DataFrame], object],
    message: str,
) -> None:
    """What does not answer by the contract is named, and nothing is logged."""
    model = answering(answers)

    with pytest.raises(ConfigError, match=message):
        evaluate(lambda question: change(model(question)), data)


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        pytest.param(
            lambda rows: rows.head(12), {}, UndefinedMetricError, "got 12 and 0", id="normal alone"
        ),
        pytest.param(
            lambda rows: rows.tail(12), {}, UndefinedMetricError, "got 0 and 12", id="defects alone"
        ),
        pytest.param(
            lambda rows: rows.replace({"label": {"hole": 3}}), {}, ConfigError,
            "row 12 has 3", id="another number",
        ),
        pytest.param(
            lambda rows: rows.replace({"label": {"hole": "hole (deep)"}}), {}, MlflowException,
            r"recall/hole \(deep\)", id="no name for a metric",
        ),
        pytest.param(
            lambda rows: rows, {"targets": None}, ConfigError, "no targets", id="no target"
        ),
        pytest.param(
            lambda rows: rows.rename(columns={"image": "picture"}), {}, ConfigError,
            "with the column 'image'; got .*picture", id="no images",
        ),
        pytest.param(
            lambda rows: rows.assign(mask=None), {}, ConfigError,
            "12 have none, the first in row 12", id="no masks",
        ),
        pytest.param(
            lambda rows: rows, {"evaluator_config": {"mask": "masks"}}, ConfigError,
            "with the column 'masks'", id="no such masks",
        ),
        pytest.param(
            lambda rows: rows.assign(mask=rows["image"].iloc[0][:200]), {}, InvalidImageError,
            "mask .*", id="a broken mask",
        ),
        pytest.param(
            lambda rows: rows, {"evaluator_config": {"masks": "mask"}}, ConfigError,
            "mask and metric_prefix; got masks", id="misspelt setting",
        ),
        pytest.param(
            lambda rows: rows, {"custom_artifacts": [print]}, ConfigError,
            "no extra_metrics or custom_artifacts", id="custom artifacts",
        ),
    ],
)  # fmt: skip
def test_wrong_data_is_refused(
    evaluate: Evaluate,
    data: pd.DataFrame,
    answers: pd.DataFrame,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    options: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    """What is missing or wrong is said; no figure is made up for it."""
    with pytest.raises(error, match=message):
        evaluate(answering(answers), change(data), **options)
