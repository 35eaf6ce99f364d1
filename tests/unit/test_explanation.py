"""What the watch saw, in the words of whoever stands at the line."""

import pytest

from reconad_plugin.watch.cause import ADVICE, CAUSES
from reconad_plugin.watch.explanation import (
    STATISTIC_WORDS,
    describe_moves,
    in_sentences,
    usually,
    value_of,
)
from reconad_plugin.watch.results import StatisticCheck
from reconad_plugin.watch.statistics import STATISTICS


def check(statistic="luminance", value=0.3, expected=0.42, effect=-6.0, score=-6.0, average=-1.0):
    return StatisticCheck(statistic, value, expected, effect, score, average, 4.1, 3.9)


def test_every_statistic_and_every_cause_has_its_words():
    """Nothing is named to a person as it is in the code."""
    assert set(STATISTIC_WORDS) == set(STATISTICS)
    assert set(ADVICE) == set(CAUSES)
    names = [words.name for words in STATISTIC_WORDS.values()]
    assert len(set(names)) == len(names)
    assert not any("_" in name for name in names)


@pytest.mark.parametrize("statistic", [pytest.param(name, id=name) for name in STATISTICS])
def test_each_direction_has_its_own_words(statistic):
    """Up and down read differently, and both as a sentence."""
    up = describe_moves([check(statistic, 0.5, effect=6.0, score=6.0)])
    down = describe_moves([check(statistic)])

    assert up.startswith(f"the pictures {STATISTIC_WORDS[statistic].higher} than on other nights (")
    assert down.startswith(f"the pictures {STATISTIC_WORDS[statistic].lower} than on other nights")
    assert up.endswith(": 6.0 deviations up)")
    assert down.endswith(": 6.0 deviations down)")


@pytest.mark.parametrize(
    ("value", "expected", "words"),
    [
        (0.3904, 0.4891, "0.390, usually 0.489"),
        (0.4, 0.4004, "0.40000, usually 0.40040"),
        (0.9, 0.1, "0.90, usually 0.10"),
        (480_000, 960_000, "480000, usually 960000"),
        (0.5, 0.5, "0.500, usually 0.500"),
    ],
)
def test_a_number_is_told_from_what_it_usually_is(value, expected, words):
    """As many decimals as that takes."""
    assert usually(value, expected) == words


def test_a_logarithm_is_read_as_the_number_itself():
    """Pixels are counted in twos; brightness is none."""
    assert value_of("resolution", 10.0) == 1024
    assert value_of("luminance", 0.4) == 0.4


def test_three_statistics_are_named_the_farthest_first():
    """More than three in a sentence are not read."""
    effects = {"luminance": -5.0, "sharpness": -9.0, "noise": -7.0, "resolution": -6.0}
    moved = [check(name, effect=effect) for name, effect in effects.items()]

    said = describe_moves(moved)

    places = [said.index(words) for words in ("less sharp", "less noisy", "fewer pixels")]
    assert places == sorted(places)
    assert said.count("than on other nights") == 1
    assert "darker" not in said


def test_a_slow_shift_is_said_to_be_one():
    """Its direction is that of the nights up to now, wherever tonight happens to lie."""
    slow = check(value=0.43, effect=0.4, score=0.2, average=-5.0)

    assert describe_moves([slow]).startswith("the pictures are darker over the last nights (")


def test_parts_become_sentences():
    """Each begins with a capital and ends with one full stop; an empty one is none."""
    assert in_sentences("look", "", "at it.") == "Look. At it."
