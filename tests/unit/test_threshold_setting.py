"""What a person sets as a threshold is checked, kept whole, and read back."""

from dataclasses import replace

import pytest

from reconad_plugin.errors import ConfigError, ModelFormatError
from reconad_plugin.ledger.threshold_setting import (
    MOST_CHARACTERS,
    MOST_SETTINGS,
    ThresholdSetting,
    in_force,
    read_settings,
    write_settings,
)

SETTING = ThresholdSetting(0.7, "Ana", "glare on the left edge", "2026-05-01T06:00:00+00:00")


def test_all_that_was_set_stays_and_the_last_holds():
    """Back to the calibrated one is a setting, too."""
    back = replace(SETTING, threshold=None, why="the lamp is new")

    first = read_settings(write_settings([], SETTING), "version 3")
    both = read_settings(write_settings(first, back), "version 3")

    assert both == (SETTING, back)
    assert [in_force(each) for each in ((), first, both)] == [None, 0.7, None]
    assert "0.7, by Ana on" in str(SETTING)
    assert "the calibrated one, by Ana" in str(back)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"threshold": 0.0}, "above 0", id="nothing is normal"),
        pytest.param({"threshold": float("nan")}, "above 0", id="no number"),
        pytest.param({"threshold": float("inf")}, "above 0", id="all is normal"),
        pytest.param({"by": " "}, "the name of the person", id="nobody"),
        pytest.param({"why": ""}, "needs its reason", id="no reason"),
        pytest.param({"why": "x" * 201}, "needs its reason", id="a long reason"),
        pytest.param({"why": "a\x1b[2Jb"}, "needs its reason", id="unprintable"),
    ],
)
def test_a_setting_that_breaks_a_rule_is_refused(change, said):
    """The rule is said."""
    with pytest.raises(ConfigError, match=said):
        replace(SETTING, **change).check()


def test_spaces_are_tidied():
    """Around the name and within the reason."""
    tidy = replace(SETTING, by=" Ana ", why="glare \n on the  left edge").check()

    assert tidy == SETTING


@pytest.mark.parametrize(
    "text",
    [
        "", "7", "[1]", '[{"threshold": "high", "by": "", "why": "", "at": ""}]', "[{}]",
        '[{"threshold": -1.0, "by": "", "why": "", "at": ""}]',
        '[{"threshold": NaN, "by": "", "why": "", "at": ""}]',
    ],
)  # fmt: skip
def test_what_is_damaged_is_no_threshold(text):
    """It is refused, and what to do is said."""
    with pytest.raises(ModelFormatError, match=r"set on version 3 .* its tag reconad\.threshold"):
        read_settings(text, "version 3")


def test_there_is_room_for_so_many():
    """And the one that has none says so."""
    with pytest.raises(ConfigError, match="up to 100"):
        write_settings([SETTING] * MOST_SETTINGS, SETTING)
    long = replace(SETTING, by="я" * 60, why="ж" * 200)
    assert len(write_settings([long] * (MOST_SETTINGS - 1), long)) < MOST_CHARACTERS
    with pytest.raises(ConfigError, match="give a shorter reason"):
        write_settings([replace(long, why="ж" * MOST_CHARACTERS)], long)
