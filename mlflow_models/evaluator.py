"""MLflow's evaluation of a detector: ``mlflow.models.evaluate(..., evaluators="reconad")``.

MLflow finds the evaluator by the entry point ``mlflow.model_evaluator``.
"""

import io
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mlflow.models.evaluation.artifacts import CsvEvaluationArtifact, ImageEvaluationArtifact
from mlflow.models.evaluation.base import EvaluationResult, ModelEvaluator
from numpy.typing import NDArray
from PIL import Image

from mlflow_models import evaluation_rows
from reconad_plugin.detector.answer import MAP_FULL_SCALE, decode_base64
from reconad_plugin.detector.evaluation import AUPRO_FPR_LIMIT, STRICT_FPR_LIMIT, image_figures
from reconad_plugin.errors import ConfigError, InvalidImageError
from reconad_plugin.images.decode import decode_image, upright_size
from reconad_plugin.images.folder import NORMAL_LABEL
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.masks import check_shape, decode_mask, shrink_mask
from reconad_plugin.images.size import ImageSize
from reconad_plugin.metrics.image import share_above
from reconad_plugin.metrics.pixel import PixelCurves
from reconad_plugin.plots import evaluation as plots

CONFIG_KEYS: Final = ("mask", "metric_prefix")
MAX_EXAMPLES: Final = 8
EXAMPLE_SIDE_PX: Final = 256
FIGURE_DPI: Final = 120
WHITE_SHARE_LIMIT: Final = 0.01

_ANY_SIZE: Final = ImageLimits(max_pixels=sys.maxsize, min_side_px=1)  # the model had its own say
_logger = logging.getLogger(__name__)


class ReconadEvaluator(ModelEvaluator):
    """Figures and plots for any model that answers with the columns of ``Prediction``.

    The data is a table with the column ``image``, base64 of a picture file each, and a target:
    ``good`` or the name of the defect, or 0 and 1. Pixel figures come where it also has each
    defect's mask, base64 of a picture as ``decode_mask`` reads it; masks of normal rows are not
    read. They are of the served maps, which have 256 greys and are white from twice the
    threshold on.

    ``evaluator_config`` takes ``mask``, the name of the column of masks, and ``metric_prefix``,
    which stands before the names of metrics and files as it does in MLflow's own evaluators.
    """

    @classmethod
    def can_evaluate(
        cls, *, model_type: str | None, evaluator_config: Mapping[str, str], **_: Any
    ) -> bool:
        """Return whether the model type is ``reconad``."""
        return model_type == evaluation_rows.MODEL_TYPE

    def evaluate(
        self,
        *,
        dataset: Any,
        run_id: str,
        evaluator_config: Mapping[str, str],
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
        labels = evaluation_rows.read_labels(dataset.labels_data, prefix)
        images = evaluation_rows.read_column(dataset.features_data, evaluation_rows.IMAGE_COLUMN)
        masks = evaluation_rows.read_masks(dataset.features_data, mask_column, labels)

        answers = evaluation_rows.predict(model, images)
        rows = evaluation_rows.judge_rows(answers, labels)
        is_read = rows["error"].isna()
        metrics = {"errors": float((~is_read).sum()), **_image_figures(rows[is_read])}
        if masks is not None:
            metrics |= _pixel_figures(rows[is_read], answers["anomaly_map"], masks, images)
        figures = _plot_rankings(rows[is_read]) | _plot_mistakes(rows, images, answers)

        metrics = {f"{prefix}{name}": value for name, value in metrics.items()}
        if model_id is None:  # else MLflow logs them itself, with the model and the data
            mlflow.log_metrics(metrics)
        artifacts = {
            name: _log_figure(figure, f"{prefix}{name}.png") for name, figure in figures.items()
        }
        artifacts["rows"] = _log_table(rows, f"{prefix}rows.csv")
        return EvaluationResult(metrics=metrics, artifacts=artifacts, run_id=run_id)


def _read_config(config: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the prefix of names, and the column of masks if one is named."""
    unknown = sorted(set(config) - set(CONFIG_KEYS))
    if unknown:
        raise ConfigError(
            f"evaluator_config may hold {' and '.join(CONFIG_KEYS)}; got {', '.join(unknown)}"
        )
    return config.get("metric_prefix", ""), config.get("mask")


def _by_label(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split into the normal and the anomalous rows."""
    is_normal = rows["label"] == NORMAL_LABEL
    return rows[is_normal], rows[~is_normal]


def _scores(rows: pd.DataFrame) -> NDArray[np.float64]:
    return rows["pred_score"].to_numpy()


def _excess(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Return how far the scores are above their thresholds, which need not be one for all rows."""
    return (rows["pred_score"] - rows["image_threshold"]).to_numpy()


def _image_figures(rows: pd.DataFrame) -> dict[str, float]:
    is_normal = (rows["label"] == NORMAL_LABEL).to_numpy()
    figures = image_figures(_scores(rows), _excess(rows), is_normal)
    del figures["image_F1_best_threshold"]  # of these very images: none to work with
    for label, found in rows[~is_normal].groupby("label"):
        figures[f"recall/{label}"] = share_above(_excess(found), 0)
    thresholds = rows["image_threshold"].unique()
    if len(thresholds) == 1:
        figures["image_threshold"] = float(thresholds[0])
    return figures


def _pixel_figures(
    rows: pd.DataFrame,
    maps: pd.Series,
    masks: NDArray[np.object_],
    images: NDArray[np.object_],
) -> dict[str, float]:
    """Compute the figures of the rows that were read, from all maps, masks and pictures."""
    curves = PixelCurves()
    whites = normals = 0
    for start in range(0, len(rows), evaluation_rows.BATCH_ROWS):
        batch = rows[start : start + evaluation_rows.BATCH_ROWS]
        indices = batch["row"].tolist()
        greys = _decode_maps(maps[indices].tolist())
        is_defect = _decode_masks(masks, images, batch, ImageSize.of(greys.shape))
        unit = MAP_FULL_SCALE / plots.WHITE * batch["image_threshold"].to_numpy(np.float32)
        curves.update(greys * unit.astype(np.float32)[:, None, None], is_defect)
        whites += int(np.count_nonzero((greys == plots.WHITE) & ~is_defect))
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
        "pixel_AUPRO_5": curves.aupro(STRICT_FPR_LIMIT),
    }


def _decode_maps(encoded: Sequence[str]) -> NDArray[np.uint8]:
    """Decode (N, H, W) greys."""
    greys = [_decode_map(each) for each in encoded]
    shapes = {grey.shape for grey in greys}
    if len(shapes) != 1:
        raise ConfigError(f"maps must be of one size; got {sorted(shapes)}")
    return np.stack(greys)


def _decode_map(encoded: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(decode_base64(encoded, "a map"))).convert("L"))


def _decode_masks(
    encoded: NDArray[np.object_], images: NDArray[np.object_], rows: pd.DataFrame, size: ImageSize
) -> NDArray[np.bool_]:
    """Decode the masks of N rows: (N, H, W), True on defects."""
    masks = np.zeros((len(rows), *size.shape), dtype=np.bool_)
    for mask, row, label in zip(masks, rows["row"].tolist(), rows["label"], strict=True):
        if label == NORMAL_LABEL:
            continue
        try:
            content = decode_base64(encoded[row], "a mask")
            pixels = decode_mask(content)
            check_shape(upright_size(content), upright_size(decode_base64(images[row])))
        except InvalidImageError as error:
            raise InvalidImageError(error.reason, f"mask of row {row}: {error}") from None
        mask[:] = shrink_mask(pixels, size)
    return masks


def _plot_rankings(rows: pd.DataFrame) -> dict[str, Figure]:
    normal, anomalous = _by_label(rows)
    scores = _scores(normal), _scores(anomalous)
    false_alarms, found = int(normal["is_false_alarm"].sum()), int((~anomalous["is_miss"]).sum())
    return {
        "roc_curve_plot": plots.plot_roc(*scores, false_alarms, found),
        "precision_recall_curve_plot": plots.plot_precision_recall(*scores, false_alarms, found),
        "score_histogram": plots.plot_labelled_scores(
            *scores, rows["image_threshold"].unique().tolist()
        ),
    }


def _plot_mistakes(
    rows: pd.DataFrame, images: NDArray[np.object_], answers: pd.DataFrame
) -> dict[str, Figure]:
    """Plot the mistakes that are furthest from their threshold, if there are any."""
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
            plots.Example(
                picture=_thumbnail(images[row]),
                anomaly_map=_decode_map(answers["anomaly_map"][row]),
                title=f"row {row}, {label}",
                map_title=f"{score:.3g} {sign} {threshold:.3g}",
            )
            for row, label, score, threshold in worst.to_numpy(dtype=object)
        ]
        heading = f"{len(mistakes)} {kind} (score {sign} threshold), the worst first"
        figures[name] = plots.plot_examples(examples, heading)
    return figures


def _thumbnail(encoded: str) -> NDArray[np.uint8]:
    content = decode_base64(encoded)
    smallest = ImageSize.square(EXAMPLE_SIDE_PX)
    picture = Image.fromarray(decode_image(content, _ANY_SIZE, smallest))
    picture.thumbnail(smallest.shape)
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
