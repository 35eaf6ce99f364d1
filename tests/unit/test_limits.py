"""Limits: how far out is out."""

import math

import numpy as np
import pytest
from scipy import stats

from reconad_plugin.watch import limits as module
from reconad_plugin.watch.limits import (
    COUNT_TESTS,
    EWMA_WEIGHT,
    NIGHTS_A_YEAR,
    ewma_mass,
    ewma_variance,
    limits,
    nights_between_alarms,
)


@pytest.mark.parametrize(
    ("weight", "limit"),
    [
        pytest.param(0.1, 2.814, id="0.1"),
        pytest.param(0.2, 2.962, id="0.2"),
        pytest.param(0.25, 2.998, id="0.25"),
        pytest.param(0.4, 3.054, id="0.4"),
    ],
)
def test_run_length_of_the_published_designs_is_500(monkeypatch, weight, limit):
    """Lucas and Saccucci's designs for a mean of 500 nights have it."""
    monkeypatch.setattr(module, "EWMA_WEIGHT", weight)

    assert nights_between_alarms(limit) == pytest.approx(500, rel=0.015)


@pytest.mark.parametrize("limit", [pytest.param(limit, id=f"{limit:g}") for limit in (1.0, 1.8)])
def test_run_length_against_simulation(limit):
    """The mean number of nights until an average passes its limit, counted in made-up runs."""
    runs, generator = 20_000, np.random.default_rng(1)
    edge = limit * math.sqrt(EWMA_WEIGHT / (2 - EWMA_WEIGHT))
    average, length, is_running = np.zeros(runs), np.zeros(runs), np.ones(runs, bool)
    while is_running.any():
        average = (1 - EWMA_WEIGHT) * average + EWMA_WEIGHT * generator.standard_normal(runs)
        length += is_running
        is_running &= np.abs(average) <= edge

    error = length.std() / math.sqrt(runs)
    assert nights_between_alarms(limit) == pytest.approx(length.mean(), abs=4 * error)


@pytest.mark.parametrize(
    "rate", [pytest.param(rate, id=f"{rate:g} a year") for rate in (0.1, 1, 12)]
)
@pytest.mark.parametrize("statistics", [1, 18], ids=["one statistic", "eighteen"])
def test_all_tests_together_raise_what_is_allowed(rate, statistics):
    """Jumps, shifts and counts, each at its limit on independent nights, share the rate."""
    limit = limits(rate, statistics)

    jumps = NIGHTS_A_YEAR * statistics * 2 * stats.norm.sf(limit.jump)
    shifts = NIGHTS_A_YEAR * statistics / nights_between_alarms(limit.average)
    counts = NIGHTS_A_YEAR * COUNT_TESTS * limit.count
    assert jumps + shifts + counts == pytest.approx(rate, rel=2e-3)
    assert min(jumps, shifts, counts) > 0.1 * rate


def test_limits_widen_with_the_statistics_and_leave_the_counts_alone():
    """More statistics share the same allowance, so each is given less of it."""
    few, many = limits(1.0, 3), limits(1.0, 30)

    assert many.jump > few.jump
    assert many.average > few.average
    assert many.count == few.count


def test_limits_narrow_with_the_allowed_rate():
    """Who bears more false alarms is told of less."""
    strict, lax = limits(0.1, 18), limits(10.0, 18)

    assert lax.jump < strict.jump
    assert lax.average < strict.average
    assert lax.count > strict.count


def test_a_rate_beyond_all_nights_still_has_limits():
    """Thousands of false alarms a year are a foolish wish, and no error."""
    found = limits(1e6, 18)

    assert all(math.isfinite(limit) for limit in (found.jump, found.average, found.count))
    assert found.average > 0
    assert found.count == 0.5


@pytest.mark.parametrize("tested", [1, 2, 7, 60])
def test_average_of_so_many_scores_by_its_weights(tested):
    """Mass and variance are the sums of the weights and of their squares."""
    weights = EWMA_WEIGHT * (1 - EWMA_WEIGHT) ** np.arange(tested)

    assert ewma_mass(np.array(tested)) == pytest.approx(weights.sum())
    assert ewma_variance(np.array(tested)) == pytest.approx(np.square(weights).sum())


def test_nothing_tested_has_no_weight():
    """Before the first score the average has neither mass nor variance."""
    assert (ewma_mass(np.zeros(1)), ewma_variance(np.zeros(1))) == (0, 0)
