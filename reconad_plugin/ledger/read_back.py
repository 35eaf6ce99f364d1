"""What was kept of a night, read back: damaged in any way it is one error, and stops no other."""

import json
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from typing import Any, Final, TypeVar

import pandas as pd
from pydantic import TypeAdapter

from reconad_plugin.errors import DamagedRecordError

MEND: Final = "put it back from a copy, or delete it and run its night again"

Content = TypeVar("Content")
_logger = logging.getLogger(__name__)


@contextmanager
def reading_back(uri: str, mend: str = MEND) -> Iterator[None]:
    """Turn what a damaged object makes its readers raise, which is almost anything, into ours, with
    what mends it.

    Raises:
        DamagedRecordError: the object is not as it was written.
    """
    try:
        yield
    except Exception as error:
        raise DamagedRecordError(
            f"what was kept of a night must be as it was written; {uri} is not ({error!r}): {mend}"
        ) from error


def unless_damaged(read: Callable[[], Content | None]) -> Content | None:
    """Read something of a night; None, with a warning, where it is damaged."""
    try:
        return read()
    except DamagedRecordError as error:
        _logger.warning("%s", error)
        return None


def check_columns(table: pd.DataFrame, columns: Collection[str]) -> pd.DataFrame:
    """Return a table that has all of these columns.

    Raises:
        ValueError: it lacks one.
    """
    if missing := sorted(set(columns) - set(table)):
        raise ValueError(f"it lacks {', '.join(missing)}")
    return table


def check_types(record: Content) -> Content:
    """Return a dataclass each of whose fields has the type that it says.

    Raises:
        ValueError: one has not.
    """
    content = json.dumps(asdict(record))  # type: ignore[call-overload]
    _types_of(type(record)).validate_json(content, strict=True)  # type: ignore[arg-type]
    return record


@cache
def _types_of(record: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(record)
