"""The table itself: an answer for every status and use, and the documentation that shows it."""

from pathlib import Path

import pandas as pd
import pytest

from reconad_plugin.ledger.eligibility import (
    TABLE,
    Status,
    Use,
    Which,
    allows,
    waiting_images,
)
from tests.doc_tables import eligibility_table

DOCS = Path(__file__).parents[2] / "docs"


def test_table_answers_every_question():
    """Each status has an answer for each use, and none that belongs to another kind of use."""
    assert set(TABLE) == {(status, use) for status in Status for use in Use}
    of_nights = {Which.NONE, Which.ALL, Which.ALL_ONCE_ACCEPTED}
    for (_, use), which in TABLE.items():
        assert (which in of_nights) or use not in (Use.SET_LEVEL, Use.COUNT_SUSPECTS, Use.REFERENCE)


def test_only_accepted_alarms_set_a_level():
    """An alarm's night sets a level once a version or a person accepted it; nothing else does."""
    assert allows(Status.ORDINARY, Use.SET_LEVEL)
    assert not allows(Status.LIGHT, Use.SET_LEVEL)
    assert allows(Status.LIGHT, Use.SET_LEVEL, is_accepted=True)
    assert not allows(Status.UNWATCHED, Use.SET_LEVEL, is_accepted=True)
    assert not allows(Status.ROLLED_BACK, Use.REFERENCE, is_accepted=True)
    assert not allows(Status.LIGHT, Use.COUNT_SUSPECTS, is_accepted=True)


@pytest.mark.parametrize(
    ("status", "waiting"),
    [
        pytest.param(Status.HELD, "abcd", id="held: all"),
        pytest.param(Status.LIGHT, "cd", id="light: suspects"),
        pytest.param(Status.ORDINARY, "bcd", id="ordinary: whatever is not normal"),
        pytest.param(Status.PROCESS, "bcd", id="process: whatever is not normal"),
        pytest.param(Status.FOUNDING, "a", id="founding: whatever stands out"),
    ],
)
def test_what_waits_for_a_person(status, waiting):
    """By the status of its night and by its scores; nothing that came after the night closed."""
    table = pd.DataFrame(
        {
            "sha256": list("abcde"),
            "pred_label": [False, True, False, True, True],
            "is_suspect": [False, False, True, True, True],
            "is_outlier": [True, False, False, False, True],
            "split": ["train", "train", "judge", "calibration", ""],
        }
    )

    assert "".join(table.loc[waiting_images(table, status), "sha256"]) == waiting


def test_documentation_shows_the_table():
    """The page has the table as the code has it."""
    assert eligibility_table() in (DOCS / "eligibility.md").read_text(encoding="utf-8")
