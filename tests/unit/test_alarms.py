"""The watch over nights: when one is out of the ordinary."""

import json
import math
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from reconad_plugin.watch.chart_sums import Night
from reconad_plugin.watch.charts import Charts
from reconad_plugin.watch.limits import SETTLED_SHARE, limits
from reconad_plugin.watch.statistics import STATISTICS, STEADY_DEVIATION
from tests.nights import check, night, quiet, seen_from, series, watch

SCORE = "log_score"


def several(seed, count):
    """Nights of three statistics with the scatter of their images."""
    generator = np.random.default_rng(seed)
    names = ("luminance", "sharpness", SCORE)
    nights = [
        night(place, **{name: float(generator.normal(-1, 0.1)) for name in names})
        for place in range(count)
    ]
    return [replace(each, images=40, deviations=dict.fromkeys(names, 0.5)) for each in nights]


def test_watch_is_charts_that_are_fed_by_hand():
    """Every number of the last night is that of charts fed with the nights one after another."""
    nights = [each for place, each in enumerate(several(1, 30)) if place % 9]
    alarmed = {nights[7].night, nights[20].night}
    names = [name for name in STATISTICS if name in nights[0].values]
    charts = Charts(np.array([STEADY_DEVIATION[name] for name in names]))
    limit, scores = limits(2.0, len(names)), []
    for each in nights:
        measured = Night(
            date.fromisoformat(each.night).toordinal(),
            np.array([each.values[name] for name in names]),
            np.full(3, 0.25),
            np.full(3, 40.0),
        )
        checked = charts.score(measured, limit.jump)
        charts.update(measured, np.full(3, each.night not in alarmed and each is not nights[-1]))
        scores += [checked.score] if each.night not in alarmed else []

    found = watch(nights, ordinary={each.night for each in nights[:-1]} - alarmed, rate=2.0)

    assert list(found.checks) == names
    for k, name in enumerate(names):
        one = found.checks[name]
        for field in ("value", "expected", "effect", "score", "average"):
            assert getattr(one, field) == pytest.approx(getattr(checked, field)[k]), (name, field)
        assert (one.jump_limit, one.average_limit) == (limit.jump, limit.average)
    np.testing.assert_allclose(found.ordinary_scores, scores[:-1])
    np.testing.assert_allclose(found.autocorrelation, charts.autocorrelation)


def test_first_night_has_nothing_to_compare_with():
    """On the very first night there is neither an expectation nor an alarm."""
    found = check(series([0.4]))["luminance"]

    assert (found.expected, found.effect, found.score, found.average) == (None,) * 4
    assert not found.is_alarm
    assert found.is_settled


@pytest.mark.parametrize("count", [pytest.param(n, id=f"{n} nights") for n in range(4)])
def test_too_few_nights_are_not_tested(count):
    """Before four nights are known there is no test, however far tonight is out."""
    found = check(series([*quiet(0, count), 0.9]))["luminance"]

    assert found.score is None
    assert not found.is_alarm


def test_jump_is_found():
    """A lamp that loses a fifth of its light overnight is an alarm that night."""
    found = check(series([*quiet(1, 20), 0.32]))["luminance"]

    assert found.is_jump
    assert found.is_alarm
    assert not found.is_settled
    assert found.score < -found.jump_limit


def test_ordinary_night_is_no_alarm():
    """A night like the others is none."""
    found = check(series(quiet(2, 15)))["luminance"]

    assert not found.is_alarm
    assert found.is_settled


@pytest.mark.parametrize("sign", [pytest.param(1, id="upward"), pytest.param(-1, id="downward")])
def test_lasting_shift_is_found_without_a_jump(sign):
    """A shift of two deviations, too small for a jump, is found within two weeks."""
    values = quiet(3, 60)
    values[40:] += sign * 0.02
    found = [check(series(values[: last + 1]))["luminance"] for last in range(40, 54)]

    first = next(night for night in found if night.is_alarm)

    assert first.is_shift
    assert not first.is_jump
    assert math.copysign(1, first.average) == sign


def test_alarm_is_not_settled_until_the_average_has_come_back():
    """Below the limit is not yet normal; below three quarters of it is."""
    found = check(series(quiet(4, 30)))["luminance"]

    high = replace(found, score=0.0, average=(SETTLED_SHARE + 0.01) * found.average_limit)
    low = replace(found, score=0.0, average=-(SETTLED_SHARE - 0.01) * found.average_limit)
    assert (high.is_alarm, high.is_settled) == (False, False)
    assert (low.is_alarm, low.is_settled) == (False, True)
    assert not replace(low, score=found.jump_limit + 0.01).is_settled


def test_scores_of_two_versions_are_not_compared():
    """On the first night of a version its scores have no expectation, however they jump."""
    nights = series(quiet(19, 20, mean=-1, deviation=0.1), SCORE)
    first = night(20, model_version="2", log_score=2.0)
    second = night(21, model_version="2", log_score=2.05)

    assert check([*nights, night(20, log_score=2.0)])[SCORE].is_jump
    found = check([*nights, first])[SCORE]
    assert (found.expected, found.score) == (None, None)
    after = check([*nights, first, second])[SCORE]
    assert after.expected == pytest.approx(2.0)
    assert after.score is not None
    assert not after.is_alarm
    assert check([*nights, first, night(21, model_version="2", log_score=9.0)])[SCORE].is_jump


def test_light_is_compared_across_versions():
    """A new version does not hide that the lamp failed."""
    nights = series(quiet(20, 20))

    assert check([*nights, night(20, model_version="2", luminance=0.3)])["luminance"].is_jump


def test_version_that_comes_back_starts_anew():
    """After a rollback the scores are not held against those before the change."""
    nights = [
        *series(quiet(21, 8, mean=-1, deviation=0.1), SCORE),
        night(8, model_version="2", log_score=1.0),
    ]

    found = check([*nights, night(9, model_version="1", log_score=-1.0)])[SCORE]

    assert found.expected is None


def test_only_what_tonight_has_is_checked():
    """Statistics that tonight lacks have no check, and gaps in the history are skipped."""
    nights = series(quiet(22, 12))
    nights[5] = night(5)

    found = check([*nights, night(12, luminance=0.4, sharpness=-2.0)])

    assert set(found) == {"luminance", "sharpness"}
    assert found["sharpness"].score is None
    assert found["luminance"].expected == pytest.approx(np.delete(quiet(22, 12), 5)[:9].mean())


def test_limits_share_among_the_statistics_that_tonight_has():
    """A night with fewer statistics has narrower limits."""
    one = check(series(quiet(22, 12)))["luminance"]
    three = check(several(22, 12))["luminance"]

    assert one.jump_limit == limits(1.0, 1).jump < three.jump_limit == limits(1.0, 3).jump


def test_statistics_do_not_disturb_each_other():
    """A jump of one statistic is no alarm of another."""
    nights = several(23, 30)

    found = check([*nights, night(30, luminance=2.0, sharpness=-1.0)])

    assert found["luminance"].is_alarm
    assert not found["sharpness"].is_alarm


def test_missing_position_is_no_change_of_the_light():
    """A night without the bright position is darker in the mean, and ordinary all the same."""
    generator = np.random.default_rng(24)

    def seen(place, **positions):
        effect = generator.normal(0, 0.01)
        return seen_from(place, **{name: (20, level + effect) for name, level in positions.items()})

    nights = [seen(place, left=0.8, right=0.2) for place in range(20)]
    tonight = seen(20, right=0.2)

    found = check([*nights, tonight])["luminance"]

    assert tonight.values["luminance"] < 0.3
    assert found.value == pytest.approx(0.5, abs=0.05)
    assert not found.is_alarm
    assert check([*nights, seen(20, right=0.4)])["luminance"].is_jump


def test_images_of_a_night_are_those_at_its_positions():
    """A night of two images is judged more widely than one of many."""
    generator = np.random.default_rng(25)
    nights = [
        replace(night(place, luminance=float(generator.normal(0.4, 0.01))), images=100,
                deviations={"luminance": 0.1})
        for place in range(30)
    ]  # fmt: skip
    tonight = replace(night(30, luminance=0.5), deviations={"luminance": 0.1})

    assert check([*nights, replace(tonight, images=100)])["luminance"].is_jump
    assert abs(check([*nights, replace(tonight, images=2)])["luminance"].score) < 2


def test_check_is_json():
    """A check can be written into the night's record, with its verdict."""
    found = check(series([*quiet(24, 20), 0.9]))["luminance"]

    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))

    assert written["is_alarm"] is True
    assert written["statistic"] == "luminance"
    assert written["score"] == found.score


@pytest.mark.parametrize("images", [1, 2, 3])
def test_a_night_of_a_few_images_is_judged_by_the_usual_variance(images):
    """Their own variance says nothing or little; two deviations of an image are no alarm."""
    source = np.random.default_rng(1)
    values = source.normal(0.4, 0.05 / 60**0.5, 40)
    nights = series(values, deviations={"luminance": 0.05}, images=60)
    few = night(40, luminance=0.4 + 2 * 0.05 / images**0.5)
    tonight = replace(few, deviations={"luminance": 0.0 if images == 1 else 0.01}, images=images)

    assert not check([*nights, tonight])["luminance"].is_alarm
    assert check([*nights, replace(tonight, images=60)])["luminance"].is_alarm


def test_night_at_unknown_positions_is_not_compared():
    """Nothing is known of them: there is no check, rather than one without a value."""
    nights = [seen_from(place, left=(20, 0.4), right=(20, 0.6)) for place in range(12)]

    moved = watch([*nights, seen_from(12, top=(20, 0.3), bottom=(20, 0.2))])
    stayed = watch([*nights, seen_from(12, left=(20, 0.4), bottom=(20, 0.2))])

    assert (moved.is_placed, moved.checks) == (False, {})
    assert stayed.is_placed
    assert list(stayed.checks) == ["luminance"]
