"""How often the watch alarms on nights that nothing has changed on."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reconad_plugin.watch.chart_sums import Night
from reconad_plugin.watch.charts import Charts
from reconad_plugin.watch.forecast import alarms_of
from reconad_plugin.watch.limits import NIGHTS_A_YEAR, limits, nights_between_alarms
from reconad_plugin.watch.night_tests import NIGHT_EFFECT, chance_of
from reconad_plugin.watch.statistics import STATISTICS, Exceedances
from tests.nights import NOTHING, check, name_of, night, watch


def quiet_years(limit, years=300, nights=NIGHTS_A_YEAR, statistics=3, resemblance=0.0, seed=5):
    """Jumps and raised alarms of each made-up year of nights that nothing changed on."""
    generator, shape = np.random.default_rng(seed), (years, statistics)
    charts, ones = Charts(np.zeros(shape)), np.ones(shape)
    state, is_open = generator.standard_normal(shape), np.zeros(years, bool)
    jumps, raised = np.zeros(years), np.zeros(years)
    for day in range(nights):
        new = math.sqrt(1 - resemblance**2) * generator.standard_normal(shape)
        state = resemblance * state + new
        tonight = Night(day, 0.15 * state + generator.normal(0, 0.1, shape), ones, 100 * ones)
        checked = charts.score(tonight, limit.jump)
        is_alarm, is_settled = alarms_of(checked.score, checked.average, limit.jump, limit.average)
        jumps += (np.abs(np.nan_to_num(checked.score)) > limit.jump).sum(1)
        raised += is_alarm & ~is_open
        is_open = is_alarm | (is_open & ~is_settled)
        charts.update(tonight, np.broadcast_to(~is_open[:, None], shape))
    return jumps, raised


@pytest.mark.parametrize("resemblance", [0.0, 0.4], ids=["independent", "resembling"])
def test_quiet_years_keep_the_stated_rate(resemblance):
    """Of first years, alarmed nights left out as in service, no more alarms than allowed."""
    rate = 12.0
    limit = limits(rate, 3)

    _, raised = quiet_years(limit, resemblance=resemblance)

    error = raised.std() / math.sqrt(len(raised))
    assert 0.3 * rate < raised.mean() < rate + 3 * error


def test_jumps_of_independent_nights_come_as_often_as_stated():
    """In a product's first year, about as often as a standard normal score passes the limit."""
    limit = limits(12.0, 3)

    jumps, _ = quiet_years(limit)

    allowed = 3 * NIGHTS_A_YEAR * 2 * stats.norm.sf(limit.jump)
    # 300 years count some 800 jumps, which have a standard error of 4 %
    assert 0.8 * allowed < jumps.mean() < 1.35 * allowed


def test_quiet_year_in_service_is_quiet():
    """At one false alarm a year, 60 quiet nights of all statistics raise none."""
    generator = np.random.default_rng(8)
    nights = [
        night(place, **{name: float(generator.normal(0.3, 0.05)) for name in STATISTICS})
        for place in range(60)
    ]

    found = [check(nights[: last + 1]) for last in range(10, 60, 5)]

    assert not any(one.is_alarm for checks in found for one in checks.values())


def test_average_of_settled_charts_passes_its_limit_as_rarely_as_stated():
    """After a hundred nights the moving average alone keeps the run length of its limit."""
    limit = limits(40.0, 3)

    _, many = quiet_years(limit, years=150, nights=300)
    _, few = quiet_years(limit, years=150, nights=100)

    a_night = (many.mean() - few.mean()) / 200
    allowed = 3 * (2 * stats.norm.sf(limit.jump) + 1 / nights_between_alarms(limit.average))
    assert 0.3 * allowed < a_night < 1.15 * allowed


@pytest.mark.parametrize(
    ("above", "images", "calibration", "rank"),
    [
        pytest.param(1, 5, 10, 1, id="one of five, threshold at the largest of ten"),
        pytest.param(2, 10, 10, 1, id="two of ten"),
        pytest.param(3, 20, 50, 2, id="three of twenty, threshold at the second of fifty"),
        pytest.param(0, 8, 10, 1, id="none"),
        pytest.param(8, 8, 12, 3, id="all"),
    ],
)
def test_exceedance_p_value_against_simulation(above, images, calibration, rank):
    """The chance equals the share among many made-up nights, which differ as nights do."""
    draws = 40_000
    generator = np.random.default_rng(above + 100 * images)
    held_out = np.sort(generator.standard_normal((draws, calibration)), axis=1)
    threshold = held_out[:, calibration - rank]
    effect = generator.normal(0, NIGHT_EFFECT, draws)
    tonight = effect[:, None] + generator.standard_normal((draws, images))
    share = np.mean((tonight > threshold[:, None]).sum(1) >= above)

    p_value = chance_of(Exceedances(above, images, calibration, rank))

    # a beta law stands for the nights' shares: near, not equal
    assert p_value == pytest.approx(share, rel=0.15, abs=0.004)


def test_exceedance_p_value_by_hand():
    """One new image above the largest of nine held-out ones has the chance of one in ten."""
    assert chance_of(Exceedances(1, 1, 9, 1)) == pytest.approx(0.1)
    assert chance_of(Exceedances(1, 1, 9, 2)) == pytest.approx(0.2)


def test_exceedances_of_nights_that_are_alike_by_hand():
    """Without night effects both of two new images are the largest two of four: one in six."""
    assert chance_of(Exceedances(2, 2, 2, 1), night_effect=1e-6) == pytest.approx(1 / 6)


def test_nights_that_differ_make_many_images_above_likelier():
    """The more nights differ, the longer the law's tail; about its mean nothing is remarkable."""
    many = Exceedances(14, 200, 2000, 40)  # four are expected

    chances = [chance_of(many, night_effect) for night_effect in (1e-6, 0.1, 0.25, 0.5)]

    assert chances == sorted(chances)
    assert chances[0] == pytest.approx(stats.betabinom.sf(13, 200, 40, 1961), rel=1e-3)
    assert chances[-1] > 100 * chances[0]


def test_night_without_images_exceeds_nothing():
    """Where there is nothing to count nothing is remarkable."""
    assert chance_of(NOTHING) == 1.0
    found = watch([night(0, luminance=0.4)])
    assert not found.suspects.is_alarm
    assert not found.above_threshold.is_alarm


@given(
    images=st.integers(1, 60),
    calibration=st.integers(2, 80),
    rank=st.integers(1, 5),
    above=st.integers(0, 60),
)
def test_more_images_above_are_less_likely(images, calibration, rank, above):
    """The chance is a probability that falls with the number of images above."""
    above, rank = min(above, images), min(rank, calibration)

    p_value = chance_of(Exceedances(above, images, calibration, rank))

    assert 0 <= p_value <= 1 + 1e-12
    if above:
        assert p_value <= chance_of(Exceedances(above - 1, images, calibration, rank))
    else:
        assert p_value == pytest.approx(1)


@given(images=st.integers(1, 40), calibration=st.integers(2, 80), rank=st.integers(1, 3))
def test_exceedance_alarms_keep_their_share(images, calibration, rank):
    """On normal nights no more of them alarm than the test's share of the year's alarms."""
    rank, share = min(rank, calibration), limits(20.0, 1).count
    alarming = [
        above
        for above in range(images + 1)
        if chance_of(Exceedances(above, images, calibration, rank)) < share
    ]

    # the chance of the least number that alarms, by the hypergeometric law of ranks
    chance = 0.0
    if alarming:
        chance = sum(
            math.comb(images, k)
            * math.exp(
                math.lgamma(rank + k)
                - math.lgamma(rank)
                + math.lgamma(calibration - rank + 1 + images - k)
                - math.lgamma(calibration - rank + 1)
                - math.lgamma(calibration + 1 + images)
                + math.lgamma(calibration + 1)
            )
            for k in range(min(alarming), images + 1)
        )
    assert chance <= share
    assert alarming == list(range(images + 1))[images + 1 - len(alarming) :]


def counted(place, above, images=40, calibration=(100, 2), **details):
    """A night whose suspects are counted; none of its images are above the other threshold."""
    held_out, at = calibration
    threshold = details.pop("set_threshold", None)
    return replace(
        night(place, luminance=0.4, **details),
        set_threshold=threshold,
        suspects=Exceedances(above, images, held_out, at),
        above_threshold=Exceedances(0, images, held_out, at),
    )


def test_few_calibration_images_make_alarms_hard():
    """Three of ten images above a threshold from four held-out images prove nothing yet."""
    few = watch([counted(0, 3, images=10, calibration=(4, 1))])
    many = watch([counted(0, 10, images=10, calibration=(200, 4))])

    assert not few.suspects.is_alarm
    assert many.suspects.is_alarm
    assert not many.above_threshold.is_alarm
    assert many.suspects.limit == limits(1.0, 1).count


def test_count_is_held_against_the_ordinary_nights_too():
    """Where ordinary nights show more than the calibration did, so many are no alarm any more."""
    tonight = counted(9, 12)
    used_to_it = [counted(place, 10) for place in range(9)]

    fresh, known = watch([tonight]).suspects, watch([*used_to_it, tonight]).suspects

    assert fresh.is_alarm
    assert not known.is_alarm
    assert fresh.expected_share == pytest.approx(2 / 100)
    assert known.expected_share == pytest.approx((2 + 90) / (100 + 360))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"model_version": "2"}, id="of another version"),
        pytest.param({"is_trained_on": True}, id="that the version learnt from"),
        pytest.param({"set_threshold": 0.7}, id="held against another threshold"),
    ],
)
def test_nights_that_say_nothing_of_the_count_are_left_out(change):
    """Their counts are not those of an ordinary night of the version that scored tonight."""
    odd = [counted(place, 10, **change) for place in range(9)]

    assert watch([*odd, counted(9, 12)]).suspects == watch([counted(9, 12)]).suspects


def test_nights_since_a_threshold_was_set_are_compared():
    """What they showed at the same threshold is what they are held against; scores go on."""
    lamp = dict.fromkeys(("log_score", "log_matched_score"), 0.1)
    earlier = [counted(place, 10, **lamp) for place in range(9)]
    since = [counted(place, 1, set_threshold=0.7, **lamp) for place in range(9, 12)]
    tonight = counted(12, 1, set_threshold=0.7, **lamp)

    found = watch([*earlier, *since, tonight])

    for each in (found.suspects, watch([*since, tonight]).suspects):
        assert each.expected_share == pytest.approx((2 + 3) / (100 + 120))
    assert found.checks["log_score"].expected is not None


def test_alarmed_nights_say_nothing_of_the_count():
    """A week of defects does not make defects ordinary."""
    odd = [counted(place, 30) for place in range(9)]

    found = watch([*odd, counted(9, 12)], ordinary=set())

    assert found.suspects == watch([counted(9, 12)]).suspects


def test_night_effect_is_learnt_from_the_matched_scores():
    """Nights that are all alike make a count remarkable that nights which differ do not."""

    def chance(deviation):
        values = np.random.default_rng(1).normal(0, deviation, 40)
        nights = [
            replace(
                counted(place, 1, calibration=(2000, 40), log_matched_score=float(value)),
                deviations={"log_matched_score": 1.0},
                images=400,
            )
            for place, value in enumerate(values)
        ]
        return watch(
            [
                *nights,
                replace(
                    nights[-1], night=name_of(40), suspects=replace(nights[-1].suspects, above=6)
                ),
            ]
        ).suspects.chance

    assert chance(0.05) < 0.5 * chance(0.5)
