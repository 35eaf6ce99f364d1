"""Tables and notes that reconad keeps beside the images: scores, night records, reviews."""

import io
import json
from collections.abc import Hashable, Mapping
from datetime import date
from typing import Any, Final

import pandas as pd

from reconad_plugin.ledger.manifest import to_parquet
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore

WAITING, NORMAL, DEFECT = "waiting", "normal", "defect"
REVIEW_COLUMNS: Final = ("key", "sha256", "night", "pred_score", "matched_score", "why", "decision")

_PARQUET = "application/vnd.apache.parquet"
_JSON = "application/json"


class NightRecords:
    """What is kept about the nights of one product."""

    def __init__(self, store: ObjectStore, layout: ProductLayout) -> None:
        self._store = store
        self._layout = layout

    def scores(self, night: date) -> pd.DataFrame | None:
        """The night's table of scores, or None."""
        return self._read_table(self._layout.scores(night))

    def write_scores(self, night: date, table: pd.DataFrame) -> None:
        """Keep the night's table of scores."""
        self._store.write(self._layout.scores(night), to_parquet(table), _PARQUET)

    def places(self, night: date) -> pd.DataFrame | None:
        """What each place of the night's maps showed, or None."""
        return self._read_table(self._layout.places(night))

    def write_places(self, night: date, table: pd.DataFrame) -> None:
        """Keep what each place of the night's maps showed."""
        self._store.write(self._layout.places(night), to_parquet(table), _PARQUET)

    def record(self, night: date) -> dict[str, Any] | None:
        """What the night's monitoring decided, or None."""
        content = self._store.read_optional(self._layout.night_record(night))
        return None if content is None else json.loads(content)

    def write_record(self, night: date, record: dict[str, Any]) -> None:
        """Keep what the night's monitoring decided."""
        content = json.dumps(record, indent=2, sort_keys=True).encode()
        self._store.write(self._layout.night_record(night), content, _JSON)

    def records_before(self, night: date) -> dict[date, dict[str, Any]]:
        """Records of all earlier nights, oldest first."""
        found = {}
        for info in self._store.list_objects(self._layout.nights):
            name = info.key.removeprefix(self._layout.nights).removesuffix(".json")
            earlier = date.fromisoformat(name)
            if earlier < night:
                found[earlier] = json.loads(self._store.read(info.key).content)
        return dict(sorted(found.items()))

    def resolve(self, night: date, note: str) -> None:
        """Keep a person's word that the world as it was on a night is normal from then on."""
        content = json.dumps({"night": night.isoformat(), "note": note}, indent=2).encode()
        self._store.write(self._layout.resolution(night), content, _JSON)

    def resolved_nights(self, before: date) -> list[date]:
        """Earlier nights that a person resolved, oldest first."""
        prefix = self._layout.resolutions
        nights = (
            date.fromisoformat(info.key.removeprefix(prefix).removesuffix(".json"))
            for info in self._store.list_objects(prefix)
        )
        return sorted(night for night in nights if night < before)

    def write_quarantine_note(self, night: date, row: Mapping[Hashable, Any]) -> None:
        """Keep why an image was set aside; the image itself stays where the factory put it."""
        note = {name: row[name] for name in ("key", "version_id", "sha256", "size_bytes", "reason")}
        key = self._layout.quarantine(night, str(row["key"]))
        self._store.write(key, json.dumps(note, indent=2).encode(), _JSON)

    def review(self, night: date) -> pd.DataFrame:
        """The night's images that wait for a person, with what the person said."""
        table = self._read_table(self._layout.review(night))
        return pd.DataFrame(columns=list(REVIEW_COLUMNS)) if table is None else table

    def ask_for_review(self, night: date, waiting: pd.DataFrame) -> int:
        """Add images to the night's review; what a person already decided stays. How many wait."""
        known = self.review(night)
        new = waiting[~waiting["sha256"].isin(known["sha256"])].assign(decision=WAITING)
        table = pd.concat([known, new[list(REVIEW_COLUMNS)]]) if len(known) else new
        if len(table):
            self.write_review(night, table)
        return int((table["decision"] == WAITING).sum())

    def write_review(self, night: date, table: pd.DataFrame) -> None:
        """Keep a night's review."""
        content = to_parquet(table[list(REVIEW_COLUMNS)])
        self._store.write(self._layout.review(night), content, _PARQUET)

    def _read_table(self, key: str) -> pd.DataFrame | None:
        content = self._store.read_optional(key)
        return None if content is None else pd.read_parquet(io.BytesIO(content))
