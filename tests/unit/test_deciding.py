"""What persons decide on images that wait: nobody's word is overwritten unseen."""

from datetime import date

import pandas as pd
import pytest

from reconad_plugin.errors import ConfigError, ObjectChangedError
from reconad_plugin.ledger.deciding import (
    Decision,
    check_defect,
    check_person,
    decide,
    left,
    marks,
)
from reconad_plugin.ledger.manifest import to_parquet
from reconad_plugin.ledger.night_record import (
    DEFECT,
    NORMAL,
    REVIEW_COLUMNS,
    SAID_BY_PERSONS,
    WAITING,
    NightRecords,
)
from reconad_plugin.store.layout import ProductLayout
from tests.fake_s3 import FakeS3, store_of

NIGHT = date(2026, 5, 4)
LAYOUT = ProductLayout("bolt")
BY_ANA = Decision(DEFECT, "Ana", "2026-05-05T06:00:00+00:00", "pit")
BY_BEN = Decision(NORMAL, "Ben", "2026-05-05T06:00:01+00:00")


def waiting(*hashes):
    """Rows of a review that nobody has decided on."""
    table = pd.DataFrame({"key": [f"bolt/{each}" for each in hashes], "sha256": hashes})
    facts = {"pixels_sha256": "", "night": "2026-05-04", "pred_score": 1.0, "matched_score": 1.0}
    table = table.assign(**facts, why="suspect", decision=WAITING)
    return table.assign(**dict.fromkeys(SAID_BY_PERSONS, ""))[list(REVIEW_COLUMNS)]


def seen(review):
    """What a person sees of all images."""
    return dict(zip(review["sha256"], marks(review), strict=True))


@pytest.fixture
def kept():
    """A bucket with a review of two images, and what is kept in it."""
    fake = FakeS3({LAYOUT.review(NIGHT): to_parquet(waiting("a", "b"))})
    return fake, NightRecords(store_of(fake), LAYOUT)


def test_what_was_decided_meanwhile_stays():
    """Ana and Ben look at the same image; Ana is faster, and Ben is told of it alone."""
    before = waiting("a", "b")
    by_ana = decide(before, BY_ANA, {"a": seen(before)["a"]})

    after = decide(by_ana, BY_BEN, seen(before))

    assert after.set_index("sha256")["decision"].to_dict() == {"a": DEFECT, "b": NORMAL}
    assert left(after, BY_BEN, seen(before))["sha256"].tolist() == ["a"]
    assert after.loc[0, list(SAID_BY_PERSONS)].tolist() == ["pit", "Ana", BY_ANA.at]


def test_a_decision_that_is_there_already_is_not_lost():
    """A store that took it and did not answer is asked again."""
    before = waiting("a")
    after = decide(before, BY_ANA, seen(before))

    again = decide(after, BY_ANA, seen(before))

    assert left(again, BY_ANA, seen(before)).empty
    assert again.equals(after)


def test_what_is_taken_back_waits_again():
    """Its defect has no name any more, and it says who took it back."""
    before = decide(waiting("a"), BY_ANA, seen(waiting("a")))

    after = decide(before, Decision(WAITING, "Ben", "later"), seen(before))

    assert after.loc[0, ["decision", *SAID_BY_PERSONS]].tolist() == [WAITING, "", "Ben", "later"]


def test_two_who_write_at_once_are_both_kept(kept):
    """Between reading and writing somebody else wrote: theirs is read, and added to."""
    _, records = kept
    marked = seen(records.review(NIGHT))

    def change(review):
        if not others:
            others.append(1)
            records.change_review(NIGHT, lambda table: decide(table, BY_BEN, {"b": marked["b"]}))
        return decide(review, BY_ANA, {"a": marked["a"]})

    others = []
    records.change_review(NIGHT, change)

    assert records.review(NIGHT)["by"].tolist() == ["Ana", "Ben"]


def test_a_review_that_is_never_still_is_an_error(kept):
    """Nothing is written over what was not seen."""
    fake, records = kept

    def change(review):
        fake.objects[LAYOUT.review(NIGHT)] = to_parquet(waiting(*"ab", f"c{len(tries)}"))
        tries.append(1)
        return review

    tries = []
    with pytest.raises(ObjectChangedError, match="somebody else wrote it meanwhile"):
        records.change_review(NIGHT, change)

    assert len(tries) == 5


def test_a_review_from_before_persons_had_names_is_read(kept):
    """Its decisions are nobody's."""
    fake, records = kept
    old = waiting("a").drop(columns=list(SAID_BY_PERSONS)).assign(decision=DEFECT)
    fake.objects[LAYOUT.review(NIGHT)] = to_parquet(old)

    review = records.review(NIGHT)

    assert review.loc[0, ["decision", *SAID_BY_PERSONS]].tolist() == [DEFECT, "", "", ""]


@pytest.mark.parametrize(
    ("check", "name", "said"),
    [
        pytest.param(check_person, "  ", "got none: write yours first", id="nobody"),
        pytest.param(check_person, "a" * 61, "at most 60 characters", id="long"),
        pytest.param(check_defect, "a\x00b", r"'a\\x00b': choose", id="control character"),
        pytest.param(check_defect, "a/b", "no slash", id="folder"),
        pytest.param(check_defect, "Normal", "none of masks, normal, simulated", id="reserved"),
        pytest.param(check_defect, "..", "begin with no dot", id="dots"),
    ],
)
def test_names_are_bounded(check, name, said):
    """A name is shown everywhere, and may name a folder."""
    with pytest.raises(ConfigError, match=said):
        check(name)


def test_names_have_no_spaces_around_them():
    """Nor two in a row."""
    assert check_defect("  deep   scratch ") == "deep scratch"
    assert check_defect("") == ""
