"""How many false alarms to expect, from made-up quiet years."""

import numpy as np
import pytest

from reconad_plugin.watch.forecast import LEAST_NIGHTS, alarms_of, expected_false_alarms

STATISTICS = 3
RATE = 12.0


def ordinary(count, seed=0):
    """Standard scores of independent normal nights."""
    return np.random.default_rng(seed).standard_normal((count, STATISTICS))


def expected(scores=None, autocorrelation=0.0, known=60, rate=RATE, seed=1, years=60):
    """False alarms of the next year."""
    scores = ordinary(60) if scores is None else scores
    resemblance = np.full(STATISTICS, autocorrelation)
    return expected_false_alarms(scores, resemblance, known, rate, seed, years)


def test_independent_normal_nights_keep_the_rate():
    """What the limits allow is not passed, and not far from it."""
    found = expected()

    # some 10 a year over 60 years: three standard errors are below 1.5
    assert 0.3 * RATE < found < RATE + 1.5


def test_nights_that_creep_raise_more_while_few_are_known():
    """Autocorrelation that the charts cannot know yet makes more false alarms."""
    alike = expected(known=0, rate=1.0)
    creeping = expected(autocorrelation=0.5, known=0, rate=1.0)

    assert creeping > 1.3 * alike


def test_heavy_tails_raise_more():
    """Nights that are far out now and then are seen in the figure."""
    scores = ordinary(200)
    scores[::20] *= 8

    assert expected(scores) > 1.3 * expected(ordinary(200))


def test_a_lower_rate_is_kept_too():
    """A tenth of the rate allows about a tenth of the alarms."""
    assert expected(rate=1.2) < 0.25 * expected()


def test_alarm_that_stays_open_is_counted_once():
    """At limits that nearly every night passes, most nights have an alarm, and few raise one."""
    counts = 365 * 3 / 2  # half of the nights for each of the three counts of images

    assert counts < expected(rate=3000.0, years=5) < counts + 365 / 2


def test_same_seed_same_answer():
    """The figure is a function of its arguments."""
    assert expected(seed=3, years=5) == expected(seed=3, years=5)
    assert expected(seed=3, years=5) != expected(seed=4, years=5)


def test_few_nights_are_replaced_by_the_normal_law():
    """Whatever they were; one night more and they count."""
    wild = ordinary(LEAST_NIGHTS) ** 5

    few = expected(wild[1:], years=5)

    assert few == expected(ordinary(0), years=5)
    assert expected(wild, years=5) != few


def test_nights_that_were_not_tested_wholly_are_left_out():
    """A night that lacks a statistic's score cannot be drawn again as a whole."""
    scores = ordinary(40)
    with_gaps = np.vstack([scores, np.full((5, STATISTICS), np.nan)])
    with_gaps[-1, 0] = 3.0

    assert expected(with_gaps, years=5) == expected(scores, years=5)


def test_level_and_unit_of_the_scores_do_not_matter():
    """Only how the nights are spread is drawn from them."""
    assert expected(3 + 2 * ordinary(40), years=5) == pytest.approx(expected(ordinary(40), years=5))


def test_alarms_by_hand():
    """One statistic is enough for an alarm; all must have come back for it to be settled."""
    scores = np.array([[0.0, -3.1], [0.0, 2.9], [np.nan, 0.0], [0.0, 0.0]])
    averages = np.array([[0.0, 0.0], [0.0, 1.4], [-2.1, 0.0], [np.nan, 1.6]])

    is_alarm, is_settled = alarms_of(scores, averages, jump_limit=3.0, average_limit=2.0)

    assert is_alarm.tolist() == [True, False, True, False]
    assert is_settled.tolist() == [True, True, False, False]  # settled below 1.5
