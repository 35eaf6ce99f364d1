"""MLflow's evaluation of a detector: ``mlflow.models.evaluate(..., evaluators="reconad")``.

MLflow finds the evaluator by the entry point ``mlflow.model_evaluator``.
"""

import base64
import io
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mlflow.models.evaluation.artifacts import CsvEvaluationArtifact, ImageEvaluationArtifact
from mlflow.models.evaluation.base import EvaluationResult, ModelEvaluator
from mlflow.utils.validation import _validate_metric_name
from numpy.typing import NDArray
from PIL import Image

from mlflow_models.flavor import MAP_PARAMETER
from reconad_plugin.errors import ConfigError, InvalidImageError, UndefinedMetricError
from reconad_plugin.evaluation import AUPRO_FPR_LIMIT
from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.folder import NORMAL_LABEL, ImageFile, load_masks
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.metrics import (
    escape_rate,
    image_ap,
    image_auroc,
    image_f1,
    image_f1_best,
    share_above,
)
from reconad_plugin.pixel_metrics import PixelCurves
from reconad_plugin.plots_evaluation import (
    WHITE,
    Example,
    plot_examples,
    plot_labelled_scores,
    plot_precision_recall,
    plot_roc,
)
from reconad_plugin.prediction import MAP_FULL_SCALE

MODEL_TYPE: Final = "reconad"
IMAGE_COLUMN: Final = "image"
MASK_COLUMN: Final = "mask"
CONFIG_KEYS: Final = ("mask", "metric_prefix")
ANSWER_COLUMNS: Final = (
    "pred_score",
    "pred_label",
    "image_threshold",
    "p_value",
    "anomaly_map",
    "error",
)
BATCH_ROWS: Final = 64  # so that the pictures and maps in memory at once are few
MAX_EXAMPLES: Final = 8
EXAMPLE_SIDE_PX: Final = 256
FIGURE_DPI: Final = 120
WHITE_SHARE_LIMIT: Final = 0.01

_LABEL_OF_NUMBER: Final = {0: NORMAL_LABEL, 1: "anomalous"}  # False and True find these too
_ANY_SIZE: Final = ImageLimits(max_pixels=sys.maxsize, min_side_px=1)  # the model had its own say
_logger = logging.getLogger(__name__)


class ReconadEvaluator(ModelEvaluator):
    """Figures and plots for any model that answers with the columns of ``Prediction``.

    The data is a table with the column ``image``, base64 of a picture file each, and a target:
    ``good`` or the name of the defect, or 0 and 1. Pixel figures come where it also has each
    defect's mask, base64 of a picture as ``load_masks`` reads it; masks of normal rows are not
    read. They are of the served maps, which have 256 greys and are white from twice the
    threshold on.

    ``evaluator_config`` takes ``mask``, the name of the column of masks, and ``metric_prefix``,
    which stands before the names of metrics and files as it does in MLflow's own evaluators.
    """

    @classmethod
    def can_evaluate(
        cls, *, model_type: str | None, evaluator_config: dict[str, Any], **_: Any
    ) -> bool:
        """Whether the model type is ``reconad``."""
        return model_type == MODEL_TYPE

    def evaluate(
        self,
        *,
        model_type: str,
        dataset: Any,
        run_id: str,
        evaluator_config: dict[str, Any],
        model: Any = None,
        extra_metrics: Any = None,
        custom_artifacts: Any = None,
        model_id: str | None = None,
        **_: Any,
    ) -> EvaluationResult:
        """Predict every row; log figures, plots and a table of the rows to the active run.

        Raises:
            ConfigError: arguments, data or the model's answers break their rule.
            InvalidImageError: a mask cannot be read, or marks no pixel.
            UndefinedMetricError: there is no normal or no anomalous row.
        """
        if model is None or extra_metrics or custom_artifacts:
            raise ConfigError(
                "the evaluator reconad takes a model, and no extra_metrics or custom_artifacts: "
                "give a model URI, and ask another evaluator for the others"
            )
        prefix, mask_column = _read_config(evaluator_config)
        labels = _read_labels(dataset.labels_data, prefix)
        images = _read_column(dataset.features_data, IMAGE_COLUMN)
        masks = _read_masks(dataset.features_data, mask_column, labels)

        answers = _predict(model, images)
        rows = _judge_rows(answers, labels)
        is_read = rows["error"].isna()
        metrics = {"errors": float((~is_read).sum()), **_image_figures(rows[is_read])}
        if masks is not None:
            metrics |= _pixel_figures(rows[is_read], answers["anomaly_map"], masks)
        figures = _plot_rankings(rows[is_read]) | _plot_mistakes(rows, images, answers)

        metrics = {f"{prefix}{name}": value for name, value in metrics.items()}
        if model_id is None:  # else MLflow logs them itself, with the model and the data
            mlflow.log_metrics(metrics)
        artifacts = {
            name: _log_figure(figure, f"{prefix}{name}.png") for name, figure in figures.items()
        }
        artifacts["rows"] = _log_table(rows, f"{prefix}rows.csv")
        return EvaluationResult(metrics=metrics, artifacts=artifacts, run_id=run_id)


def _read_config(config: dict[str, Any]) -> tuple[str, str | None]:
    """The prefix of names, and the column of masks if one is named."""
    unknown = sorted(set(config) - set(CONFIG_KEYS))
    if unknown:
        raise ConfigError(
            f"evaluator_config may hold {' and '.join(CONFIG_KEYS)}; got {', '.join(unknown)}"
        )
    return config.get("metric_prefix", ""), config.get("mask")


def _read_labels(targets: Any, prefix: str) -> NDArray[np.object_]:
    """(N,) ``good`` or the name of a defect for each row; both must be there."""
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


def _read_column(features: Any, column: str) -> NDArray[np.object_]:
    if not isinstance(features, pd.DataFrame) or column not in features:
        found = list(features) if isinstance(features, pd.DataFrame) else type(features).__name__
        raise ConfigError(f"the data must be a DataFrame with the column {column!r}; got {found}")
    return features[column].to_numpy(dtype=object)


def _read_masks(
    features: pd.DataFrame, column: str | None, labels: NDArray[np.object_]
) -> NDArray[np.object_] | None:
    """(N,) base64 of masks, undecoded; None where no column is named and there is none."""
    if column is None and MASK_COLUMN not in features:
        return None
    column = column or MASK_COLUMN
    masks = _read_column(features, column)
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


def _predict(model: Any, images: NDArray[np.object_]) -> pd.DataFrame:
    """One answer a row, with its map; None where there is nothing."""
    batches = []
    for start in range(0, len(images), BATCH_ROWS):
        question = pd.DataFrame({IMAGE_COLUMN: images[start : start + BATCH_ROWS]})
        answer = model.predict(question, params={MAP_PARAMETER: True})
        _check_answer(answer, len(question))
        batches.append(answer[list(ANSWER_COLUMNS)].astype(object))
    answers: pd.DataFrame = pd.concat(batches, ignore_index=True)
    # a served answer has NaN where ours has None
    with_none: pd.DataFrame = answers.where(answers.notna(), None)
    return with_none


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


def _judge_rows(answers: pd.DataFrame, labels: NDArray[np.object_]) -> pd.DataFrame:
    """A row an image: what it is, what the model says, and whether that is a mistake."""
    is_read = answers["error"].isna()
    needed = answers[["pred_score", "image_threshold", "anomaly_map"]]
    incomplete = is_read & needed.isna().any(axis=1)
    if incomplete.any():
        raise ConfigError(
            "a row without error must have pred_score, image_threshold and, asked with the "
            f"parameter {MAP_PARAMETER}, anomaly_map; row {incomplete.idxmax()} has not"
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


def _by_label(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The normal and the anomalous rows."""
    is_normal = rows["label"] == NORMAL_LABEL
    return rows[is_normal], rows[~is_normal]


def _scores(rows: pd.DataFrame) -> NDArray[np.float64]:
    return rows["pred_score"].to_numpy()


def _excess(rows: pd.DataFrame) -> NDArray[np.float64]:
    """How far the scores are above their thresholds, which need not be one for all rows."""
    return (rows["pred_score"] - rows["image_threshold"]).to_numpy()


def _image_figures(rows: pd.DataFrame) -> dict[str, float]:
    normal, anomalous = _by_label(rows)
    scores = _scores(normal), _scores(anomalous)
    normal_excess, anomalous_excess = _excess(normal), _excess(anomalous)
    figures = {
        "image_AUROC": image_auroc(*scores),
        "image_AP": image_ap(*scores),
        "image_F1Score": image_f1(normal_excess, anomalous_excess, 0),
        "image_F1_best": image_f1_best(*scores)[0],
        "fpr": share_above(normal_excess, 0),
        "recall": share_above(anomalous_excess, 0),
        "escape_rate": escape_rate(anomalous_excess, 0),
    }
    for label, found in anomalous.groupby("label"):
        figures[f"recall/{label}"] = share_above(_excess(found), 0)
    thresholds = rows["image_threshold"].unique()
    if len(thresholds) == 1:
        figures["image_threshold"] = float(thresholds[0])
    return figures


def _pixel_figures(
    rows: pd.DataFrame, maps: pd.Series, masks: NDArray[np.object_]
) -> dict[str, float]:
    """Figures of the rows that were read, from all maps and masks."""
    curves = PixelCurves()
    whites = normals = 0
    for start in range(0, len(rows), BATCH_ROWS):
        batch = rows[start : start + BATCH_ROWS]
        places = batch["row"].tolist()
        greys = _decode_maps(maps[places].tolist())
        is_defect = _decode_masks(masks[places].tolist(), batch["label"].tolist(), greys.shape[-1])
        unit = MAP_FULL_SCALE / WHITE * batch["image_threshold"].to_numpy(np.float32)
        curves.update(greys * unit.astype(np.float32)[:, None, None], is_defect)
        whites += int(np.count_nonzero((greys == WHITE) & ~is_defect))
        normals += int(np.count_nonzero(~is_defect))
    if whites > WHITE_SHARE_LIMIT * normals:
        _logger.warning(
            "%.1f %% of the normal pixels are white in the maps, where scores are no longer told "
            "apart: pixel figures are not those of the model's own maps",
            100 * whites / normals,
        )
    return {
        "pixel_AUROC": curves.auroc(),
        "pixel_AP": curves.ap(),
        "pixel_AUPRO": curves.aupro(AUPRO_FPR_LIMIT),
    }


def _decode_maps(encoded: Sequence[str]) -> NDArray[np.uint8]:
    """(N, S, S) greys."""
    greys = [_decode_map(each) for each in encoded]
    shapes = {grey.shape for grey in greys} | {greys[0].shape[::-1]}
    if len(shapes) != 1:
        raise ConfigError(f"maps must be squares of one size; got {sorted(shapes)}")
    return np.stack(greys)


def _decode_map(encoded: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(_decode_base64(encoded))).convert("L"))


def _decode_masks(encoded: Sequence[str], labels: Sequence[str], size_px: int) -> NDArray[np.bool_]:
    """(N, size_px, size_px), True on defects; by way of files, which is how masks are read."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for place, (mask, label) in enumerate(zip(encoded, labels, strict=True)):
            path = Path(folder) / str(place)
            if label != NORMAL_LABEL:
                path.write_bytes(_decode_base64(mask))
            files.append(ImageFile(path, label, path))
        return load_masks(files, size_px)


def _decode_base64(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded.partition("base64,")[2] or encoded)
    except ValueError:
        raise InvalidImageError(
            "not_base64", f"a mask or map must be base64 text; got {len(encoded)} other characters"
        ) from None


def _plot_rankings(rows: pd.DataFrame) -> dict[str, Figure]:
    normal, anomalous = _by_label(rows)
    scores = _scores(normal), _scores(anomalous)
    false_alarms, found = int(normal["is_false_alarm"].sum()), int((~anomalous["is_miss"]).sum())
    return {
        "roc_curve_plot": plot_roc(*scores, false_alarms, found),
        "precision_recall_curve_plot": plot_precision_recall(*scores, false_alarms, found),
        "score_histogram": plot_labelled_scores(*scores, rows["image_threshold"].unique().tolist()),
    }


def _plot_mistakes(
    rows: pd.DataFrame, images: NDArray[np.object_], answers: pd.DataFrame
) -> dict[str, Figure]:
    """The mistakes that are furthest from their threshold, if there are any."""
    figures = {}
    for name, kind, column, sign in (
        ("worst_misses", "misses", "is_miss", "≤"),
        ("worst_false_alarms", "false alarms", "is_false_alarm", ">"),
    ):
        mistakes = rows[rows[column]]
        if mistakes.empty:
            continue
        furthest = (-np.abs(_excess(mistakes))).argsort(kind="stable")[:MAX_EXAMPLES]
        worst = mistakes.iloc[furthest][["row", "label", "pred_score", "image_threshold"]]
        examples = [
            Example(
                picture=_thumbnail(images[row]),
                anomaly_map=_decode_map(answers["anomaly_map"][row]),
                title=f"row {row}, {label}",
                map_title=f"{score:.3g} {sign} {threshold:.3g}",
            )
            for row, label, score, threshold in worst.to_numpy(dtype=object)
        ]
        heading = f"{len(mistakes)} {kind} (score {sign} threshold), the worst first"
        figures[name] = plot_examples(examples, heading)
    return figures


def _thumbnail(encoded: str) -> NDArray[np.uint8]:
    content = _decode_base64(encoded)
    picture = Image.fromarray(decode_image(content, _ANY_SIZE, smallest_px=EXAMPLE_SIDE_PX))
    picture.thumbnail((EXAMPLE_SIDE_PX, EXAMPLE_SIDE_PX))
    return np.asarray(picture)


def _log_figure(figure: Figure, file_name: str) -> ImageEvaluationArtifact:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=FIGURE_DPI)
    picture = Image.open(buffer)
    mlflow.log_image(picture, file_name)
    return ImageEvaluationArtifact(mlflow.get_artifact_uri(file_name), picture)


def _log_table(rows: pd.DataFrame, file_name: str) -> CsvEvaluationArtifact:
    mlflow.log_text(rows.to_csv(index=False), file_name)
    return CsvEvaluationArtifact(mlflow.get_artifact_uri(file_name), rows)
