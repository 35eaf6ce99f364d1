"""What is damaged of a night counts as if it were not there, and stops no other night."""

import json
from datetime import date
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flows.jobs.night import _kept_cells
from reconad_plugin.errors import DamagedRecordError
from reconad_plugin.ledger.eligibility import Status
from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.ledger import read_ledger
from reconad_plugin.ledger.manifest import (
    accepted_on_other_nights,
    read_manifest,
    to_parquet,
    write_manifest,
)
from reconad_plugin.ledger.night_record import NightRecords
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.watch.cause import DEFECTS, NONE
from tests.fake_s3 import FakeS3, store_of
from tests.night_tables import record
from tests.unit.test_ledger import manifest, scores

LAYOUT = ProductLayout("bolt")
BEFORE, DAMAGED, AFTER = (date(2026, 5, day) for day in (2, 3, 4))
_UNSEEN = {"pixels_sha256": "", "night": "", "matched_score": 0.1, "why": "suspect"}
DAMAGE = [
    pytest.param(b"", id="empty"),
    pytest.param(b"PAR1 not a table", id="another file"),
    pytest.param(b'{"night": "2026-05-03"}', id="other keys"),
    pytest.param(b"\xff\xfe", id="no text"),
]


@pytest.fixture
def bucket():
    """Three nights that the watch has seen; the second was held for defects."""
    fake = FakeS3({})
    store = store_of(fake)
    records = NightRecords(store, LAYOUT)
    for night, cause in ((BEFORE, NONE), (DAMAGED, DEFECTS), (AFTER, NONE)):
        write_manifest(store, LAYOUT, night, manifest(night))
        records.write_scores(night, scores(night))
        records.write_record(night, record(night, cause))
    return fake, store, records


def ledger(store, records):
    """The product's snapshot, founded before these nights."""
    return read_ledger(store, LAYOUT, records, History(founding_until="2026-05-01"))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_vouches_for_nothing(bucket, damage, caplog):
    """Its night was held; without the record it counts as unwatched, so nothing of it is learnt."""
    fake, store, records = bucket
    fake.objects[LAYOUT.night_record(DAMAGED)] = damage

    found = ledger(store, records)

    assert found.status(DAMAGED) is Status.UNWATCHED
    assert set(found.training_images(0.02)["night"]) == {"2026-05-02", "2026-05-04"}
    assert [each.night for each in found.baseline(AFTER).nights] == ["2026-05-02"]
    assert found.last_record(before=AFTER).night == "2026-05-02"
    assert "s3://factory/bolt/_reconad/nights/2026-05-03.json is not" in caplog.text


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_scores_and_manifests_are_passed_over(bucket, damage, caplog):
    """The other nights are read; the damaged one has no rows, and its own run says what to do."""
    fake, store, records = bucket
    fake.objects[LAYOUT.manifest(DAMAGED)] = damage
    fake.objects[LAYOUT.scores(BEFORE)] = damage

    found = ledger(store, records)

    assert set(found.training_images(0.02)["night"]) == {"2026-05-04"}
    others = accepted_on_other_nights(store, LAYOUT, AFTER)
    assert set(others["sha256"]) == set(manifest(BEFORE)["sha256"])
    assert caplog.text.count("put it back from a copy, or delete it and run its night again") >= 2
    with pytest.raises(DamagedRecordError, match=r"manifests/2026-05-03\.parquet is not"):
        read_manifest(store, LAYOUT, DAMAGED)


def test_what_a_person_decided_is_never_passed_over(bucket):
    """A damaged review is an error: it may have said that an image is a defect."""
    fake, store, records = bucket
    fake.objects[LAYOUT.review(DAMAGED)] = b"?"

    with pytest.raises(DamagedRecordError, match=r"reviews/2026-05-03\.parquet is not"):
        ledger(store, records).training_images(0.02)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda table: table.drop(columns="decision"), "lacks decision", id="column"),
        pytest.param(lambda table: table[["night"]], "lacks decision, key, ", id="columns"),
        pytest.param(lambda table: table.assign(decision="Defect"), "'Defect'", id="decision"),
    ],
)
def test_a_review_of_another_shape_is_damaged(bucket, change, said):
    """Nothing that it may have called a defect is learnt, and nobody is told to delete it."""
    fake, store, records = bucket
    records.ask_for_review(DAMAGED, scores(DAMAGED).assign(**_UNSEEN))
    whole = pd.read_parquet(BytesIO(fake.objects[LAYOUT.review(DAMAGED)]))
    fake.objects[LAYOUT.review(DAMAGED)] = to_parquet(change(whole))

    with pytest.raises(DamagedRecordError, match=said) as caught:
        ledger(store, records).training_images(0.02)

    assert str(caught.value).endswith("put it back from a copy: it holds what persons decided")


def test_a_review_from_before_its_pixels_were_kept_counts(bucket):
    """It says what it said."""
    fake, store, records = bucket
    records.ask_for_review(BEFORE, scores(BEFORE).assign(**_UNSEEN))
    whole = pd.read_parquet(BytesIO(fake.objects[LAYOUT.review(BEFORE)]))
    fake.objects[LAYOUT.review(BEFORE)] = to_parquet(whole.drop(columns="pixels_sha256"))

    assert set(ledger(store, records).training_images(0.02)["night"]) == {"2026-05-04"}


def test_a_damaged_history_is_put_back_and_not_deleted(bucket):
    """Deleting it would make what a deleted version said trusted again."""
    fake, _, records = bucket
    for damage in (b"?", b'{"founding_until": 5, "versions": []}'):
        fake.objects[LAYOUT.history] = damage

        with pytest.raises(DamagedRecordError, match=r"from a copy; without it, what versions"):
            records.history()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"cause": "defect"}, "the cause 'defect'", id="unknown cause"),
        pytest.param({"cause": None}, "the cause None", id="no cause"),
        pytest.param({"model_version": 1}, "model_version", id="number"),
        pytest.param({"is_alarm": "no"}, "is_alarm", id="text"),
        pytest.param({"since": "yesterday"}, "yesterday", id="no date"),
        pytest.param({"night": "2026-05-02"}, "it is of 2026-05-02", id="another night"),
    ],
)
def test_a_record_with_wrong_values_is_damaged(bucket, change, said):
    """It would else be taken for an ordinary night, or end a later one in a traceback."""
    fake, store, records = bucket
    key = LAYOUT.night_record(DAMAGED)
    kept = json.loads(fake.objects[key])
    fake.objects[key] = json.dumps(kept | change).encode()

    with pytest.raises(DamagedRecordError, match=said):
        records.record(DAMAGED)

    assert ledger(store, records).status(DAMAGED) is Status.UNWATCHED


@pytest.mark.parametrize("column", ["is_suspect", "pred_label", "pred_score", "sha256", "key"])
def test_a_table_of_scores_that_lacks_a_column_vouches_for_nothing(bucket, column):
    """As one that is cut off."""
    fake, store, records = bucket
    fake.objects[LAYOUT.scores(BEFORE)] = to_parquet(scores(BEFORE).drop(columns=column))

    found = ledger(store, records)

    assert found.scores[BEFORE] is None
    assert set(found.training_images(0.02)["night"]) == {"2026-05-04"}


@pytest.mark.parametrize("column", ["key", "sha256", "night", "verdict", "split"])
def test_a_manifest_that_lacks_a_column_is_damaged(bucket, column):
    """None is made up."""
    fake, store, records = bucket
    fake.objects[LAYOUT.manifest(BEFORE)] = to_parquet(manifest(BEFORE).drop(columns=column))

    assert set(ledger(store, records).training_images(0.02)["night"]) == {"2026-05-04"}
    with pytest.raises(DamagedRecordError, match=f"lacks {column}"):
        read_manifest(store, LAYOUT, BEFORE)


@pytest.mark.parametrize("damage", [*DAMAGE, pytest.param(None, id="a column is missing")])
def test_damaged_cells_of_a_night_stop_no_later_one(bucket, damage):
    """What they showed is not known then."""
    fake, _, records = bucket
    cells = pd.DataFrame(
        {"position": [""], "images": [2], "means": [np.ones(4)], "squares": [np.ones(4)]}
    )
    for night in (BEFORE, DAMAGED):
        records.write_cells(night, cells)
    fake.objects[LAYOUT.cells(DAMAGED)] = damage or to_parquet(cells.drop(columns="squares"))
    known = [record(night).statistics for night in (BEFORE, DAMAGED)]

    assert len(_kept_cells(SimpleNamespace(records=records), known)) == 1
