"""Thresholds and p-values from held-out normal images."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reconad_plugin.detector.calibration import (
    calibrate,
    check_threshold,
    images_needed,
    threshold_warning,
)
from reconad_plugin.errors import NotEnoughImagesError, UndefinedMetricError

DRAWS = 2000


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
    """Over many calibrations the share of new normal images above the threshold is the rate that
    the images vouch for: 1 in 20, and what the bound of the threshold adds to it."""
    law = stats.gamma(2.0)
    scores = law.rvs(size=(DRAWS, 19), random_state=11)

    calibrations = [calibrate(row, 0.05) for row in scores]

    above = np.mean(law.sf([each.image_threshold for each in calibrations]))
    vouched = np.mean([each.supported_fpr for each in calibrations])
    assert above == pytest.approx(vouched, abs=0.0033)  # three standard errors of the first
    assert 0.05 < vouched < 0.065


@pytest.mark.parametrize("count", [10, 20, 49, 97])
@pytest.mark.parametrize("odd", [3.5, 8.0, 1e6])
def test_one_odd_image_moves_no_threshold_far(count, odd):
    """With an odd image the threshold stays within half a spread of where the others set it, and
    finds nearly all that it would have found."""
    scores = np.random.default_rng(count).normal(size=(200, count))
    with_odd = scores.copy()
    with_odd[:, 0] = odd

    thresholds, moved = (
        np.array([calibrate(row, 0.02, row).image_threshold for row in each])
        for each in (scores, with_odd)
    )

    highest = scores[:, 1:].max(axis=1)
    assert (moved <= highest + 0.5 * (highest - np.median(scores[:, 1:], axis=1)) + 1e-9).all()
    assert np.median(moved - thresholds) < 1.3  # deviations of the scores


def test_bounded_threshold_by_hand():
    """The highest of ten may lie half as far above the second as that lies above the median."""
    others = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]

    odd, highest, few = (
        calibrate(each, 0.02, each)
        for each in ([*others, 100.0], [*others, 10.5], [*others[:8], 100.0])
    )

    assert (odd.image_threshold, odd.pixel_threshold, odd.supported_fpr) == (11, 11, 1 / 11)
    assert highest.image_threshold == 10.5
    assert few.image_threshold == 100  # nine cannot tell an odd image from their spread


def test_a_second_odd_image_is_vouched_for_as_one():
    """Where the second highest stands apart as well, the rate counts it as above the threshold."""
    calibration = calibrate([*range(48), 100.0, 200.0], 0.02)

    assert calibration.supported_fpr == pytest.approx(2 / 51)
    assert "99 held out" in threshold_warning(calibration)


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


@given(target_per_myriad=st.integers(1, 5000))
def test_images_needed_are_the_fewest_that_vouch(target_per_myriad):
    """So many images vouch for the target, and one fewer does not."""
    target_fpr = target_per_myriad / 10_000
    needed = images_needed(target_fpr)

    assert calibrate(np.arange(needed), target_fpr).is_target_supported
    assert needed == 2 or not calibrate(np.arange(needed - 1), target_fpr).is_target_supported


@pytest.mark.parametrize(
    ("count", "target_fpr"),
    [
        pytest.param(49, 0.02, id="just enough images"),
        pytest.param(20, 0.001, id="far too few"),
        pytest.param(199, 0.05, id="ten above the threshold"),
        pytest.param(2, 0.5, id="two images"),
    ],
)
def test_interval_holds_the_true_rate(count, target_fpr):
    """In about 95 of 100 calibrations the interval contains the true false-positive rate; the bound
    of the threshold takes away some of the lowest rates."""
    law = stats.gamma(2.0)
    scores = law.rvs(size=(DRAWS, count), random_state=count)

    calibrations = [calibrate(row, target_fpr) for row in scores]

    true_rates = law.sf([each.image_threshold for each in calibrations])
    low, high = np.transpose([each.fpr_interval for each in calibrations])
    # three standard errors of 2000 draws: 0.0146 of both tails together, 0.0105 of one
    assert 0.95 - 0.0146 <= np.mean((low <= true_rates) & (true_rates <= high)) <= 0.99
    assert np.mean(true_rates < low) <= 0.025 + 0.0105
    assert np.mean(true_rates > high) == pytest.approx(0.025, abs=0.0105)


def test_interval_by_hand():
    """With the highest of n scores as threshold, n scores lie below it by chance p^n."""
    low, high = calibrate(np.arange(49), 0.02).fpr_interval

    assert low == pytest.approx(1 - 0.975 ** (1 / 49))
    assert high == pytest.approx(1 - 0.025 ** (1 / 49))


def test_upper_limit_holds_for_equal_scores():
    """Scores of few values are above the threshold more rarely than the upper limit says."""
    law = stats.poisson(1.0)
    scores = law.rvs(size=(DRAWS, 60), random_state=1)

    calibrations = [calibrate(row, 0.1) for row in scores]

    true_rates = law.sf([each.image_threshold for each in calibrations])
    high = calibrations[0].fpr_interval[1]
    assert np.mean(true_rates > high) <= 0.025 + 0.0105


def test_p_values_of_new_normal_images_are_valid():
    """Of new normal images at most the share a has a p-value of at most a, and not far fewer."""
    scores = np.random.default_rng(3).gamma(2.0, size=(DRAWS, 31))

    p_values = np.array([calibrate(row[:30], 0.05).p_values(row[30:])[0] for row in scores])

    for level in (1 / 31, 0.1, 0.5, 0.9):
        error = 3 * math.sqrt(level * (1 - level) / DRAWS)
        assert np.mean(p_values <= level) <= level + error
    assert np.mean(p_values <= 0.5) >= 0.5 - 1 / 31 - error  # and they are not needlessly large


def test_pixel_threshold_counts_images_and_not_pixels():
    """The target is the share of new normal images with any pixel above the threshold."""
    maps = np.random.default_rng(5).gamma(2.0, size=(DRAWS, 20, 6, 6))
    scores = maps.mean((2, 3))

    thresholds = [
        calibrate(score[:19], 0.05, some[:19].max((1, 2))).pixel_threshold
        for score, some in zip(scores, maps, strict=True)
    ]

    alarmed = maps[:, 19].max((1, 2)) > thresholds
    assert np.mean(alarmed) == pytest.approx(0.05, abs=0.0146)


def test_pixel_threshold_by_hand():
    """It is the map maximum of the rank that the image threshold has among the scores."""
    calibration = calibrate([3, 1, 2, 4, 5, 6, 7, 8, 9], 0.2, [90, 10, 20, 50, 40, 30, 60, 70, 80])

    assert (calibration.image_threshold, calibration.pixel_threshold) == (8, 80)
    assert calibrate([1, 2, 3], 0.2).pixel_threshold is None


@pytest.mark.parametrize(
    ("maxima", "message"),
    [
        pytest.param([1.0, 2.0], "each score needs one map; got 3 and 2", id="one too few"),
        pytest.param([1.0, math.nan, 2.0], "must be finite; got NaN", id="NaN"),
    ],
)
def test_maps_that_do_not_fit_are_refused(maxima, message):
    """Maxima of maps are as many as the scores, and numbers."""
    with pytest.raises(ValueError, match=message):
        calibrate([0.1, 0.2, 0.3], 0.2, maxima)


def test_enough_images_need_no_warning():
    """Where the target is vouched for there is nothing to say."""
    assert threshold_warning(calibrate(np.arange(49), 0.02)) is None


@pytest.mark.parametrize(
    ("count", "target_fpr", "words"),
    [
        pytest.param(
            8,
            0.02,
            "8 held-out images can vouch for 11.1 % false alarms at best, not for target_fpr "
            "2.0 %: bring more normal images, 49 held out; until then the true rate is "
            "0.3 % to 36.9 % (95 % interval)",
            id="8 images for one in fifty",
        ),
        pytest.param(
            20,
            0.001,
            "20 held-out images can vouch for 4.8 % false alarms at best, not for target_fpr "
            "0.1 %: bring more normal images, 999 held out; until then the true rate is "
            "0.1 % to 16.8 % (95 % interval)",
            id="20 images for one in a thousand",
        ),
        pytest.param(99, 0.0005, "not for target_fpr 0.05 %: ", id="a rate under 0.1 %"),
    ],
)
def test_warning_says_what_the_images_are_worth(count, target_fpr, words):
    """Too few images are said with the rate they support, the interval, and how many it takes."""
    assert words in threshold_warning(calibrate(np.arange(count), target_fpr))


def test_check_by_hand():
    """Defects above the threshold are counted, with the exact interval of a share."""
    calibration = calibrate(np.arange(49.0), 0.02)

    check = check_threshold(calibration, np.array([60.0] * 12 + [48.0, 3.0]))

    assert (check.found, check.defects) == (12, 14)  # 48 is the threshold, and not above it
    assert check.recall == pytest.approx(12 / 14)
    low, high = check.recall_interval
    assert stats.binom.sf(11, 14, low) == pytest.approx(0.025)
    assert stats.binom.cdf(12, 14, high) == pytest.approx(0.025)
    assert check.is_passed
    assert check.sentence == (
        "12 of 14 labelled defects are above the threshold: 85.7 % (95 % interval 57.2 % to 98.2 %)"
    )


@pytest.mark.parametrize(
    "found", [pytest.param(0, id="no defect is found"), pytest.param(1, id="one in ten is found")]
)
def test_check_fails_where_normal_images_could_do_the_same(found):
    """Defects that are hardly more often above the threshold than normal images do not pass."""
    calibration = calibrate(np.arange(49.0), 0.02)

    check = check_threshold(calibration, np.array([60.0] * found + [10.0] * (10 - found)))

    assert not check.is_passed
    assert "of normal images it may be up to 7.3 %: the threshold stays" in check.sentence


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        pytest.param([], "got 0 with 0 not finite", id="no defect"),
        pytest.param([1.0, math.nan], "got 2 with 1 not finite", id="NaN"),
    ],
)
def test_check_without_scores_is_refused(scores, message):
    """Without a labelled defect there is no share found."""
    with pytest.raises(UndefinedMetricError, match=message):
        check_threshold(calibrate(np.arange(49.0), 0.02), np.array(scores))
