"""The same position of the camera on an ordinary night, to hold an image against."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Final

import pandas as pd

from monitoring.review_page.product import ReviewedProduct
from reconad_plugin.ledger.eligibility import TABLE, Use, Which, normal_images, status_of
from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.manifest import accepted_rows, known_nights, read_manifest
from reconad_plugin.ledger.night_record import NORMAL, is_one_of
from reconad_plugin.ledger.read_back import unless_damaged

LOOKED_BACK_NIGHTS: Final = 30
_COLUMNS: Final = ("key", "sha256", "pixels_sha256", "position", "matched_score")


@dataclass(frozen=True)
class OrdinaryImage:
    """A normal image of an ordinary night, or of one that the owner vouches for."""

    night: date
    sha256: str


def find_ordinary(product: ReviewedProduct, night: date) -> dict[str, OrdinaryImage]:
    """Find a normal image of each camera position, of the newest night before another that has one.

    Of a night's images at a position it is the one whose score lies in the middle. One that
    waits for a person, or is a defect by somebody's word, is none.
    """
    history = product.records.history() or History()
    nights = known_nights(product.store, product.layout, before=night)
    found: dict[str, OrdinaryImage] = {}
    newest = nights[: -LOOKED_BACK_NIGHTS - 1 : -1]
    with ThreadPoolExecutor() as threads:  # reading waits on the network
        read = threads.map(lambda earlier: _normal_images(product, earlier, history), newest)
        for images in read:
            found = {**images, **found}
    return found


def _normal_images(
    product: ReviewedProduct, night: date, history: History
) -> dict[str, OrdinaryImage]:
    """Choose an image of each position of one night; none where the night is not ordinary,
    or its review is damaged."""
    record = unless_damaged(partial(product.records.record, night))
    review = unless_damaged(partial(product.records.review, night))
    status = status_of(night.isoformat(), record, history)
    if review is None:  # nobody knows what persons said of its images
        return {}
    which = TABLE[status, Use.EXAMPLE]
    if which is Which.NONE:
        return {}
    table = _scored(product, night) if which is Which.NORMAL else _taken_in(product, night)
    table = table[~is_one_of(table, review[review["decision"] != NORMAL])]
    ordered = table.sort_values(["matched_score", "sha256"]).groupby("position")["sha256"]
    return {
        str(position): OrdinaryImage(night, str(images.iloc[len(images) // 2]))
        for position, images in ordered
    }


def _scored(product: ReviewedProduct, night: date) -> pd.DataFrame:
    """Return a night's images that are below their thresholds."""
    table = unless_damaged(partial(product.records.scores, night))
    if table is None:
        return pd.DataFrame(columns=list(_COLUMNS))
    return table[normal_images(table)].reindex(columns=list(_COLUMNS)).fillna({"position": ""})


def _taken_in(product: ReviewedProduct, night: date) -> pd.DataFrame:
    """Return a night's accepted images, which no version has scored."""
    manifest = unless_damaged(partial(read_manifest, product.store, product.layout, night))
    rows = accepted_rows([] if manifest is None else [manifest])
    return rows.assign(matched_score=0.0)[list(_COLUMNS)]
