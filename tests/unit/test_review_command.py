"""``reconad review``: what it decides on, over a bucket in memory."""

from datetime import date
from types import SimpleNamespace

import pandas as pd
import pytest

from flows.commands import review
from reconad_plugin.ledger.deciding import Decision
from reconad_plugin.ledger.manifest import to_parquet
from reconad_plugin.ledger.night_record import DEFECT, NORMAL, REVIEW_COLUMNS, WAITING, NightRecords
from reconad_plugin.store.golden_notes import GoldenNote, note_golden, read_golden_notes
from reconad_plugin.store.layout import ProductLayout
from tests.fake_s3 import FakeS3, store_of

NIGHT = date(2026, 5, 4)
LAYOUT = ProductLayout("bolt")
BY_BEN = Decision(NORMAL, "Ben", "2026-05-05T06:00:01+00:00")


@pytest.fixture
def product(monkeypatch):
    """A night with a defect by Ana's word, and two images that wait."""
    table = pd.DataFrame(
        {
            "key": ["a", "b", "c"],
            "sha256": ["a", "b", "c"],
            "decision": [DEFECT, WAITING, WAITING],
            "defect": ["pit", "", ""],
            "by": ["Ana", "", ""],
        }
    )
    facts = {"pixels_sha256": "", "night": "2026-05-04", "pred_score": 1.0, "matched_score": 1.0}
    table = table.assign(**facts, why="suspect", at="")[list(REVIEW_COLUMNS)]
    store = store_of(FakeS3({LAYOUT.review(NIGHT): to_parquet(table)}))
    records = NightRecords(store, LAYOUT)
    opened = SimpleNamespace(name="bolt", store=store, layout=LAYOUT, records=records)
    monkeypatch.setattr(review, "open_product", lambda _: opened)
    return opened


def test_all_are_those_that_wait(product):
    """What somebody decided stays, unless its key is named."""
    review.review_night("bolt", NIGHT, ["all"], BY_BEN)
    of_all = product.records.review(NIGHT)
    review.review_night("bolt", NIGHT, ["a"], BY_BEN)
    of_one = product.records.review(NIGHT)

    assert of_all["by"].tolist() == ["Ana", "Ben", "Ben"]
    assert of_all["decision"].tolist() == [DEFECT, NORMAL, NORMAL]
    assert of_one["by"].tolist() == ["Ben", "Ben", "Ben"]


def test_the_golden_set_follows_what_was_decided(product):
    """An image that is no defect any more leaves it; what was not decided on stays in."""
    notes = [GoldenNote(each, "", each, "pit", True, "Ana", "") for each in ("a", "b")]
    note_golden(product.store, LAYOUT, notes)

    review.review_night("bolt", NIGHT, ["all"], BY_BEN)

    stays, left = read_golden_notes(product.store, LAYOUT)
    assert stays == notes[0]
    assert (left.sha256, left.is_golden, left.by) == ("b", False, "Ben")
