"""The watch over nights: when one is out of the ordinary."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from monitoring.alarms import EWMA_WEIGHT, MAX_SCORE
from monitoring.night import SCORE_STATISTIC, STEADY_DEVIATION
from tests.nights import check, name_of, night, series


def quiet(seed, count, mean=0.4, deviation=0.01):
    """Independent normal nights."""
    return np.random.default_rng(seed).normal(mean, deviation, count)


def predicted_score(value, segments):
    """A new value's standard normal score, by least squares with a mean for each segment."""
    y = np.concatenate([*segments, [value]])
    design = np.zeros((len(y), len(segments) + 1))
    start = 0
    for column, segment in enumerate(segments):
        design[start : start + len(segment), column] = 1
        start += len(segment)
    design[-1, -2:] = 1  # tonight has the last segment's mean, and an effect of its own
    coefficients, residuals, *_ = np.linalg.lstsq(design, y, rcond=None)
    freedom = len(y) - design.shape[1]
    variance = residuals[0] / freedom * np.linalg.inv(design.T @ design)[-1, -1]
    t = coefficients[-1] / math.sqrt(variance)
    return math.copysign(stats.norm.isf(stats.t.sf(abs(t), freedom)), t)


@pytest.mark.parametrize("count", [pytest.param(n, id=f"{n} nights") for n in (4, 5, 10, 60)])
@pytest.mark.parametrize(
    "away", [pytest.param(a, id=f"{a:+.0%} of luminance") for a in (-0.05, -0.01, 0.002, 0.05)]
)
def test_score_is_the_t_test_of_a_new_value(count, away):
    """The score is that of a two-sample t-test with tonight as the second sample of one."""
    past = quiet(count, count)
    value = past.mean() + away

    found = check(series([*past, value]))["luminance"]

    tonight = [0.0] * count + [1.0]
    p_value = stats.linregress(tonight, [*past, value]).pvalue  # the same test, by scipy
    assert abs(found.score) == pytest.approx(min(stats.norm.isf(p_value / 2), MAX_SCORE), rel=1e-6)
    assert math.copysign(1, found.score) == math.copysign(1, away)
    assert found.expected == pytest.approx(past.mean())
    assert found.value == value


def test_score_by_hand():
    """Of 0.38, 0.42, 0.38, 0.42 and then 0.45: t = 0.05 / (0.0231 sqrt(1.25)) = 1.936."""
    found = check(series([0.38, 0.42, 0.38, 0.42, 0.45]))["luminance"]

    t = 0.05 / (math.sqrt(0.0016 / 3) * math.sqrt(1 + 1 / 4))
    assert found.score == pytest.approx(stats.norm.ppf(stats.t.cdf(t, 3)))
    assert t == pytest.approx(1.9365, abs=1e-4)


@pytest.mark.parametrize("count", [pytest.param(n, id=f"{n} nights") for n in range(4)])
def test_too_few_nights_are_not_tested(count):
    """Before four nights are known there is no test, however far tonight is out."""
    found = check(series([*quiet(0, count), 0.9]))["luminance"]

    assert found.score is None
    assert not found.is_alarm


def test_first_night_has_nothing_to_compare_with():
    """On the very first night there is neither an expectation nor an alarm."""
    found = check(series([0.4]))["luminance"]

    assert (found.expected, found.score, found.average) == (None, None, 0.0)


def test_steady_nights_do_not_make_the_watch_nervous():
    """After nights that were all alike a change is measured against the smallest deviation."""
    steady = STEADY_DEVIATION["luminance"]

    found = check(series([0.4] * 20 + [0.4 + 2 * steady]))["luminance"]

    t = 2 / math.sqrt(1 + 1 / 20)
    assert found.score == pytest.approx(stats.norm.isf(stats.t.sf(t, 19)), rel=1e-6)
    assert not found.is_alarm


def test_score_has_an_end():
    """Absurdly far out is a number still, on either side."""
    for value, expected in ((1e6, MAX_SCORE), (-1e6, -MAX_SCORE)):
        found = check(series([*quiet(0, 300), value]))["luminance"]
        assert found.score == expected
        assert found.is_jump


def test_jump_is_found():
    """A lamp that loses a fifth of its light overnight is an alarm that night."""
    found = check(series([*quiet(1, 14), 0.32]))["luminance"]

    assert found.is_jump
    assert found.is_alarm
    assert found.score < -found.jump_limit


def test_ordinary_night_is_no_alarm():
    """A night like the others is none."""
    found = check(series(quiet(2, 15)))["luminance"]

    assert not found.is_alarm


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


def test_average_by_hand():
    """The average weighs each score by a tenth, and its limit widens with the nights in it."""
    values = quiet(4, 9)
    scores = [check(series(values[: last + 1]))["luminance"].score for last in range(4, 9)]

    found = check(series(values))["luminance"]

    average = 0.0
    for score in scores:
        average = 0.9 * average + 0.1 * score
    weights = np.array([0.1 * 0.9**age for age in range(5)])
    assert EWMA_WEIGHT == 0.1
    assert found.average == pytest.approx(average)
    assert found.average_limit == pytest.approx(
        found.jump_limit * math.sqrt(np.square(weights).sum())
    )


def test_alarmed_nights_teach_nothing():
    """A night that is not ordinary leaves no trace in the tests after it."""
    values = [*quiet(9, 10), 0.9, *quiet(10, 3)]
    nights = series(values)
    ordinary = {past.night for past in nights} - {name_of(10)}

    with_it = check(nights, ordinary=ordinary)
    without = check(nights[:10] + nights[11:], ordinary=ordinary)

    assert with_it == without
    assert with_it != check(nights)


def test_new_level_is_accepted():
    """After a night from which a new level holds, nights at that level are ordinary."""
    nights = series([*quiet(11, 20), *quiet(12, 6, mean=0.3)])
    before = {past.night for past in nights[:20]}

    # the first night of the new level raised an alarm, a version was tuned for it and promoted
    assert check(nights[:21], ordinary=before)["luminance"].is_alarm
    ordinary = before | {past.night for past in nights[20:]}
    for last in range(21, 26):
        found = check(nights[: last + 1], ordinary=ordinary, new_levels={name_of(20)})
        assert not found["luminance"].is_alarm
        assert found["luminance"].expected == pytest.approx(0.3, abs=0.02)
        refused = check(nights[: last + 1], ordinary=before)
        assert refused["luminance"].is_alarm


def test_new_level_keeps_what_is_known_of_how_nights_differ():
    """One night after a new level the test is on already, with the deviation of all nights."""
    old, new = quiet(13, 12), quiet(14, 3, mean=0.2)
    nights = series([*old, *new, 0.21])

    found = check(nights, new_levels={name_of(12)})["luminance"]

    assert found.score == pytest.approx(predicted_score(0.21, [old, new]), rel=1e-6)
    assert found.expected == pytest.approx(new.mean())


def test_average_starts_anew_with_a_new_level():
    """Scores against the old level do not weigh on the nights of the new one."""
    nights = series([*quiet(25, 12), 0.2, 0.21])

    found = check(nights, new_levels={name_of(12)})["luminance"]

    assert found.average == pytest.approx(0.1 * found.score)
    assert found.average_limit == pytest.approx(0.1 * found.jump_limit)


def test_old_level_is_an_alarm_after_a_new_one():
    """When the light goes back after a new level was learnt, that is a change too."""
    nights = series([*quiet(15, 20), *quiet(16, 5, mean=0.3), 0.4])

    assert check(nights, new_levels={name_of(20)})["luminance"].is_jump


def test_night_of_a_new_level_is_learnt_though_it_was_alarmed():
    """The night that a version was tuned for is the first of the new level."""
    nights = series([*quiet(17, 10), 0.3, 0.3])
    ordinary = {past.night for past in nights[:10]}

    found = check(nights, ordinary=ordinary, new_levels={name_of(10)})["luminance"]

    assert found.expected == pytest.approx(0.3)


def test_new_level_of_the_light_leaves_the_scores_alone():
    """Scores have their level by version, not by light."""
    nights = series(quiet(18, 12, mean=-1, deviation=0.1), SCORE_STATISTIC)

    found = check(nights, new_levels={name_of(8)})

    assert found == check(nights)


def test_scores_of_two_versions_are_not_compared():
    """On the first night of a version its scores have no expectation, however they jump."""
    nights = series(quiet(19, 12, mean=-1, deviation=0.1), SCORE_STATISTIC)
    first = night(12, model_version="2", log_score=2.0)
    second = night(13, model_version="2", log_score=2.05)

    assert check([*nights, night(12, log_score=2.0)])[SCORE_STATISTIC].is_jump
    found = check([*nights, first])[SCORE_STATISTIC]
    assert (found.expected, found.score) == (None, None)
    after = check([*nights, first, second])[SCORE_STATISTIC]
    assert after.expected == pytest.approx(2.0)
    assert not after.is_alarm


def test_light_is_compared_across_versions():
    """A new version does not hide that the lamp failed."""
    nights = series(quiet(20, 12))

    assert check([*nights, night(12, model_version="2", luminance=0.3)])["luminance"].is_jump


def test_version_that_comes_back_starts_anew():
    """After a rollback the scores are not held against those before the change."""
    nights = [
        *series(quiet(21, 8, mean=-1, deviation=0.1), SCORE_STATISTIC),
        night(8, model_version="2", log_score=1.0),
    ]

    found = check([*nights, night(9, model_version="1", log_score=-1.0)])[SCORE_STATISTIC]

    assert found.expected is None


def test_scores_of_nights_that_were_learnt_teach_nothing():
    """A version scores its own training images too low; their light counts all the same."""
    learnt = [night(place, is_trained_on=True, log_score=-3.0, luminance=0.4) for place in range(6)]

    found = check([*learnt, night(6, log_score=-1.0, luminance=0.4)])

    assert found[SCORE_STATISTIC].expected is None
    assert found["luminance"].expected == pytest.approx(0.4)


def test_only_what_tonight_has_is_checked():
    """Statistics that tonight lacks have no check, and gaps in the history are skipped."""
    nights = series(quiet(22, 12))
    nights[5] = night(5)

    found = check([*nights, night(12, luminance=0.4, contrast=0.1)])

    assert set(found) == {"luminance", "contrast"}
    assert found["contrast"].score is None
    assert found["luminance"].expected == pytest.approx(np.delete(quiet(22, 12), 5).mean())


def test_statistics_do_not_disturb_each_other():
    """A jump of one statistic is no alarm of another."""
    generator = np.random.default_rng(23)
    nights = [
        night(
            place, luminance=float(generator.normal(0.4, 0.01)), sharpness=generator.normal(-2, 0.1)
        )
        for place in range(12)
    ]

    found = check([*nights, night(12, luminance=0.2, sharpness=-2.0)])

    assert found["luminance"].is_alarm
    assert not found["sharpness"].is_alarm


@given(
    shift=st.floats(-5, 5),
    scale=st.floats(10, 1000),
    seed=st.integers(0, 100),
)
def test_score_does_not_depend_on_the_unit(shift, scale, seed):
    """In other units of measurement a night is as far out as before."""
    values = np.append(quiet(seed, 8, deviation=0.05), 0.5)  # far from steady

    plain = check(series(values))["luminance"]
    converted = check(series(values * scale + shift))["luminance"]

    assert converted.score == pytest.approx(plain.score, rel=1e-4, abs=1e-6)
    assert converted.average == pytest.approx(plain.average, rel=1e-4, abs=1e-6)


def test_check_is_json():
    """A check can be written into the night's record, with its verdict."""
    found = check(series([*quiet(24, 10), 0.9]))["luminance"]

    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))

    assert written["is_alarm"] is True
    assert written["statistic"] == "luminance"
    assert written["score"] == found.score
