"""What is wrong with a request that was not answered, in one sentence that repeats none of it."""

import json
from collections.abc import Mapping
from typing import Any, Final

from mlflow_models.serving.pyfunc import (
    IMAGE_COLUMN,
    MOST_THRESHOLD,
    OVERLAY_COLUMN,
    REFERENCE_COLUMN,
    REGIONS_PARAMETERS,
    THRESHOLD_PARAMETER,
)
from reconad_plugin.detector.answer import CONTEXT_COLUMN, MAP_COLUMN

FORMAT: Final = '{"dataframe_records": [{"image": "<base64>"}], "params": {}}'
JSON: Final = "application/json"
_FORMATS: Final = ("dataframe_records", "dataframe_split", "instances", "inputs")
_VALUES_A_ROW: Final = 16
_VALUES_BESIDE: Final = 1000
_FLAGS: Final = (MAP_COLUMN, OVERLAY_COLUMN, *REGIONS_PARAMETERS)
_PARAMETERS: Final = (*_FLAGS, THRESHOLD_PARAMETER)
_TEXTS: Final = (IMAGE_COLUMN, CONTEXT_COLUMN, REFERENCE_COLUMN)


def has_too_many_values(body: bytes, max_rows: int) -> bool:
    """Say whether a JSON body has far more values than so many rows can have, before it is parsed:
    a parser would take half a minute for tens of millions of them.

    Example:
        >>> has_too_many_values(b'{"dataframe_records": [' + b'[],' * 10_000 + b'[]]}', 256)
        True
    """
    return sum(map(body.count, (b"{", b"[", b","))) > _VALUES_A_ROW * max_rows + _VALUES_BESIDE


def explain_names(body: bytes) -> str | None:
    """Say what is wrong with the keys and parameters of a JSON request; None where nothing is.
    MLflow passes over those that it does not know, so that whoever mistypes one would never learn
    of it.

    Example:
        >>> explain_names(b'{"dataframe_records": [], "params": {"treshold": 0.5}}')[-46:]
        'threshold; it has 1: correct or leave them out'
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):  # which is said of the body as a whole
        return None
    return _explain_names(request) if isinstance(request, dict) else None


def explain_kind(content_type: str) -> str:
    """Say what is wrong with the kind of a request that is not JSON in UTF-8. MLflow reads other
    kinds too, in which a few bytes can unfold to gigabytes."""
    if content_type.partition(";")[0].strip().lower() == JSON:
        return "the header Content-Type must name no charset but utf-8: leave it out"
    return f"the header Content-Type must be {JSON}; it is another: send {FORMAT}"


def explain(body: bytes) -> str | None:
    """Say what is wrong with a JSON request; None where nothing is found, and the fault is ours.

    Example:
        >>> explain(b'{"dataframe_records": [{"picture": "x"}]}')
        "each row must have the column 'image'; row 0 has none: send base64 of a picture file"
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        return f"the body must be JSON in UTF-8; it breaks off or goes wrong{where}: send {FORMAT}"
    if not isinstance(request, dict):
        return f"the body must be a JSON object; it is another value: send {FORMAT}"
    if said := _explain_names(request):
        return said
    found = [each for each in _FORMATS if each in request]
    if len(found) != 1:
        return (
            f"the body must have one of {', '.join(_FORMATS)}; it has {len(found)}: send {FORMAT}"
        )
    return _explain_rows(found[0], request[found[0]])


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return value is None
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair of code units
        return False
    return True


def _explain_names(request: Mapping[str, object]) -> str | None:
    if strange := set(request) - {*_FORMATS, "params"}:
        return f"the body has {len(strange)} keys that mean nothing here: send {FORMAT}"
    return _explain_params(request.get("params"))


def _explain_params(params: Any) -> str | None:
    if params is None:
        return None
    if not isinstance(params, dict):
        return "params must be a JSON object; it is another value: leave it out, or send {}"
    if strange := set(params) - {*_PARAMETERS}:
        return (
            f"params must have no names but {', '.join(_PARAMETERS)}; it has "
            f"{len(strange)}: correct or leave them out"
        )
    for name in _FLAGS:
        if not isinstance(params.get(name), bool | None):  # null is as if it were left out
            return f"params.{name} must be true or false; it is another value"
    threshold = params.get(THRESHOLD_PARAMETER, 1.0)
    is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not is_number or not 0 <= threshold <= MOST_THRESHOLD:
        return (
            f"params.{THRESHOLD_PARAMETER} must be a number above 0 and at most "
            f"{MOST_THRESHOLD:g}; it is another value"
        )
    return None


def _explain_rows(name: str, rows: Any) -> str | None:
    if name == "dataframe_split":
        if not isinstance(rows, dict) or not isinstance(rows.get("columns"), list):
            return f"dataframe_split must have 'columns' and 'data'; it does not: send {FORMAT}"
        if IMAGE_COLUMN not in rows["columns"]:
            return f"dataframe_split must have the column 'image'; it has none: send {FORMAT}"
        return f"dataframe_split could not be read as a table of texts: send {FORMAT}"
    if name == "inputs":
        return f"inputs must be lists of base64 texts by column; they are not: send {FORMAT}"
    if not isinstance(rows, list):
        return f"{name} must be a list of rows; it is another value: send {FORMAT}"
    columns = {*rows[0]} if rows and isinstance(rows[0], dict) else set()
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            return f"each row must be a JSON object; row {index} is another value: send {FORMAT}"
        if IMAGE_COLUMN not in row:
            return (
                f"each row must have the column 'image'; row {index} has none: send base64 of a "
                "picture file"
            )
        if name == "instances" and {*row} != columns:
            return f"all rows of instances must have the same columns; row {index} has others"
        for column in _TEXTS:
            if not _is_text(row.get(column)):
                return f"the column {column!r} must be text; in row {index} it is another value"
    return "there must be at least one row; there is none: send a picture" if not rows else None
