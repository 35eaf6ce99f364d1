"""Figures of detection quality, against values by hand and other implementations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from reconad_plugin.errors import UndefinedMetricError
from reconad_plugin.metrics import image_auroc, share_above

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
