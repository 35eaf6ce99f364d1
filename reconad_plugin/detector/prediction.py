"""Encoded pictures to the prediction that every consumer reads; see ``answer``."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reconad_plugin.detector.answer import (
    CONTEXT_COLUMN,
    REGIONS_COLUMN,
    Prediction,
    decode_base64,
    encode_map,
)
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.engine import thread_count
from reconad_plugin.detector.regions_found import find_regions
from reconad_plugin.errors import InvalidImageError
from reconad_plugin.images.decode import count_pixels, upright_size
from reconad_plugin.images.geometry import decode_to_size, stack_images

CHUNK = 16  # pictures that are scored before anybody is shown them, fewer of large ones
CHUNK_PIXELS = 2**26  # of all of them; 16 of 2048 x 2048
SIDE_BY_SIDE_PIXELS = 2**22  # of a picture; of larger ones one at a time is in memory
_LARGE: Final = threading.Lock()  # of all who do not take turns of their own
_OWN_LARGE: Final[ContextVar["threading.Lock | None"]] = ContextVar("own turns", default=None)


@dataclass(frozen=True, eq=False)
class Observed:
    """What was said of one image, with what it was said of."""

    prediction: Prediction
    content: bytes | None  # the picture's file; None for a row that holds none
    anomaly_map: NDArray[np.float32] | None  # (S, S), see ``Scores``; None with an error


Observe = Callable[[Sequence[Observed]], None]  # is called with some rows at a time, in order


def predict_encoded(
    detector: Detector,
    images: Sequence[object],
    model_version: str,
    with_map: bool = False,
    with_regions: bool = False,
    contexts: Sequence[object] | None = None,
    observe: Observe | None = None,
) -> list[Prediction]:
    """Predict base64 texts of picture files, with or without a ``data:`` prefix, row by row: a bad
    row has its error, and spoils no other. ``contexts`` says which each shows; None, and nothing in
    a row, leaves that to the detector. ``observe`` is shown all that is kept of the rows."""
    contents = [partial(decode_base64, each) for each in images]
    asked = (with_map, with_regions, contexts, observe)
    return predict_contents(detector, contents, model_version, *asked)


def predict_contents(
    detector: Detector,
    contents: Sequence[Callable[[], bytes]],
    model_version: str,
    with_map: bool = False,
    with_regions: bool = False,
    contexts: Sequence[object] | None = None,
    observe: Observe | None = None,
) -> list[Prediction]:
    """Predict picture files, each read when its turn comes; see ``predict_encoded``."""
    told = [None] * len(contents) if contexts is None else contexts
    rows = list(zip(contents, told, strict=True))
    at_once = min(CHUNK, max(1, CHUNK_PIXELS // detector.image_size_px.pixels))
    chunks = [rows[start : start + at_once] for start in range(0, len(rows), at_once)]
    return [
        row
        for chunk in chunks
        for row in _predict_chunk(detector, chunk, model_version, with_map, with_regions, observe)
    ]


def _predict_chunk(
    detector: Detector,
    contents: Sequence[tuple[Callable[[], bytes], object]],
    model_version: str,
    with_map: bool,
    with_regions: bool,
    observe: Observe | None,
) -> list[Prediction]:
    read = _read_rows(partial(_read_row, detector, with_regions), contents)
    pictures = [each.picture for each in read if each.picture is not None]
    contexts = [each.context for each in read if each.picture is not None]
    images = stack_images(pictures, detector.image_size_px)
    scores = detector.score(images, contexts if any(contexts) else None)
    decided = detector.decide(images, scores)
    places = iter(range(len(pictures)))

    def row(image: _ReadRow) -> Prediction:
        if image.picture is None:
            pooled = detector.calibration.image_threshold
            return Prediction(None, None, pooled, None, None, model_version, image.error)
        at = next(places)
        threshold, pixel_thresholds = decided.image_threshold[at], decided.pixel_threshold
        shown, found = scores.anomaly_map[at], None
        if with_regions and pixel_thresholds is not None:
            found = find_regions(shown, float(pixel_thresholds[at]), image.size_px)
        return Prediction(
            pred_score=float(scores.pred_score[at]),
            pred_label=bool(decided.pred_label[at]),
            image_threshold=float(threshold),
            p_value=float(decided.p_value[at]),
            anomaly_map=encode_map(shown, threshold) if with_map else None,
            model_version=model_version,
            error=None,
            regions_found=found,
            context=(scores.contexts[at] or None) if scores.contexts else None,
        )

    answers = [row(each) for each in read]
    if observe is not None:
        maps = iter(scores.anomaly_map)
        shown = [None if each.picture is None else next(maps) for each in read]
        files = [each.content for each in read]
        observe([Observed(*each) for each in zip(answers, files, shown, strict=True)])
    return answers


def _read_rows(
    read_row: Callable[[Callable[[], bytes], object], "_ReadRow"],
    contents: Sequence[tuple[Callable[[], bytes], object]],
) -> list["_ReadRow"]:
    """Read rows side by side, as decoding takes longest; starting a thread for one takes 1 ms."""
    workers = min(thread_count(), len(contents))
    if workers == 1:
        return [read_row(*each) for each in contents]
    with ThreadPoolExecutor(workers) as threads:
        return list(threads.map(read_row, *zip(*contents, strict=True)))


@contextmanager
def turn_of(content: bytes) -> Iterator[None]:
    """Wait for the turn of a picture file, if it is large, to be in memory.

    Raises:
        InvalidImageError: it is no picture.
    """
    is_large = count_pixels(content) > SIDE_BY_SIDE_PIXELS
    with (_OWN_LARGE.get() or _LARGE) if is_large else nullcontext():
        yield


@contextmanager
def with_own_turns() -> Iterator[None]:
    """Let large pictures of this thread take turns of their own: those of others never wait for a
    thread that goes behind them all."""
    before = _OWN_LARGE.set(threading.Lock())
    try:
        yield
    finally:
        _OWN_LARGE.reset(before)


@dataclass(frozen=True, eq=False)
class _ReadRow:
    """A row as it was read."""

    content: bytes | None = None  # the picture's file, as far as there is one
    picture: NDArray[np.uint8] | None = None  # None where it cannot be read
    size_px: tuple[int, int] = (0, 0)  # of the picture, upright, where regions were asked for
    context: str | None = None
    error: str | None = None  # why it cannot be read


def _read_row(
    detector: Detector, with_regions: bool, read_content: Callable[[], bytes], told: object
) -> _ReadRow:
    content = None
    try:
        context = read_context(told)
        content = read_content()
        with turn_of(content):
            picture = decode_to_size(content, detector.image_size_px, detector.limits)
            size = upright_size(content) if with_regions else (0, 0)
    except InvalidImageError as error:
        return _ReadRow(content, error=f"{error.reason}: {error}")
    return _ReadRow(content, picture, size, context)


def read_context(told: object) -> str | None:
    """Return the context that is told of a row; None where nothing is.

    Raises:
        InvalidImageError: it is no text.
    """
    if told is None or told != told or told == "":
        return None
    if not isinstance(told, str):
        raise InvalidImageError(
            "bad_context",
            f"a context must be text, the name of a camera position or a variant; got "
            f"{type(told).__name__}: write it in quotes, or leave it out",
        )
    return told


def to_table(
    predictions: Sequence[Prediction], with_regions: bool = False, with_contexts: bool = False
) -> pd.DataFrame:
    """Build a table of one row a prediction. What is absent is None, which becomes null in JSON,
    never NaN. There is a column of what was found only where it was asked for, and one of contexts
    only where a version has them."""
    left_out = {REGIONS_COLUMN: not with_regions, CONTEXT_COLUMN: not with_contexts}
    names = [field.name for field in fields(Prediction) if not left_out.get(field.name, False)]
    return pd.DataFrame([asdict(each) for each in predictions], columns=names, dtype=object)
