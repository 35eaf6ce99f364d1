"""What became of a product's versions does not hang on what the registry still has."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconad_plugin.ledger.history import History, VersionFacts

FIRST = VersionFacts("1", "run1", "2026-05-01", "train", "none", "promoted", True, "2026-05-01")
LIGHT = VersionFacts("2", "run2", "2026-05-04", "finetune", "light", "promoted", True, "2026-05-04")
REFUSED = VersionFacts("3", "run3", "2026-05-06", "train", "none", "rejected")


def test_nothing_is_known_before_a_version_has_served():
    """A version that was refused founds nothing."""
    assert History().founding_until is None
    assert History().updated([REFUSED]).founding_until is None
    assert not History().is_closed(date(2026, 1, 1))


def test_first_version_that_served_closes_its_nights():
    """Up to its night images are normal on the owner's word, later ones are not."""
    history = History().updated([FIRST, LIGHT])

    assert history.founding_until == "2026-05-01"
    assert history.is_closed(date(2026, 5, 1))
    assert not history.is_closed(date(2026, 5, 2))


@given(st.sets(st.sampled_from([FIRST, LIGHT, REFUSED])))
def test_what_is_deleted_in_the_registry_changes_nothing(left):
    """Whatever somebody deletes there, the facts stay as they were last seen."""
    bad = replace(LIGHT, state="rolled_back", rolled_back_night="2026-05-05")
    for second in (LIGHT, bad):
        history = History().updated([FIRST, second, REFUSED])
        still_there = [second if each == LIGHT else each for each in left]

        assert history.updated(still_there) == history
        assert History.from_json(history.to_json()).updated(still_there) == history


def test_number_that_is_given_again_forgives_nothing():
    """Where a registered model was deleted and made anew, numbers begin again: the versions of
    that number that were rolled back still vouch for nothing."""
    bad = replace(LIGHT, rolled_back_night="2026-05-05")
    history = History().updated([FIRST, bad])

    anew = history.updated([replace(FIRST, run_id="other"), replace(LIGHT, run_id="another")])

    assert anew.rolled_back == {"2"}
    assert anew.founding_until == "2026-05-01"


def test_version_that_a_person_puts_back_counts_again():
    """The registry's newest word on a version that is there holds."""
    bad = replace(LIGHT, rolled_back_night="2026-05-05")

    assert History().updated([FIRST, bad]).updated([FIRST, LIGHT]).rolled_back == frozenset()


def test_first_version_stays_the_first():
    """An older version that a person lets serve later moves no border."""
    history = History().updated([replace(REFUSED, number="1"), replace(FIRST, number="2")])

    later = history.updated([replace(REFUSED, number="1", has_served=True)])

    assert history.founding_until == later.founding_until == "2026-05-01"


@pytest.mark.parametrize(
    ("version", "before", "nights"),
    [
        pytest.param(LIGHT, "2026-05-05", {"2026-05-04"}, id="promoted before"),
        pytest.param(LIGHT, "2026-05-04", set(), id="promoted that night"),
        pytest.param(replace(LIGHT, promoted_night=None), "2026-06-01", set(), id="refused"),
        pytest.param(
            replace(LIGHT, rolled_back_night="2026-05-06"), "2026-06-01", set(), id="rolled back"
        ),
        pytest.param(FIRST, "2026-06-01", set(), id="trained from scratch"),
        pytest.param(replace(LIGHT, night=""), "2026-06-01", set(), id="made by hand"),
    ],
)
def test_world_is_new_from_the_night_a_version_was_promoted_for(version, before, nights):
    """Only a fine-tuned version that serves, or served and was not rolled back, makes it so."""
    assert History((version,)).adapted_nights(before) == nights


def test_newest_judged_version_of_a_night_is_found():
    """For the same cause; one that nobody judged yet is none."""
    again = replace(LIGHT, number="4", state="rejected")
    waiting = replace(LIGHT, number="5", state=None)
    history = History((FIRST, LIGHT, again, waiting))

    assert history.finetuned("2026-05-04", "light") == again
    assert history.finetuned("2026-05-04", "process") is None
    assert history.finetuned("2026-05-01", "none") is None


def test_last_training_before_a_night():
    """A version made by hand belongs to no night."""
    history = History((FIRST, LIGHT, replace(REFUSED, night="")))

    assert history.last_trained("2026-05-04") == "2026-05-01"
    assert history.last_trained("2026-05-05") == "2026-05-04"
    assert history.last_trained("2026-05-01") is None
