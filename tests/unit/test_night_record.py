"""The record of a night: read and written in one place."""

import json

import pytest

from reconad_plugin.ledger.night_record import NightRecord
from reconad_plugin.watch.results import ContrastCheck, CountCheck
from tests.night_tables import GOLDEN, record

COUNT = CountCheck(above=9, images=40, expected_share=0.01, chance=1e-6, limit=1e-4)
CONTRAST = ContrastCheck(above=4, images=40, expected_share=0.01, chance=0.02, limit=1e-4)
KEYS = {
    "night", "model_version", "is_alarm", "is_raised", "is_new", "since", "cause", "also",
    "evidence", "is_learning", "is_holding", "statistics", "checks", "counts",
    "expected_false_alarms", "camera_faults", "golden",
}  # fmt: skip


def test_a_record_is_read_back_equal():
    """What is written of a night is what later nights read."""
    written = record(
        cause="defects",
        also=("light",),
        since="2026-03-01",
        above_threshold=COUNT,
        suspects=COUNT,
        contrast=CONTRAST,
        expected_false_alarms=0.8,
        golden=GOLDEN,
    )

    assert NightRecord.from_json(written.to_json()) == written


def test_the_keys_of_a_record_stay():
    """Other programs read the file."""
    content = record(cause="light", suspects=COUNT, above_threshold=COUNT, contrast=CONTRAST)

    kept = json.loads(content.to_json())

    assert set(kept) == KEYS
    assert list(kept) == sorted(KEYS)
    assert set(kept["counts"]) == {"alarming", "suspects", "outliers"}
    assert set(kept["counts"]["outliers"]) == {
        "above", "images", "expected_share", "chance", "limit",
    }  # fmt: skip
    assert set(kept["checks"]["luminance"]) == {
        "statistic", "value", "expected", "effect", "score", "average", "jump_limit",
        "average_limit", "is_alarm",
    }  # fmt: skip


def test_a_record_of_before_the_golden_set_was_followed_is_read():
    """It has no such key."""
    kept = json.loads(record().to_json())
    del kept["golden"]

    assert NightRecord.from_json(json.dumps(kept).encode()) == record()


@pytest.mark.parametrize(
    ("since", "nights"), [(None, 1), ("2026-03-05", 1), ("2026-03-03", 3)], ids=str
)
def test_an_alarm_is_open_from_the_night_it_began(since, nights):
    """Tonight counts."""
    assert record(cause="light", since=since).open_nights == nights


def test_no_alarm_is_open_for_no_night():
    """Whatever else the record says."""
    assert record(since="2026-03-03").open_nights == 0
