"""What is damaged of a night counts as if it were not there, and stops no other night."""

from datetime import date

import pytest

from reconad_plugin.errors import DamagedRecordError
from reconad_plugin.ledger.eligibility import Status
from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.ledger import read_ledger
from reconad_plugin.ledger.manifest import accepted_on_other_nights, read_manifest, write_manifest
from reconad_plugin.ledger.night_record import NightRecords
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.watch.cause import DEFECTS, NONE
from tests.fake_s3 import FakeS3, store_of
from tests.night_tables import record
from tests.unit.test_ledger import manifest, scores

LAYOUT = ProductLayout("bolt")
BEFORE, DAMAGED, AFTER = (date(2026, 5, day) for day in (2, 3, 4))
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
