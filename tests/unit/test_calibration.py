"""Thresholds and p-values from held-out normal images."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconad_plugin.calibration import calibrate
from reconad_plugin.errors import NotEnoughImagesError


@pytest.mark.parametrize(
    ("count", "target_fpr", "threshold", "supported_fpr"),
    [
        pytest.param(9, 0.1, 9, 0.1, id="9 images just vouch for one in ten"),
        pytest.param(9, 0.2, 8, 0.2, id="9 images, one in five: the second largest"),
        pytest.param(99, 0.02, 98, 0.02, id="99 images, two in a hundred"),
        pytest.param(99, 0.025, 98, 0.02, id="a rate between two ranks takes the stricter"),
        pytest.param(9, 0.02, 9, 0.1, id="too few for the target: the largest, and it says so"),
        pytest.param(2, 0.5, 2, 1 / 3, id="two images"),
    ],
)
def test_threshold_rank_by_hand(count, target_fpr, threshold, supported_fpr):
    """The threshold is the ceil((n + 1)(1 - target))-th smallest score, or the largest."""
    scores = np.random.default_rng(0).permutation(np.arange(1, count + 1))

    calibration = calibrate(scores, target_fpr)

    assert calibration.image_threshold == threshold
    assert calibration.supported_fpr == pytest.approx(supported_fpr)
    assert calibration.normal_scores == tuple(range(1, count + 1))


@given(
    count=st.integers(2, 400),
    target_permille=st.integers(1, 500),
)
def test_threshold_rank_in_exact_fractions(count, target_permille):
    """Rounding of floating-point numbers never moves the threshold by a rank."""
    exact = math.ceil((count + 1) * (1 - Fraction(target_permille, 1000)))

    calibration = calibrate(np.arange(1, count + 1), target_permille / 1000)

    assert calibration.image_threshold == min(count, exact)


@given(count=st.integers(2, 300), target_permille=st.integers(1, 500))
def test_supported_rate_is_what_the_threshold_keeps(count, target_permille):
    """The supported rate counts the scores above the threshold and the new image itself."""
    target_fpr = target_permille / 1000
    calibration = calibrate(np.arange(count), target_fpr)
    above = sum(score > calibration.image_threshold for score in calibration.normal_scores)

    assert calibration.supported_fpr == pytest.approx((above + 1) / (count + 1))
    assert calibration.supported_fpr >= 1 / (count + 1)
    is_enough = calibration.supported_fpr <= target_fpr
    assert calibration.is_target_supported == is_enough
    assert is_enough or calibration.image_threshold == count - 1


@pytest.mark.parametrize(
    ("count", "is_supported"),
    [
        pytest.param(48, False, id="48 images do not vouch for one in fifty"),
        pytest.param(49, True, id="49 images do"),
    ],
)
def test_target_needs_enough_images(count, is_supported):
    """A rate of 1/50 needs 49 held-out images."""
    assert calibrate(np.arange(count), 0.02).is_target_supported is is_supported


def test_p_value_by_hand():
    """One more than the normals at or above the score, over one more than all normals."""
    calibration = calibrate([1.0, 2.0, 2.0, 3.0], 0.2)

    p_values = calibration.p_values(np.array([0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]))

    np.testing.assert_allclose(p_values, np.array([5, 5, 4, 4, 2, 2, 1]) / 5)


def test_label_and_p_value_agree():
    """A score lies above the threshold exactly when its p-value is at most the supported rate."""
    calibration = calibrate(np.arange(99.0), 0.05)
    scores = np.arange(-1, 101, 0.25)

    is_above = scores > calibration.image_threshold

    np.testing.assert_array_equal(
        is_above, calibration.p_values(scores) <= calibration.supported_fpr + 1e-12
    )


@given(seed=st.integers(0, 10_000), count=st.integers(2, 40), level=st.floats(0.05, 0.9))
def test_p_values_of_normal_images_are_valid(seed, count, level):
    """Each image in turn against the others: at most the share a has a p-value of at most a."""
    scores = np.random.default_rng(seed).integers(0, 30, count + 1).astype(float)  # with ties

    p_values = [
        calibrate(np.delete(scores, turn), 0.1).p_values(scores[[turn]])[0]
        for turn in range(count + 1)
    ]

    assert np.mean(np.array(p_values) <= level) <= level


def test_false_positive_rate_is_kept_on_new_images():
    """Over many calibrations the share of new normal images above the threshold is the target."""
    generator = np.random.default_rng(11)
    scores = generator.gamma(2.0, size=(4000, 20))

    above = [calibrate(row[:19], 0.05).image_threshold < row[19] for row in scores]

    # exactly 1/20 for continuous scores; three standard errors of 4000 draws are 0.0103
    assert np.mean(above) == pytest.approx(0.05, abs=0.0103)


@pytest.mark.parametrize("count", [pytest.param(0, id="none"), pytest.param(1, id="one")])
def test_too_few_images_are_refused(count):
    """Fewer than two held-out images give no threshold."""
    with pytest.raises(
        NotEnoughImagesError, match=f"at least 2 held-out normal images; got {count}"
    ):
        calibrate([0.5] * count, 0.02)


@pytest.mark.parametrize(
    "score", [pytest.param(math.nan, id="NaN"), pytest.param(math.inf, id="infinity")]
)
def test_scores_that_are_no_numbers_are_refused(score):
    """One score that is not finite spoils the calibration, loudly."""
    with pytest.raises(ValueError, match="must be finite; got NaN or infinity"):
        calibrate([0.1, 0.2, score], 0.02)
