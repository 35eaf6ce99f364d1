"""Which images a training takes where there are more than it can hold."""

import hashlib
from itertools import product

import pandas as pd
import pytest

from reconad_plugin.ledger.coverage import cover_evenly, newest_nights
from reconad_plugin.ledger.splits import CALIBRATION, JUDGE, TRAIN, assign_splits


def images(night: str, position: str, count: int) -> pd.DataFrame:
    """Accepted rows of a night and a position, dealt as ingest does."""
    hashes = [
        hashlib.sha256(f"{night} {position} {number}".encode()).hexdigest()
        for number in range(count)
    ]
    split = assign_splits(hashes, already=0)
    rows = pd.DataFrame({"sha256": hashes, "split": [split[each] for each in hashes]})
    return rows.assign(night=night, position=position, key=rows["sha256"])


def none_of(rows: pd.DataFrame) -> pd.Series:
    """Nobody released any."""
    return pd.Series(False, index=rows.index)


@pytest.fixture
def rows() -> pd.DataFrame:
    """Three nights of two positions, one of which has few pictures, and one night with many."""
    counts = {("1", "left"): 100, ("1", "right"): 20, ("2", "left"): 1000, ("3", "left"): 100}
    tables = [images(*cell, count) for cell, count in counts.items()]
    return pd.concat(tables, ignore_index=True)


def test_few_images_are_all_taken(rows):
    """Nothing is left out that a training can hold."""
    pd.testing.assert_frame_equal(cover_evenly(rows, none_of(rows), len(rows)), rows)


def test_each_night_and_position_gives_as_many(rows):
    """Those that have no more give all; each split has its share."""
    chosen = cover_evenly(rows, none_of(rows), 200)

    counts = chosen.groupby(["split", "night", "position"]).size().to_dict()
    assert chosen["split"].value_counts().to_dict() == {TRAIN: 120, CALIBRATION: 40, JUDGE: 40}
    for split, few, many in ((TRAIN, 12, 36), (CALIBRATION, 4, 12), (JUDGE, 4, 12)):
        assert counts.pop((split, "1", "right")) == few
        for cell in product([split], "123", ["left"]):
            assert counts.pop(cell) == many
    assert not counts
    assert chosen.index.is_monotonic_increasing


def test_a_new_night_leaves_most_of_the_choice(rows):
    """An image is not dropped and taken anew from night to night."""
    before = cover_evenly(rows, none_of(rows), 200)
    more = pd.concat([rows, images("4", "left", 100)], ignore_index=True)

    after = cover_evenly(more, none_of(more), 200)

    older = after[after["night"] < "4"]
    assert set(older["sha256"]) < set(before["sha256"])
    assert (after["night"] == "4").any()


def test_what_a_person_released_trains_first_and_calibrates_as_any_other(rows):
    """It says what no other image says; but it scores high, and would lift the threshold."""
    is_released = (rows["night"] == "2") & (rows["sha256"] > "c")

    chosen = cover_evenly(rows, is_released, 300)
    others = cover_evenly(rows, none_of(rows), 300)

    train = chosen[chosen["split"] == TRAIN]
    assert is_released[train.index].sum() == min(
        180, (is_released & (rows["split"] == TRAIN)).sum()
    )
    for split in (CALIBRATION, JUDGE):
        of_split = chosen[chosen["split"] == split]
        assert of_split.equals(others[others["split"] == split])


def test_the_newest_nights_are_those_that_have_images(rows):
    """A pause of the line makes no night old; 0 keeps all."""
    assert set(newest_nights(rows, 2)["night"]) == {"2", "3"}
    assert newest_nights(rows, 0).equals(rows)
    assert newest_nights(rows, 7).equals(rows)
    assert newest_nights(rows[:0], 2).empty
