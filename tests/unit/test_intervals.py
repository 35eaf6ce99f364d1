"""What chance makes of a count: by hand, against other formulas, and as properties."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reconad_plugin.metrics.intervals import (
    beta_binomial_tail,
    beta_interval,
    clopper_pearson,
    exceedance_p_value,
)


@given(total=st.integers(1, 300), share=st.floats(0, 1))
def test_clopper_pearson_is_the_exact_interval(total, share):
    """At each limit the count has a chance of 2.5 % by the binomial law."""
    found = round(share * total)

    low, high = clopper_pearson(found, total)

    if found:
        assert stats.binom.sf(found - 1, total, low) == pytest.approx(0.025)
    else:
        assert low == 0
    if found < total:
        assert stats.binom.cdf(found, total, high) == pytest.approx(0.025)
    else:
        assert high == 1


def test_a_beta_interval_by_hand():
    """Of Beta(1, 1), which is uniform, the middle 95 %."""
    assert beta_interval(1, 1) == pytest.approx((0.025, 0.975))


def test_the_tail_of_one_image_is_the_mean_share():
    """One image has it with the mean of the law; none at all is certain."""
    assert beta_binomial_tail(1, 1, 2, 6) == pytest.approx(0.25)
    assert beta_binomial_tail(0, 5, 2, 6) == 1


def test_the_tail_by_hand():
    """With a uniform share, each count of three images has the same chance."""
    assert beta_binomial_tail(2, 3, 1, 1) == pytest.approx(0.5)


@given(
    above=st.integers(0, 20),
    images=st.integers(0, 20),
    calibration=st.integers(1, 100),
    rank=st.integers(0, 100),
)
def test_exceedances_follow_the_ranks(above, images, calibration, rank):
    """The chance is that of drawing ranks: so many new images above the k-th highest of the
    calibration's (Wilks)."""
    rank = min(max(rank, 1), calibration)
    above = min(above, images)

    found = exceedance_p_value(above, images, calibration, rank)

    wanted = sum(
        math.comb(rank - 1 + seen, seen)
        * math.comb(images - seen + calibration - rank, images - seen)
        for seen in range(above, images + 1)
    ) / math.comb(images + calibration, images)
    assert found == pytest.approx(wanted, abs=1e-9)
