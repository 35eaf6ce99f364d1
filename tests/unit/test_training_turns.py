"""Whose training comes next, where many products share the minutes of a night."""

from datetime import date, timedelta

import pytest

from benchmarks.training_turns import simulate
from reconad_plugin.errors import DamagedRecordError
from reconad_plugin.ledger.training_turns import TrainingTurns
from reconad_plugin.ledger.wanted_training import (
    Need,
    WantedTraining,
    change_wanted,
    read_wanted,
)
from reconad_plugin.store.layout import ProductLayout
from tests.fake_s3 import FakeS3, store_of

TONIGHT = date(2026, 3, 20)


def asked(days_ago, need=Need.DUE, minutes=10.0):
    """A training that a dispatcher first saw some nights ago."""
    night = TONIGHT - timedelta(days_ago)
    return WantedTraining(need, TONIGHT.isoformat(), night.isoformat(), minutes).ranked(night)


def chosen(turns):
    """The products that are started one after the other while nothing ends."""
    found = []
    while (product := turns.choose()) is not None:
        turns.start(product)
        found.append(product)
    return found


def test_who_cannot_wait_has_a_head_start_of_seven_nights():
    """What is due waits for a drift of tonight, unless it has waited longer than seven nights."""
    wanted = {
        "a": asked(0),
        "b": asked(8),
        "c": asked(0, Need.DRIFT),
        "d": asked(6),
        "e": None,
        "f": asked(9).done(),
    }

    assert chosen(TrainingTurns(TONIGHT, 1000, wanted)) == ["b", "c", "d", "a"]


def test_minutes_that_a_training_may_last_are_kept_free_for_it():
    """A smaller one takes what is too little for another; unused minutes come back."""
    wanted = {"a": asked(3, minutes=20), "b": asked(2, minutes=20), "c": asked(1, minutes=5)}
    turns = TrainingTurns(TONIGHT, 30, wanted)

    assert chosen(turns) == ["a", "c"]
    turns.end("a", minutes=4.0, is_done=True)
    assert chosen(turns) == ["b"]


def test_a_training_longer_than_a_night_takes_a_whole_one():
    """It does not starve."""
    turns = TrainingTurns(TONIGHT, 30, {"a": asked(3, minutes=90), "b": asked(0)})

    assert chosen(turns) == ["a"]


def test_who_waits_is_told_the_night_of_the_turn():
    """Ten minutes each and thirty a night: three tomorrow, who failed tonight last of them all."""
    wanted = {name: asked(1) for name in "bcde"} | {"a": asked(5, minutes=30)}
    turns = TrainingTurns(TONIGHT, 30, wanted)
    turns.start("a")
    turns.end("a", minutes=30, is_done=False)

    told = {product: note.expected for product, note in turns.expect().items()}

    tomorrow, after, last = (str(TONIGHT + timedelta(n)) for n in (1, 2, 3))
    assert told == {"b": tomorrow, "c": tomorrow, "d": tomorrow, "e": after, "a": last}


def test_a_second_dispatcher_of_a_night_gives_no_second_turn():
    """What was started tonight is at work and has its minutes, until it is seen to end."""
    first = TrainingTurns(TONIGHT, 25, {name: asked(1) for name in "abc"})
    notes = {"a": first.start("a"), "b": asked(1), "c": asked(1)}

    second = TrainingTurns(TONIGHT, 25, notes)

    assert list(second.at_work) == ["a"]
    assert chosen(second) == ["b"]
    assert second.end("a", minutes=3, is_done=False).is_open
    assert chosen(second) == ["c"]


def test_a_training_of_an_earlier_night_is_ended_first():
    """While it is at work nothing is started; one that failed goes behind who asked before."""
    yesterday = TONIGHT - timedelta(1)
    wanted = {name: asked(4).started(yesterday) for name in "abc"} | {"d": asked(1)}
    turns = TrainingTurns(TONIGHT, 1000, wanted)
    assert turns.unended == dict.fromkeys("abc", yesterday.isoformat())

    turns.leave("a")
    assert not turns.end_earlier("b", is_done=True).is_open
    turns.end_earlier("c", is_done=False)

    assert chosen(turns) == ["d", "c"]


def test_a_drift_of_a_later_night_is_not_answered_by_a_training_before_it():
    """What came of that nobody saw until now; what is merely due is answered by it."""
    yesterday = TONIGHT - timedelta(1)
    drift, due = asked(1, Need.DRIFT).started(yesterday), asked(1).started(yesterday)
    turns = TrainingTurns(TONIGHT, 1000, {"a": drift, "b": due})

    assert turns.end_earlier("a", is_done=True).is_open
    assert not turns.end_earlier("b", is_done=True).is_open

    assert chosen(turns) == ["a"]


def test_a_note_keeps_its_turn_while_it_is_open():
    """Asked again for another reason it keeps since when and its rank; after it is done not."""
    before = asked(4)
    again = WantedTraining(Need.DRIFT, "2026-03-20", "2026-03-20", 5.0)

    kept = again.asked_again(before)

    assert (kept.need, kept.night, kept.minutes) == (Need.DRIFT, "2026-03-20", 5.0)
    assert (kept.since, kept.rank) == (before.since, before.rank)
    assert again.asked_again(before.done()) == again
    assert again.asked_again(None) == again


def test_notes_are_read_back():
    """As they were written; a damaged one is said, and the next note takes its place."""
    layout, store = ProductLayout("gear"), store_of(FakeS3({}))
    note = asked(2, Need.GOLDEN_FLOOR).started(TONIGHT)
    assert read_wanted(store, layout) is None

    change_wanted(store, layout, lambda before: note)
    assert read_wanted(store, layout) == note

    store.write(layout.wanted_training, b"{}", "application/json")
    with pytest.raises(DamagedRecordError, match="next night writes it anew"):
        read_wanted(store, layout)
    change_wanted(store, layout, lambda before: note if before is None else None)
    assert read_wanted(store, layout) == note


@pytest.mark.parametrize("seed", [1, 2])
def test_no_promise_is_broken_over_many_nights(seed):
    """With failures, kills, missing nights and trainings that hang into the next ones."""
    counts = simulate(products=60, nights=150, seed=seed)

    assert counts.broken == 0, counts
    assert counts.trained > 150
    assert counts.failed > 5
    assert counts.told > 30
