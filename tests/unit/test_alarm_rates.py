"""How often the watch alarms on nights that nothing has changed on."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from monitoring.alarms import chance_of, is_exceedance_alarm, jump_limit
from monitoring.night import STATISTICS, Exceedances
from tests.nights import NOTHING, check, night, series

TESTS_A_YEAR = 365 * (2 * len(STATISTICS) + 2)  # a jump and a shift each, and two of exceedances


@pytest.mark.parametrize(
    ("rate", "share"),
    [
        pytest.param(1.0, 1 / TESTS_A_YEAR, id="one false alarm a year"),
        pytest.param(0.1, 0.1 / TESTS_A_YEAR, id="one in ten years"),
        pytest.param(12.0, 12 / TESTS_A_YEAR, id="one a month"),
    ],
)
def test_limit_shares_the_years_false_alarms_among_its_tests(rate, share):
    """A two-sided test at the limit has its share of the allowed false alarms."""
    assert 2 * stats.norm.sf(jump_limit(rate)) == pytest.approx(share)


def test_jumps_come_as_often_as_stated():
    """Of 1500 nights that are tested after five others as many jump as the limit says."""
    share = 0.05
    rate = share * TESTS_A_YEAR
    values = np.random.default_rng(5).normal(0.4, 0.02, (1500, 6))

    jumps = [check(series(row), rate=rate)["luminance"].is_jump for row in values]

    # a share of 0.05 of 1500 has a standard error of 0.0056
    assert np.mean(jumps) == pytest.approx(share, abs=3 * 0.0056)


def test_quiet_series_keep_the_stated_rate():
    """Over 40 quiet series of 40 nights, alarmed nights left out as in service, few alarms come."""
    share = 0.01  # of false alarms in each of the two tests of a night
    rate = share * TESTS_A_YEAR
    generator = np.random.default_rng(6)
    alarms, tested = 0, 0
    for _ in range(40):
        nights = series(generator.normal(0.4, 0.02, 40))
        ordinary = {past.night for past in nights[:4]}
        for last in range(4, 40):
            found = check(nights[: last + 1], ordinary=ordinary, rate=rate)["luminance"]
            tested += 1
            alarms += found.is_alarm
            if not found.is_alarm:
                ordinary.add(nights[last].night)

    # Expected are at most 2 * 0.01 * 1440 = 28.8. Jumps are independent (variance 14.3); shifts
    # come in runs, for an average with weight 0.1 remembers about 19 nights (variance at most
    # 19 * 14.3). Three standard deviations are 3 * sqrt(20 * 14.3) = 51.
    assert tested == 1440
    assert alarms <= 28.8 + 51


def test_quiet_year_in_service_is_quiet():
    """At one false alarm a year, 60 quiet nights of all statistics raise none."""
    generator = np.random.default_rng(8)
    nights = [
        night(place, **{name: float(generator.normal(0.3, 0.05)) for name in STATISTICS})
        for place in range(60)
    ]

    found = [check(nights[: last + 1]) for last in range(10, 60, 5)]

    assert not any(one.is_alarm for checks in found for one in checks.values())


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
    """The chance equals the share among many made-up nights that nothing had changed on."""
    draws = 60_000
    generator = np.random.default_rng(above + 100 * images)
    held_out = np.sort(generator.random((draws, calibration)), axis=1)
    threshold = held_out[:, calibration - rank]
    tonight = generator.random((draws, images))
    share = np.mean((tonight > threshold[:, None]).sum(1) >= above)

    p_value = chance_of(Exceedances(above, images, calibration, rank))

    # three standard errors of a share among 60,000 draws are at most 0.0062
    assert p_value == pytest.approx(share, abs=0.0062)


def test_exceedance_p_value_by_hand():
    """One new image above the largest of nine held-out ones has the chance of one in ten."""
    assert chance_of(Exceedances(1, 1, 9, 1)) == pytest.approx(0.1)
    assert chance_of(Exceedances(1, 1, 9, 2)) == pytest.approx(0.2)
    # both of two new images are the largest two of four
    assert chance_of(Exceedances(2, 2, 2, 1)) == pytest.approx(1 / 6)


def test_night_without_images_exceeds_nothing():
    """Where there is nothing to count nothing is remarkable."""
    assert chance_of(NOTHING) == 1.0
    assert not is_exceedance_alarm(NOTHING, 1.0)


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
    rank = min(rank, calibration)
    alarming = [
        above
        for above in range(images + 1)
        if is_exceedance_alarm(Exceedances(above, images, calibration, rank), 20.0)
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
    assert chance <= 20 / TESTS_A_YEAR
    assert alarming == list(range(images + 1))[images + 1 - len(alarming) :]


def test_few_calibration_images_make_alarms_hard():
    """Three of ten images above a threshold from four held-out images prove nothing yet."""
    assert not is_exceedance_alarm(Exceedances(3, 10, 4, 1), 1.0)
    assert is_exceedance_alarm(Exceedances(10, 10, 200, 4), 1.0)
