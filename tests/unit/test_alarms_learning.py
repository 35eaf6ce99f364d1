"""The watch over nights: what of them it learns as ordinary."""

from dataclasses import replace

import numpy as np
import pytest

from reconad_plugin.watch.statistics import Exceedances, Outliers
from tests.nights import check, name_of, night, quiet, series, watch

SCORE = "log_score"


def test_alarmed_nights_teach_nothing():
    """A night that is not ordinary moves neither the level nor how nights differ."""
    nights = series([*quiet(9, 10), 0.9, *quiet(10, 12)])
    ordinary = {past.night for past in nights} - {name_of(10)}

    with_it = watch(nights, ordinary=ordinary)
    without = watch(nights[:10] + nights[11:])
    learnt = watch(nights)

    one, other = with_it.checks["luminance"], without.checks["luminance"]
    assert one.expected == pytest.approx(other.expected)
    assert one.score == pytest.approx(other.score)
    np.testing.assert_allclose(with_it.autocorrelation, without.autocorrelation)
    assert learnt.checks["luminance"].expected > one.expected + 0.01


def test_only_ordinary_nights_are_drawn_again():
    """The scores that false alarms are reckoned from are those of ordinary nights."""
    nights = series([*quiet(9, 20), 0.9, *quiet(10, 5)])
    ordinary = {past.night for past in nights[:-1]} - {name_of(20)}

    found = watch(nights, ordinary=ordinary)

    assert found.ordinary_scores.shape == (24, 1)
    assert np.nanmax(np.abs(found.ordinary_scores)) < 5
    assert np.nanmax(np.abs(watch(nights).ordinary_scores)) > 5


def test_new_level_is_accepted():
    """After a night from which a new level holds, nights at that level are ordinary."""
    nights = series([*quiet(11, 20), *quiet(12, 6, mean=0.3)])
    before = {past.night for past in nights[:20]}

    assert check(nights[:21], ordinary=before)["luminance"].is_alarm
    ordinary = before | {past.night for past in nights[21:]}  # the alarmed one is not
    for last in range(21, 26):
        found = check(nights[: last + 1], ordinary=ordinary, new_levels={name_of(20)})
        assert not found["luminance"].is_alarm
        assert found["luminance"].expected == pytest.approx(0.3, abs=0.02)
        refused = check(nights[: last + 1], ordinary=before)
        assert refused["luminance"].is_alarm


def test_night_of_a_new_level_is_learnt_though_it_was_alarmed():
    """The night that a version was tuned for is the first of the new level, and is tested by."""
    nights = series([*quiet(17, 10), 0.3, 0.3])
    ordinary = {past.night for past in nights[:10]}

    found = check(nights, ordinary=ordinary, new_levels={name_of(10)})["luminance"]

    assert found.expected == pytest.approx(0.3)
    assert found.score == pytest.approx(0)


def test_old_level_is_an_alarm_after_a_new_one():
    """When the light goes back after a new level was learnt, that is a change too."""
    nights = series([*quiet(15, 20), *quiet(16, 5, mean=0.3), 0.4])

    assert check(nights, new_levels={name_of(20)})["luminance"].is_jump


def test_average_starts_anew_with_a_new_level():
    """Scores against the old level do not weigh on the nights of the new one."""
    nights = series([*quiet(25, 12), *[0.2] * 3, 0.21])

    found = check(nights, new_levels={name_of(12)})["luminance"]
    kept = check(nights)["luminance"]

    assert abs(found.average) < 2 < abs(kept.average)


def test_new_level_holds_for_the_scores_too():
    """A person's word that the world is normal includes what the model says of it."""
    nights = series([*quiet(18, 15, -1, 0.1), *quiet(19, 4, 2, 0.1)], SCORE)

    assert check(nights)[SCORE].is_alarm
    found = check(nights, new_levels={name_of(15)})[SCORE]
    assert found.expected == pytest.approx(2, abs=0.2)
    assert not found.is_alarm


def test_scores_of_nights_that_were_learnt_teach_nothing():
    """A version scores its own training images too low; their light counts all the same."""
    learnt = [night(place, is_trained_on=True, log_score=-3.0, luminance=0.4) for place in range(6)]

    found = check([*learnt, night(6, log_score=-1.0, luminance=0.4)])

    assert found[SCORE].expected is None
    assert found["luminance"].expected == pytest.approx(0.4)


def counted(place, above, kind="above_threshold"):
    """A night of 60 images, so many of them above a threshold that one of 100 was above."""
    seen = Exceedances(above=above, images=60, calibration_images=100, calibration_above=1)
    return replace(night(place, luminance=0.4), **{kind: seen})


def test_a_person_makes_images_above_the_threshold_the_new_normal():
    """After a lamp that lifts half of the scores was accepted, nights like it are ordinary."""
    nights = [counted(place, 30 if place >= 20 else 0) for place in range(23)]
    ordinary = {each.night for each in nights[:20]}

    before = watch(nights, ordinary).above_threshold
    after = watch(nights, ordinary, new_levels={name_of(20)}).above_threshold
    worse = watch(
        [*nights[:-1], counted(22, 58)], ordinary, new_levels={name_of(20)}
    ).above_threshold

    assert before.is_alarm
    assert not after.is_alarm
    assert after.expected_share == pytest.approx(0.5)
    assert worse.is_alarm


def test_nobody_makes_suspects_normal():
    """What may be a defect stays one, whatever light a person accepts."""
    nights = [counted(place, 30 if place >= 20 else 0, "suspects") for place in range(23)]
    ordinary = {each.night for each in nights[:20]}

    assert watch(nights, ordinary, new_levels={name_of(20)}).suspects.is_alarm


def test_a_resolved_night_teaches_nothing_of_suspects_and_outliers():
    """Few suspects on the nights after it are as much of an alarm as without it."""
    nights = [counted(place, {12: 40, 13: 6}.get(place, 0), "suspects") for place in range(14)]
    outliers = [Outliers(0, 60, 0.7 + 0.02 * (place % 3)) for place in range(14)]
    outliers[12:] = Outliers(40, 60, 2.0), Outliers(3, 60, 1.5)
    nights = [replace(each, outliers=seen) for each, seen in zip(nights, outliers, strict=True)]
    ordinary = {each.night for each in nights[:12]}

    before = watch(nights, ordinary)
    after = watch(nights, ordinary, new_levels={name_of(12)})

    assert (before.suspects.is_alarm, before.contrast.is_alarm) == (True, True)
    assert (after.suspects, after.contrast) == (before.suspects, before.contrast)


def test_nights_before_the_first_version_teach_at_once():
    """The owner vouches for them; nights that a version watched teach after a while."""
    values = quiet(4, 6)
    tonight = night(6, luminance=0.4)

    trusted = check([*series(values, model_version=""), tonight])["luminance"]
    watched = check([*series(values), tonight])["luminance"]

    assert trusted.expected == pytest.approx(values.mean())
    assert watched.expected == pytest.approx(values[:-1].mean())
