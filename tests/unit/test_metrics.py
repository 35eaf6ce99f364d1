"""Figures of detection quality, against values by hand and other implementations."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from reconad_plugin.errors import UndefinedMetricError
from reconad_plugin.metrics import (
    image_ap,
    image_auroc,
    image_f1,
    pixel_ap,
    pixel_aupro,
    pixel_auroc,
    share_above,
)

scores = st.lists(st.integers(-20, 20), min_size=1, max_size=30)
tied_maps = arrays.arrays(np.float32, (3, 4, 5), elements=st.integers(-4, 4).map(float))
some_masks = arrays.arrays(np.bool_, (3, 4, 5)).filter(lambda mask: mask.any() and not mask.all())
pixel_figures = pytest.mark.parametrize(
    "figure",
    [
        pytest.param(pixel_auroc, id="AUROC"),
        pytest.param(pixel_ap, id="AP"),
        pytest.param(pixel_aupro, id="AUPRO"),
    ],
)


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


def test_pixel_figures_by_hand():
    """Two defects of one and two pixels; one of 25 normal pixels scores too high."""
    anomaly_maps = np.zeros((2, 2, 7), dtype=np.float32)
    masks = np.zeros((2, 2, 7), dtype=bool)
    masks[0, 0, 0] = masks[0, 0, 5] = masks[0, 1, 6] = True  # the last two touch at a corner
    anomaly_maps[0, 0, 0], anomaly_maps[0, 0, 5] = 4, 2
    anomaly_maps[1, 0, 0] = 3  # on a normal image
    normals = 25

    # ranked: hit, false alarm, hit, then all others are tied
    assert pixel_auroc(anomaly_maps, masks) == pytest.approx((25 + 24 + 24 / 2) / (3 * normals))
    assert pixel_ap(anomaly_maps, masks) == pytest.approx((1 + 2 / 3 + 3 / 28) / 3)
    # overlap 1/2 up to one false alarm, 3/4 after it, then linear to 1 at all normal pixels
    limit = 0.3
    at_limit = 3 / 4 + 1 / 4 * (limit - 1 / normals) / (24 / normals)
    area = 1 / 2 * (1 / normals) + (3 / 4 + at_limit) / 2 * (limit - 1 / normals)
    assert pixel_aupro(anomaly_maps, masks, limit) == pytest.approx(area / limit)


@given(tied_maps, some_masks)
def test_pixel_figures_are_scikit_learns(anomaly_maps, masks):
    """Among many ties, the figures of an independent implementation over all pixels."""
    labels, scores = masks.ravel(), anomaly_maps.ravel()

    assert pixel_auroc(anomaly_maps, masks) == pytest.approx(roc_auc_score(labels, scores))
    assert pixel_ap(anomaly_maps, masks) == pytest.approx(average_precision_score(labels, scores))


@given(tied_maps, some_masks, st.sampled_from([0.01, 0.05, 0.3, 1.0]))
def test_aupro_is_that_of_a_loop_over_thresholds(anomaly_maps, masks, fpr_limit):
    """Threshold after threshold and region after region, as the definition reads."""
    found = pixel_aupro(anomaly_maps, masks, fpr_limit)

    assert found == pytest.approx(aupro_by_loop(anomaly_maps, masks, fpr_limit))


def aupro_by_loop(anomaly_maps, masks, fpr_limit):
    regions = [region for image, mask in enumerate(masks) for region in flood(image, mask)]
    curve = [(0.0, 0.0)]
    for threshold in sorted(set(anomaly_maps.ravel()), reverse=True):
        found = anomaly_maps >= threshold
        overlaps = [np.mean([found[pixel] for pixel in region]) for region in regions]
        curve.append((found[~masks].mean(), np.mean(overlaps)))
    area = 0.0
    for (fpr, pro), (next_fpr, next_pro) in itertools.pairwise(curve):
        width = min(next_fpr, fpr_limit) - fpr
        if width > 0:
            reached = pro + (next_pro - pro) * width / (next_fpr - fpr)
            area += (pro + reached) / 2 * width
    return area / fpr_limit


def flood(image, mask):
    """Yield each 8-connected region as the list of its (image, row, column)."""
    left = set(zip(*np.nonzero(mask), strict=True))
    while left:
        region = [left.pop()]
        for row, column in region:
            near = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
            region.extend(near & left)
            left -= near
        yield [(image, row, column) for row, column in region]


@pixel_figures
@given(anomaly_maps=tied_maps, masks=some_masks)
def test_pixel_figures_depend_on_the_order_alone(figure, anomaly_maps, masks):
    """A rising change of scale leaves the figure."""
    stretched = figure(np.exp(anomaly_maps) + 3, masks)

    assert stretched == pytest.approx(figure(anomaly_maps, masks))


@pixel_figures
@given(masks=some_masks)
def test_a_perfect_map_has_the_figure_one(figure, masks):
    """The mask itself, as a map, finds every defect before any normal pixel."""
    assert figure(masks.astype(np.float32), masks) == pytest.approx(1)


@given(some_masks)
def test_a_reversed_map_finds_nothing_within_the_limit(masks):
    """Where all normal pixels come first, no region is found at any smaller rate."""
    reversed_map = -masks.astype(np.float32)

    assert pixel_aupro(reversed_map, masks) == 0
    assert pixel_auroc(reversed_map, masks) == 0


@pytest.mark.parametrize("fpr_limit", [0.05, 0.3, 1.0])
def test_a_flat_map_has_the_aupro_of_a_coin(fpr_limit):
    """With one score for all pixels the overlap rises with the false-positive rate."""
    masks = np.eye(4, dtype=bool)[None]

    assert pixel_aupro(np.ones((1, 4, 4), np.float32), masks, fpr_limit) == pytest.approx(
        fpr_limit / 2
    )


def test_a_small_region_weighs_like_a_large_one():
    """Of a region of nine pixels and one of a single pixel, missing either costs the same."""
    masks = np.zeros((1, 8, 8), dtype=bool)
    masks[0, :3, :3] = masks[0, 7, 7] = True
    only_large, only_small = masks.astype(np.float32), masks.astype(np.float32)
    only_large[0, 7, 7] = only_small[0, :3, :3] = -1

    assert pixel_aupro(only_large, masks) == pytest.approx(pixel_aupro(only_small, masks))


@pixel_figures
@pytest.mark.parametrize(
    ("anomaly_maps", "masks", "said"),
    [
        pytest.param(
            np.zeros((1, 2, 2)),
            np.zeros((1, 2, 2), bool),
            "normal and anomalous pixels; got 4 and 0",
            id="no anomalous pixel",
        ),
        pytest.param(
            np.zeros((1, 2, 2)),
            np.ones((1, 2, 2), bool),
            "normal and anomalous pixels; got 0 and 4",
            id="no normal pixel",
        ),
        pytest.param(
            np.zeros((0, 2, 2)),
            np.zeros((0, 2, 2), bool),
            "normal and anomalous pixels; got 0 and 0",
            id="no image",
        ),
        pytest.param(
            np.full((1, 2, 2), np.nan),
            np.eye(2, dtype=bool)[None],
            "finite anomaly maps; got NaN or infinity",
            id="NaN",
        ),
        pytest.param(
            np.full((1, 2, 2), np.inf),
            np.eye(2, dtype=bool)[None],
            "finite anomaly maps; got NaN or infinity",
            id="infinity",
        ),
        pytest.param(
            np.zeros((1, 4, 4)),
            np.eye(2, dtype=bool)[None],
            r"one \(N, S, S\) shape; got \(1, 4, 4\) and bool \(1, 2, 2\): resize the masks",
            id="shapes differ",
        ),
        pytest.param(
            np.zeros((2, 2)),
            np.eye(2, dtype=bool),
            r"one \(N, S, S\) shape; got \(2, 2\) and bool \(2, 2\)",
            id="no batch",
        ),
        pytest.param(
            np.zeros((1, 2, 2)),
            np.eye(2, dtype=np.uint8)[None],
            r"bool masks .*; got \(1, 2, 2\) and uint8 \(1, 2, 2\)",
            id="masks of numbers, which would select by index",
        ),
    ],
)
def test_undefined_pixel_figures_are_errors(figure, anomaly_maps, masks, said):
    """What does not exist is not given a number."""
    with pytest.raises(UndefinedMetricError, match=f"pixel_A[A-Z]+ needs .*{said}"):
        figure(anomaly_maps.astype(np.float32), masks)


@pytest.mark.parametrize("fpr_limit", [0.0, -0.1, 1.5, math.nan])
def test_aupro_up_to_an_impossible_rate_is_an_error(fpr_limit):
    """A limit of nothing has no area, and NaN is no limit."""
    masks = np.eye(2, dtype=bool)[None]

    with pytest.raises(UndefinedMetricError, match=rf"in \(0, 1\] as its limit; got {fpr_limit}"):
        pixel_aupro(masks.astype(np.float32), masks, fpr_limit)
