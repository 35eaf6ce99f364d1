"""What MLflow calls for each request: rows with pictures in, rows of predictions out."""

import base64
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from mlflow_models.serving.prediction_log import PredictionLog
from mlflow_models.serving.version import ServedVersion
from reconad_plugin.detector.answer import (
    CONTEXT_COLUMN,
    MAP_COLUMN,
    REGIONS_COLUMN,
    Prediction,
    decode_base64,
)
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.prediction import (
    Observe,
    Observed,
    predict_encoded,
    to_table,
    turn_of,
)
from reconad_plugin.plots.overlays import draw_overlay

IMAGE_COLUMN: Final = "image"
REFERENCE_COLUMN: Final = "reference"  # the client's own id of a picture, which comes back
OVERLAY_COLUMN: Final = "overlay"  # base64 of a PNG; also the parameter that asks for it
REGIONS_PARAMETERS: Final = ("regions", REGIONS_COLUMN)  # the second is its name of before
THRESHOLD_PARAMETER: Final = "threshold"  # to try another one; 0 for the version's own
MOST_THRESHOLD: Final = 1e9

_logger = logging.getLogger(__name__)


@dataclass
class RequestNotes:
    """What is known of a request besides its answer: filled in here, read by who counts."""

    predictions: list[Prediction] = field(default_factory=list)
    refused: str | None = None  # what is wrong with the request, in one sentence
    has_failed: bool = False  # whether we could not answer what is no fault of the request
    is_over: bool = False  # whether nobody waits for an answer any more


# of the request that this thread works on; nobody listens where there is no server of ours
NOTES: Final[ContextVar[RequestNotes | None]] = ContextVar("notes of the request", default=None)


class DetectorPyfunc:
    """Rows with base64 images in, rows of predictions out. Safe for many threads, and for another
    version being put in ``served`` at any time: each request is answered by one version."""

    def __init__(
        self,
        served: ServedVersion,
        max_rows: int | None = None,
        columns: tuple[str, ...] = (),
        log: PredictionLog | None = None,
    ) -> None:
        """Args:
        served: the first version.
        max_rows: of a request; None leaves it open.
        columns: what MLflow hands on of a request.
        log: is told what was said, but for trials of another threshold.
        """
        self.served = served
        self.columns = columns
        self._max_rows, self._log = max_rows, log

    @property
    def number(self) -> str:
        """Number of the version that answers now."""
        return self.served.number

    def take(self, version: ServedVersion) -> None:
        """Let another version answer from the next request on."""
        self.served = version

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predict each row of ``image``.

        ``context`` may say which camera position or variant each shows; ``reference`` comes back.
        ``params={"anomaly_map": True}`` asks for the maps, ``{"overlay": True}`` for the pictures
        with their maps laid over them, ``{"regions": True}`` for the areas above the pixel
        threshold, ``{"threshold": 0.7}`` for labels by another threshold.

        Raises:
            MlflowException: there are too many rows or none, a reference is no text, or the
                threshold is no number above 0.
        """
        notes = NOTES.get() or RequestNotes()
        try:
            return self._answer(model_input, params or {}, notes)
        except MlflowException:
            raise
        except Exception:
            notes.has_failed = True
            _logger.exception("a request could not be answered")
            raise

    def _answer(
        self, model_input: pd.DataFrame, asked: dict[str, Any], notes: RequestNotes
    ) -> pd.DataFrame:
        served = self.served
        _check_wait(notes)
        self._check_rows(len(model_input))
        with_map, with_overlay = (bool(asked.get(name)) for name in (MAP_COLUMN, OVERLAY_COLUMN))
        with_regions = any(asked.get(name) for name in REGIONS_PARAMETERS)
        detector = _with_threshold(served.detector, asked)
        has_contexts = detector.known_contexts is not None
        references = _column(model_input, REFERENCE_COLUMN)
        _check_texts(REFERENCE_COLUMN, references or [])
        observe = None
        if self._log is not None and detector is served.detector:
            observe = self._log.observe(detector, references)
        rows = predict_encoded(
            detector,
            model_input[IMAGE_COLUMN].tolist(),
            served.number,
            with_map or with_overlay,
            with_regions,
            _column(model_input, CONTEXT_COLUMN) if has_contexts else None,
            _unless_over(notes, observe),
        )
        notes.predictions = rows
        table = to_table(rows, with_regions, has_contexts)
        columns = {REFERENCE_COLUMN: references}
        if with_overlay:
            columns[OVERLAY_COLUMN] = _overlays(model_input[IMAGE_COLUMN], rows)
            columns[MAP_COLUMN] = table[MAP_COLUMN].tolist() if with_map else [None] * len(rows)
        return table.assign(
            **{
                name: pd.Series(values, table.index, dtype=object)
                for name, values in columns.items()
                if values is not None
            }
        )

    def _check_rows(self, count: int) -> None:
        if count == 0:
            _refuse("a request must have at least one row; it has none: send a picture")
        if self._max_rows is not None and count > self._max_rows:
            _refuse(
                f"a request must have at most {self._max_rows} rows; got {count}: send them in "
                "several requests, or raise RECONAD_MAX_ROWS of the server"
            )


def _with_threshold(detector: Detector, asked: Mapping[str, Any]) -> Detector:
    threshold = float(asked.get(THRESHOLD_PARAMETER, 0))
    if threshold == 0:
        return detector
    if not 0 < threshold <= MOST_THRESHOLD:
        _refuse(f"{THRESHOLD_PARAMETER} must be a number above 0; got {threshold}: correct it")
    return detector.held_against(threshold)


def _check_texts(name: str, values: Iterable[Any]) -> None:
    for index, value in enumerate(values):
        if value is not None and not isinstance(value, str):
            _refuse(
                f"the column {name!r} must be text; in row {index} it is {type(value).__name__}: "
                "write it in quotes"
            )


def _check_wait(notes: RequestNotes) -> None:
    if notes.is_over:
        raise MlflowException("nobody waits for this answer any more")  # nor reads this


def _unless_over(notes: RequestNotes, observe: Observe | None) -> Observe:
    """Show what is answered to the log, if there is one, and end where nobody waits any more."""

    def take(rows: Sequence[Observed]) -> None:
        _check_wait(notes)
        if observe is not None:
            observe(rows)

    return take


def _overlays(images: Iterable[Any], rows: Iterable[Prediction]) -> list[str | None]:
    def draw(image: Any, row: Prediction) -> str | None:
        if row.anomaly_map is None:
            return None
        content = decode_base64(image)
        with turn_of(content):
            drawn = draw_overlay(content, decode_base64(row.anomaly_map))
        return base64.b64encode(drawn).decode("ascii")

    return [draw(image, row) for image, row in zip(images, rows, strict=True)]


def _column(table: pd.DataFrame, name: str) -> list[Any] | None:
    """Return an optional column with None for what is absent."""
    if name not in table:
        return None
    return [None if value != value else value for value in table[name].tolist()]


def _refuse(sentence: str) -> NoReturn:
    if (notes := NOTES.get()) is not None:
        notes.refused = sentence
    raise MlflowException(sentence, error_code=INVALID_PARAMETER_VALUE)
