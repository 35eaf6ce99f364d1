"""The prediction log: what was said of each picture when it was served, and on which night.

Servers write it in parts under ``<product>/_reconad/served/<night>/``; the watch reads it.
"""

import io
import re
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from reconad_plugin.detector.score_table import SAID
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.features import FEATURES
from reconad_plugin.ledger.read_back import reading_back, unless_damaged
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore

# engines that differ by rounding alone; others were held against thresholds of their own
COMPARABLE: Final = ("torch", "openvino")

SERVED_SCHEMA: Final = pa.schema(
    {
        "time": pa.timestamp("us", tz="UTC"),
        **dict.fromkeys(("reference", "context", "model_version", "engine"), pa.string()),
        **dict.fromkeys(("pred_score", "p_value", "image_threshold"), pa.float64()),
        "pred_label": pa.bool_(),
        "latency_ms": pa.float64(),
        **dict.fromkeys(("sha256", "pixels_sha256"), pa.string()),
        **dict.fromkeys(FEATURES, pa.float64()),
        "map_extent": pa.float64(),
        "map_cells": pa.list_(pa.float32()),
        "error": pa.string(),
        "shadow_version": pa.string(),
        "shadow_score": pa.float64(),
        "shadow_label": pa.bool_(),
        "picture": pa.binary(),
    }
)
SERVED_COLUMNS: Final = tuple(name for name in SERVED_SCHEMA.names if name != "picture")

_BORDER: Final = re.compile(r"(\d\d:\d\d)(?: (\S+))?")
_READERS: Final = 8  # threads; reading waits on the network
_SHADOWED: Final = (
    "time", "model_version", "shadow_version", "sha256", "pred_label", "shadow_label",
)  # fmt: skip
_OF_ANSWERS: Final = (
    "time", "engine", "model_version", "sha256", "pixels_sha256", *SAID,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ServedRow:
    """A picture as it was served: one row of the prediction log."""

    time: datetime  # when its request came, with a time zone
    reference: str | None  # what the client calls it
    context: str | None  # the camera position, or variant, that it was held against
    model_version: str  # the version that answered
    engine: str  # what ran its network
    pred_score: float | None  # None, as all that follows from it, for a row that was not read
    pred_label: bool | None
    p_value: float | None
    image_threshold: float
    latency_ms: float  # from the coming of its request until it was answered
    sha256: str  # of the picture's file; empty where there was none
    pixels_sha256: str  # see ``hash_pixels``; empty where it was not decoded for the log
    features: Mapping[str, float]  # of light and camera, as in the manifest; empty likewise
    # of the map that was served, as the picture came; those of the watch have the light matched
    map_extent: float | None
    map_cells: NDArray[np.float32] | None
    error: str | None  # why it was not read
    # what another version would have said, where one saw the picture too
    shadow_version: str | None
    shadow_score: float | None
    shadow_label: bool | None
    picture: bytes | None  # its file, where that is kept

    def to_record(self) -> dict[str, object]:
        """Return it by column of ``SERVED_SCHEMA``; what it lacks becomes null."""
        return {name: getattr(self, name) for name in _OWN} | dict(self.features)


_OWN: Final = tuple(name for name in SERVED_SCHEMA.names if name not in FEATURES)


@dataclass(frozen=True)
class NightBorder:
    """When a night begins: one time of the day where the product is made."""

    starts_at: time = time(0)
    zone: str = "UTC"

    def night_of(self, moment: datetime) -> date:
        """Return the night that a moment with a time zone belongs to, by the clock on the wall.

        Example:
            >>> from datetime import UTC
            >>> border = NightBorder.parse("06:00 Europe/Berlin")
            >>> border.night_of(datetime(2026, 5, 4, 3, 59, tzinfo=UTC))
            datetime.date(2026, 5, 3)
            >>> border.night_of(datetime(2026, 5, 4, 4, 0, tzinfo=UTC))
            datetime.date(2026, 5, 4)
        """
        there = moment.astimezone(ZoneInfo(self.zone))
        return there.date() - timedelta(days=there.time() < self.starts_at)

    @classmethod
    def parse(cls, text: str) -> "NightBorder":
        """Read ``06:00 Europe/Berlin``; without a zone it is UTC.

        Raises:
            ConfigError: it is no time of a day, or no such zone is known.
        """
        found = _BORDER.fullmatch(text.strip())
        try:
            if found is None:
                raise ValueError("no time of a day")
            border = cls(time.fromisoformat(found[1]), found[2] or "UTC")
            ZoneInfo(border.zone)
        except (ValueError, KeyError, OSError) as error:
            raise ConfigError(
                "a night starts at HH:MM and a time zone, as in '06:00 Europe/Berlin'; got "
                f"{text!r}: {error}"
            ) from None
        return border


def to_part(batches: list[pa.RecordBatch]) -> bytes:
    """Write rows of the log as one part: equal bytes for equal rows."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_batches(batches, SERVED_SCHEMA), buffer)
    return buffer.getvalue()


def read_served(
    store: ObjectStore,
    layout: ProductLayout,
    night: date,
    columns: Sequence[str] = SERVED_COLUMNS,
) -> pd.DataFrame:
    """Read the log of a night in order of time; a part that is damaged is left out, with a warning.

    Args:
        store: the bucket.
        layout: the product's keys.
        night: see ``NightBorder``.
        columns: some of ``SERVED_SCHEMA``, ``time`` among them; without them all but the pictures.

    Raises:
        StorageError: the bucket cannot be read.
    """
    keys = [info.key for info in store.list_objects(layout.served(night))]
    with ThreadPoolExecutor(_READERS) as threads:
        read = [partial(_read_part, store, key, list(columns)) for key in keys]
        parts = [part for part in threads.map(unless_damaged, read) if part is not None]
    empty = SERVED_SCHEMA.empty_table().select(list(columns))
    table: pd.DataFrame = pa.concat_tables([empty, *parts]).to_pandas()
    return table.sort_values("time", kind="stable", ignore_index=True)


def served_nights(store: ObjectStore, layout: ProductLayout) -> list[date]:
    """List the nights that have a log, oldest first."""
    prefix = layout.served_nights
    names = {info.key.removeprefix(prefix)[:10] for info in store.list_objects(prefix)}
    return [date.fromisoformat(name) for name in sorted(names)]


def read_shadowed(
    store: ObjectStore, layout: ProductLayout, version: str, shadow: str, nights: Sequence[date]
) -> pd.DataFrame:
    """Read the pictures that a version served on some nights and a shadow saw too: ``pred_label``
    and ``shadow_label``, one row a content.

    Raises:
        StorageError: the bucket cannot be read.
    """
    empty = SERVED_SCHEMA.empty_table().select(_SHADOWED).to_pandas()
    log = pd.concat([empty, *(read_served(store, layout, each, _SHADOWED) for each in nights)])
    seen = log[(log["model_version"] == version) & (log["shadow_version"] == shadow)]
    labels: pd.DataFrame = seen.drop_duplicates("sha256")[["pred_label", "shadow_label"]].dropna()
    return labels.astype(bool).reset_index(drop=True)


def find_answers(
    store: ObjectStore, layout: ProductLayout, night: date, rows: pd.DataFrame
) -> pd.DataFrame:
    """Find what was said of a night's images when they were served.

    An image is known by its bytes, or else by its pixels. What one version said of it first
    counts. Servers and whoever fills the bucket may end a day at different hours, so images that
    the log of the night lacks are looked for in those of the days beside it.

    Args:
        store: the bucket.
        layout: the product's keys.
        night: of the manifest.
        rows: of the manifest, accepted ones.

    Returns:
        ``image``, the index of its row in ``rows``, ``model_version`` and ``SAID``; one row an
        image and version.
    """
    found = _NO_ANSWERS
    for near in (night, night - timedelta(days=1), night + timedelta(days=1)):
        log = read_served(store, layout, near, _OF_ANSWERS)
        told = log[log["engine"].isin(COMPARABLE) & log["pred_score"].notna()]
        image = told["sha256"].map(_rows_by(rows, "sha256"))
        image = image.fillna(told["pixels_sha256"].map(_rows_by(rows, "pixels_sha256")))
        known = told.assign(image=image)[image.notna()]
        found = pd.concat([found, known[list(_NO_ANSWERS)].astype(found.dtypes.to_dict())])
        if set(rows.index) <= set(found["image"]):
            break
    return found.drop_duplicates(["image", "model_version"], ignore_index=True)


def said_most(answers: pd.DataFrame, images: int) -> str | None:
    """Name the version that answered for more than half of so many images of a night; None where
    none did."""
    counts = answers["model_version"].value_counts()
    return str(counts.index[0]) if len(counts) and 2 * counts.iloc[0] > images else None


def said_by(answers: pd.DataFrame, version: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Return what a version said, ``SAID`` of each of ``rows``; null where it said nothing."""
    own = answers[answers["model_version"] == version].set_index("image")
    return own[list(SAID)].reindex(rows.index)


def _rows_by(rows: pd.DataFrame, column: str) -> dict[str, Hashable]:
    """Index rows by a hash that they have."""
    return {name: row for row, name in rows[column].items() if name}


def _read_part(store: ObjectStore, key: str, columns: list[str]) -> pa.Table:
    with reading_back(store.uri(key), "delete it: its pictures are scored anew"):
        table = pq.read_table(io.BytesIO(store.read(key).content), columns=columns)
        return table.cast(pa.schema([SERVED_SCHEMA.field(name) for name in columns]))


_NO_ANSWERS: Final = pd.DataFrame(
    {
        "image": pd.Series(dtype="int64"),
        "model_version": pd.Series(dtype="str"),
        "pred_score": pd.Series(dtype="float64"),
        "p_value": pd.Series(dtype="float64"),
    }
)
