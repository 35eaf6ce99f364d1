"""What the questions of the golden master share: unwritten records, and short answers."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from flows.jobs.product import Product, open_product
from reconad_plugin.ledger.night_record import NightRecords

Json = dict[str, Any]


class ReachedError(Exception):
    """Raised in place of what would follow a decision."""

    def __init__(self, found: Any) -> None:
        super().__init__(found)
        self.found = found


def opened(name: str) -> Product:
    product = open_product(name)
    return replace(product, records=Unwritten(product))


class Unwritten(NightRecords):
    """The records of a product; what is written is kept here in place of the bucket."""

    def __init__(self, product: Product) -> None:
        super().__init__(product.store, product.layout)
        self.asked_for = pd.DataFrame({"key": [], "night": [], "why": [], "decision": []})

    def write_scores(self, *_: Any) -> None: ...

    def write_cells(self, *_: Any) -> None: ...

    def write_history(self, *_: Any) -> None: ...

    def write_record(self, *_: Any) -> None: ...

    def change_review(self, night: date, change: Callable[..., pd.DataFrame]) -> pd.DataFrame:
        self.asked_for = change(self.review(night))
        return self.asked_for


def reviewed(table: pd.DataFrame) -> Json:
    """Decision -> why it is asked for -> images."""
    return {
        decision: {why: _names(same["key"]) for why, same in rows.groupby("why")}
        for decision, rows in table.groupby("decision")
    }


def by_night_and_split(rows: pd.DataFrame) -> Json:
    """Night -> split -> images."""
    return {
        night: {split: _names(same["key"]) for split, same in of_night.groupby("split")}
        for night, of_night in rows.groupby("night")
    }


def _names(keys: Iterable[str]) -> str:
    """Names of files in one line."""
    return " ".join(sorted(PurePosixPath(key).stem for key in keys))


def reach(found: Any) -> None:
    raise ReachedError(found)


def nothing(*_: Any, **__: Any) -> None:
    return None
