"""Figures of images, against values by hand and other implementations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score, precision_recall_curve, roc_auc_score

from reconad_plugin.errors import UndefinedMetricError
from reconad_plugin.metrics.image import (
    escape_rate,
    image_ap,
    image_auroc,
    image_f1,
    image_f1_best,
    share_above,
    share_interval,
)

scores = st.lists(st.integers(-20, 20), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("normal", "anomalous", "expected"),
    [
        pytest.param([1, 2], [3, 4], 1.0, id="all above"),
        pytest.param([3, 4], [1, 2], 0.0, id="all below"),
        pytest.param([1, 1], [1, 1], 0.5, id="all equal"),
        pytest.param([1, 3], [2, 4], 0.75, id="three of four pairs in order"),
        pytest.param([1, 2], [2], 0.75, id="a tie counts half"),
    ],
)
def test_auroc_by_hand(normal, anomalous, expected):
    """The share of pairs in which the anomalous image scores higher."""
    assert image_auroc(np.array(normal), np.array(anomalous)) == pytest.approx(expected)


@given(scores, scores)
def test_auroc_is_mann_whitneys_statistic(normal, anomalous):
    """AUROC equals U over the number of pairs, and scikit-learn's figure."""
    found = image_auroc(np.array(normal), np.array(anomalous))

    statistic = stats.mannwhitneyu(anomalous, normal).statistic
    labels = [0] * len(normal) + [1] * len(anomalous)
    assert found == pytest.approx(statistic / (len(normal) * len(anomalous)))
    assert found == pytest.approx(roc_auc_score(labels, normal + anomalous))


@given(scores, scores)
def test_auroc_mirrors(normal, anomalous):
    """With the classes exchanged the figure is mirrored at one half."""
    normal, anomalous = np.array(normal), np.array(anomalous)

    assert image_auroc(normal, anomalous) == pytest.approx(1 - image_auroc(anomalous, normal))


@given(scores, scores)
def test_auroc_depends_on_the_order_alone(normal, anomalous):
    """A rising change of scale leaves the figure."""
    normal, anomalous = np.array(normal), np.array(anomalous)

    stretched = image_auroc(np.exp(normal / 5) + 3, np.exp(anomalous / 5) + 3)

    assert stretched == pytest.approx(image_auroc(normal, anomalous))


@pytest.mark.parametrize(
    ("normal", "anomalous", "said"),
    [
        pytest.param([], [1.0], "got 0 and 1", id="no normal image"),
        pytest.param([1.0], [], "got 1 and 0", id="no anomalous image"),
        pytest.param([], [], "got 0 and 0", id="no image"),
        pytest.param([1.0, math.nan], [1.0], "got NaN or infinity", id="NaN"),
        pytest.param([1.0], [math.inf], "got NaN or infinity", id="infinity"),
    ],
)
def test_undefined_auroc_is_an_error(normal, anomalous, said):
    """What does not exist is not given a number."""
    with pytest.raises(UndefinedMetricError, match=f"image_AUROC needs .*{said}"):
        image_auroc(np.array(normal), np.array(anomalous))


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        pytest.param(0.0, 1.0, id="all"),
        pytest.param(2.0, 0.5, id="the threshold itself is not above it"),
        pytest.param(2.5, 0.5, id="half"),
        pytest.param(4.0, 0.0, id="none"),
    ],
)
def test_share_above_by_hand(threshold, expected):
    """Scores strictly above the threshold count."""
    assert share_above(np.array([1.0, 2.0, 3.0, 4.0]), threshold) == expected


def test_share_of_nothing_is_an_error():
    """No score has no share."""
    with pytest.raises(UndefinedMetricError, match="at least one score; got none"):
        share_above(np.array([]), 0.5)


@pytest.mark.parametrize(
    ("values", "threshold"),
    [
        pytest.param([0.1, math.nan], 0.5, id="a score is NaN"),
        pytest.param([0.1, 0.9], math.nan, id="the threshold is NaN"),
    ],
)
def test_share_with_what_is_no_number_is_an_error(values, threshold):
    """NaN is above nothing, and must not pass for a perfect false-positive rate."""
    with pytest.raises(UndefinedMetricError, match="NaN"):
        share_above(np.array(values), threshold)


@pytest.mark.parametrize(
    ("normal", "anomalous", "expected"),
    [
        pytest.param([1, 2], [3, 4], 1.0, id="all above"),
        pytest.param([1, 1], [1, 1], 0.5, id="all equal"),
        pytest.param([1, 3], [2, 4], (1 + 2 / 3) / 2, id="one normal image in between"),
    ],
)
def test_average_precision_by_hand(normal, anomalous, expected):
    """The precision at each anomalous image, averaged."""
    assert image_ap(np.array(normal), np.array(anomalous)) == pytest.approx(expected)


@given(scores, scores)
def test_average_precision_depends_on_the_order_alone(normal, anomalous):
    """A rising change of scale leaves the figure."""
    normal, anomalous = np.array(normal), np.array(anomalous)

    stretched = image_ap(np.exp(normal / 5) + 3, np.exp(anomalous / 5) + 3)

    assert stretched == pytest.approx(image_ap(normal, anomalous))


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        pytest.param(0.0, 2 * 2 / (2 + 2 + 2), id="everything is labelled anomalous"),
        pytest.param(1.0, 2 * 2 / (2 + 1 + 2), id="the threshold itself is not above it"),
        pytest.param(3.0, 2 * 1 / (1 + 0 + 2), id="one anomalous image is missed"),
        pytest.param(9.0, 0.0, id="nothing is labelled anomalous"),
    ],
)
def test_f1_by_hand(threshold, expected):
    """Twice the hits over hits, false alarms and anomalous images."""
    found = image_f1(np.array([1.0, 2.0]), np.array([3.0, 4.0]), threshold)

    assert found == pytest.approx(expected)


@given(scores, scores, st.integers(-20, 20))
def test_f1_is_scikit_learns(normal, anomalous, threshold):
    """The figure of an independent implementation on the same labels."""
    labels = [0] * len(normal) + [1] * len(anomalous)
    predicted = np.array(normal + anomalous) > threshold

    found = image_f1(np.array(normal), np.array(anomalous), threshold)

    assert found == pytest.approx(f1_score(labels, predicted, zero_division=0))


@pytest.mark.parametrize(
    ("figure", "name"),
    [
        pytest.param(image_ap, "image_AP", id="AP"),
        pytest.param(lambda *scores: image_f1(*scores, 0.5), "image_F1", id="F1"),
        pytest.param(image_f1_best, "image_F1_best", id="best F1"),
    ],
)
@pytest.mark.parametrize(
    ("normal", "anomalous", "said"),
    [
        pytest.param([], [1.0], "normal and anomalous images; got 0 and 1", id="no normal image"),
        pytest.param([1.0], [], "normal and anomalous images; got 1 and 0", id="no anomalous one"),
        pytest.param([math.nan], [1.0], "finite scores; got NaN or infinity", id="NaN"),
        pytest.param([1.0], [math.inf], "finite scores; got NaN or infinity", id="infinity"),
    ],
)
def test_undefined_image_figures_are_errors(figure, name, normal, anomalous, said):
    """What does not exist is not given a number."""
    with pytest.raises(UndefinedMetricError, match=f"{name} needs {said}"):
        figure(np.array(normal), np.array(anomalous))


def test_f1_at_a_threshold_that_is_no_number_is_an_error():
    """NaN is below nothing, and must not pass for a threshold that finds nothing."""
    with pytest.raises(UndefinedMetricError, match="image_F1 needs a finite threshold; got nan"):
        image_f1(np.array([1.0]), np.array([2.0]), math.nan)


@pytest.mark.parametrize(
    ("normal", "anomalous", "expected", "threshold"),
    [
        pytest.param([1, 2], [3, 4], 1.0, 2, id="all are told apart"),
        pytest.param([1, 3], [2, 4], 2 * 2 / (2 + 1 + 2), 1, id="one false alarm is worth it"),
        pytest.param([2, 3], [1, 4, 4], 2 * 2 / (2 + 0 + 3), 3, id="one miss is worth it"),
        pytest.param([5], [1], 2 * 1 / (1 + 1 + 1), np.nextafter(1, 0), id="all are flagged"),
        pytest.param([1, 2, 2, 2], [1.5, 3], 2 * 1 / 3, 2, id="as good: the higher one"),
    ],
)
def test_best_f1_by_hand(normal, anomalous, expected, threshold):
    """The figure of the best threshold, and that threshold."""
    found = image_f1_best(np.array(normal, float), np.array(anomalous, float))

    assert found == (pytest.approx(expected), threshold)


@given(scores, scores)
def test_best_f1_is_the_best_of_scikit_learns_curve(normal, anomalous):
    """No threshold of an independent implementation does better, and F1 at ours is the figure."""
    labels = [0] * len(normal) + [1] * len(anomalous)
    precision, recall, _ = precision_recall_curve(labels, normal + anomalous)

    found, threshold = image_f1_best(np.array(normal), np.array(anomalous))

    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    assert found == pytest.approx(f1.max())
    assert image_f1(np.array(normal), np.array(anomalous), threshold) == pytest.approx(found)


def test_escape_rate_by_hand():
    """A defect image at the threshold passes as normal, as does one below it."""
    assert escape_rate(np.array([1.0, 2.0, 3.0, 4.0]), 2.0) == 0.5


@pytest.mark.parametrize(
    ("above", "images", "low", "high"),
    [
        pytest.param(0, 10, 0.0, 1 - 0.025 ** (1 / 10), id="none of ten"),
        pytest.param(10, 10, 0.025 ** (1 / 10), 1.0, id="ten of ten"),
        pytest.param(2, 20, 0.01235, 0.31698, id="two of twenty, from published tables"),
    ],
)
def test_interval_of_a_share_is_clopper_and_pearsons(above, images, low, high):
    """Limits in closed form at the ends, and those of tables in between."""
    scores = np.repeat([1.0, 0.0], [above, images - above])

    assert share_interval(scores, 0.5) == pytest.approx((low, high), abs=1e-5)


def test_interval_of_the_share_of_nothing_is_an_error():
    """No score has no interval."""
    with pytest.raises(UndefinedMetricError, match="at least one score; got none"):
        share_interval(np.array([]), 0.5)
