"""What MLflow's evaluation is given, checked, and what a model answers to it, row by row."""

import logging
from typing import Any, Final

import numpy as np
import pandas as pd
from mlflow.utils.validation import _validate_metric_name
from numpy.typing import NDArray

from reconad_plugin.detector.answer import MAP_COLUMN
from reconad_plugin.errors import ConfigError, UndefinedMetricError
from reconad_plugin.images.folder import NORMAL_LABEL

MODEL_TYPE: Final = "reconad"
IMAGE_COLUMN: Final = "image"
MASK_COLUMN: Final = "mask"
ANSWER_COLUMNS: Final = (
    "pred_score", "pred_label", "image_threshold", "p_value", "anomaly_map", "error",
)  # fmt: skip
BATCH_ROWS: Final = 64  # so that the pictures and maps in memory at once are few

_LABEL_OF_NUMBER: Final = {0: NORMAL_LABEL, 1: "anomalous"}  # False and True find these too
_logger = logging.getLogger(__name__)


def read_labels(targets: Any, prefix: str) -> NDArray[np.object_]:
    """Read (N,) ``good`` or the name of a defect for each row; both must be there."""
    if targets is None:
        raise ConfigError(
            "an evaluation needs labels; got no targets: give targets='label', the name of the "
            f"column with {NORMAL_LABEL!r} or the name of the defect"
        )
    labels = np.array([_read_label(row, value) for row, value in enumerate(targets)], dtype=object)
    normal = int((labels == NORMAL_LABEL).sum())
    if normal in (0, len(labels)):
        raise UndefinedMetricError(
            "an evaluation needs normal and anomalous images; got "
            f"{normal} and {len(labels) - normal}: a row is normal where its target is "
            f"{NORMAL_LABEL!r}, 0 or False"
        )
    for label in set(labels):
        _validate_metric_name(f"{prefix}recall/{label}")  # now, not after an hour of predicting
    return labels


def _read_label(row: int, value: Any) -> str:
    label = value if isinstance(value, str) else _LABEL_OF_NUMBER.get(value)
    if not label:
        raise ConfigError(
            f"a target must be {NORMAL_LABEL!r}, the name of a defect, 0, 1, False or True; "
            f"row {row} has {value!r}"
        )
    return label


def read_column(features: Any, column: str) -> NDArray[np.object_]:
    """Read a column of the data as it is: (N,) objects.

    Raises:
        ConfigError: the data is no DataFrame, or has no such column.
    """
    if not isinstance(features, pd.DataFrame) or column not in features:
        found = list(features) if isinstance(features, pd.DataFrame) else type(features).__name__
        raise ConfigError(f"the data must be a DataFrame with the column {column!r}; got {found}")
    return features[column].to_numpy(dtype=object)


def read_masks(
    features: pd.DataFrame, column: str | None, labels: NDArray[np.object_]
) -> NDArray[np.object_] | None:
    """Read (N,) base64 of masks, undecoded; None where no column is named and there is none."""
    if column is None and MASK_COLUMN not in features:
        return None
    column = column or MASK_COLUMN
    masks = read_column(features, column)
    missing = [
        row
        for row, (mask, label) in enumerate(zip(masks, labels, strict=True))
        if label != NORMAL_LABEL and not isinstance(mask, str)
    ]
    if missing:
        raise ConfigError(
            f"each defect must have its mask as base64 text in the column {column!r}; "
            f"{len(missing)} have none, the first in row {missing[0]}: bring them, or leave the "
            "column out"
        )
    return masks


def predict(model: Any, images: NDArray[np.object_]) -> pd.DataFrame:
    """Return one answer a row, with its map; None where there is nothing."""
    batches: list[pd.DataFrame] = []
    for start in range(0, len(images), BATCH_ROWS):
        question = pd.DataFrame({IMAGE_COLUMN: images[start : start + BATCH_ROWS]})
        answer = model.predict(question, params={MAP_COLUMN: True})
        _check_answer(answer, len(question))
        batches.append(answer[list(ANSWER_COLUMNS)].astype(object))
    answers: pd.DataFrame = pd.concat(batches, ignore_index=True)
    return answers.where(answers.notna(), None)  # a served answer has NaN where ours has None


def _check_answer(answer: Any, rows: int) -> None:
    found = type(answer).__name__
    if isinstance(answer, pd.DataFrame):
        if set(ANSWER_COLUMNS) <= set(answer) and len(answer) == rows:
            return
        found = f"{len(answer)} rows with {', '.join(map(str, answer))}"
    raise ConfigError(
        f"a model of type {MODEL_TYPE!r} must answer {rows} rows with a table of as many and the "
        f"columns {', '.join(ANSWER_COLUMNS)}; got {found}: evaluate it with another evaluator"
    )


def judge_rows(answers: pd.DataFrame, labels: NDArray[np.object_]) -> pd.DataFrame:
    """Build one row an image: what it is, what the model says, and whether that is a mistake."""
    is_read = answers["error"].isna()
    needed = answers[["pred_score", "image_threshold", "anomaly_map"]]
    incomplete = is_read & needed.isna().any(axis=1)
    if incomplete.any():
        raise ConfigError(
            "a row without error must have pred_score, image_threshold and, asked with the "
            f"parameter {MAP_COLUMN}, anomaly_map; row {incomplete.idxmax()} has not"
        )
    score, threshold = answers["pred_score"].astype(float), answers["image_threshold"].astype(float)
    is_above = score > threshold  # False where there is no score
    if not (answers["pred_label"] == is_above)[is_read].all():
        raise ConfigError(
            "pred_label must say whether pred_score is above image_threshold; this model's does not"
        )
    if not is_read.all():
        errors = answers["error"].dropna()
        _logger.warning(
            "%d of %d rows have an error and are left out of all figures; the first is row %d: %s",
            *(len(errors), len(answers), errors.index[0], errors.iloc[0]),
        )
    is_normal = labels == NORMAL_LABEL
    return pd.DataFrame(
        {
            "row": answers.index,
            "label": labels,
            "pred_score": score,
            "pred_label": answers["pred_label"],
            "image_threshold": threshold,
            "p_value": answers["p_value"].astype(float),
            "is_miss": is_read & ~is_above & ~is_normal,
            "is_false_alarm": is_above & is_normal,
            "error": answers["error"],
        }
    )
