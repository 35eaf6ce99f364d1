"""Figures of pixels, against values by hand and other implementations."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from reconad_plugin.errors import UndefinedMetricError
from reconad_plugin.metrics.pixel import PixelCurves

tied_maps = arrays.arrays(np.float32, (3, 4, 5), elements=st.integers(-4, 4).map(float))
some_masks = arrays.arrays(np.bool_, (3, 4, 5)).filter(lambda mask: mask.any() and not mask.all())
pixel_figures = pytest.mark.parametrize(
    "figure",
    [
        pytest.param(PixelCurves.auroc, id="AUROC"),
        pytest.param(PixelCurves.ap, id="AP"),
        pytest.param(lambda curves: curves.aupro(0.3), id="AUPRO"),
    ],
)
CROWDS = {
    "around one half": lambda noise: 0.5 + noise / 20,
    "at 0 and at 1, as a softmax": lambda noise: 1 / (1 + np.exp(-8 * noise)),
    "within rounding of 0 and of 1": lambda noise: 1 / (1 + np.exp(-16 * noise)),
    "tiny": lambda noise: 1e-12 * np.exp(noise),
    "from tens to hundreds": lambda noise: 100 * np.exp(noise / 4),
    "on both sides of 0": lambda noise: noise / 1000,
    "below 0": lambda noise: noise - 10,
    "on both sides of 1": lambda noise: 1 + noise / 10,
}


def curves_of(anomaly_maps, masks):
    curves = PixelCurves()
    curves.update(anomaly_maps, masks)
    return curves


def noise_with_defects(count=8, size_px=48, seed=20_240_607):
    """Gaussian noise, (N, S, S), a little higher on two squares of every other map."""
    masks = np.zeros((count, size_px, size_px), dtype=bool)
    masks[::2, 3:12, 5:25] = masks[::2, 30:33, 30:34] = True
    noise = np.random.default_rng(seed).standard_normal(masks.shape) - 1 + 1.2 * masks
    return noise, masks


def test_pixel_figures_by_hand():
    """Two defects of one and two pixels; one of 25 normal pixels scores too high."""
    anomaly_maps = np.zeros((2, 2, 7), dtype=np.float32)
    masks = np.zeros((2, 2, 7), dtype=bool)
    masks[0, 0, 0] = masks[0, 0, 5] = masks[0, 1, 6] = True  # the last two touch at a corner
    anomaly_maps[0, 0, 0], anomaly_maps[0, 0, 5] = 4, 2
    anomaly_maps[1, 0, 0] = 3  # on a normal image
    normals = 25

    curves = curves_of(anomaly_maps, masks)
    # ranked: hit, false alarm, hit, then all others are tied
    assert curves.auroc() == pytest.approx((25 + 24 + 24 / 2) / (3 * normals))
    assert curves.ap() == pytest.approx((1 + 2 / 3 + 3 / 28) / 3)
    # overlap 1/2 up to one false alarm, 3/4 after it, then linear to 1 at all normal pixels
    limit = 0.3
    at_limit = 3 / 4 + 1 / 4 * (limit - 1 / normals) / (24 / normals)
    area = 1 / 2 * (1 / normals) + (3 / 4 + at_limit) / 2 * (limit - 1 / normals)
    assert curves.aupro(limit) == pytest.approx(area / limit)
    # 4 and the false alarm of 3 above 2.5: one hit, two marked, three anomalous
    assert curves.f1(2.5) == pytest.approx(2 * 1 / (2 + 3))
    assert curves.f1(-1) == pytest.approx(2 * 3 / (28 + 3))
    assert curves.f1(5) == 0


@given(some_masks, st.integers(0, 99), st.floats(-2, 2))
def test_f1_is_scikit_learns(masks, seed, threshold):
    """Also at and of scores below 0, which a threshold lies between."""
    scores = np.random.default_rng(seed).standard_normal(masks.shape).astype(np.float32)
    is_apart = np.abs(scores - threshold) > 0.01 * abs(threshold) + 1e-6
    scores = np.where(is_apart, scores, np.float32(threshold + 0.1 * abs(threshold) + 0.1))

    found = curves_of(scores.astype(np.float32), masks).f1(threshold)

    assert found == pytest.approx(f1_score(masks.ravel(), scores.ravel() > threshold))


@given(tied_maps, some_masks)
def test_pixel_figures_are_scikit_learns(anomaly_maps, masks):
    """Among many ties, the figures of an independent implementation over all pixels."""
    labels, scores = masks.ravel(), anomaly_maps.ravel()

    curves = curves_of(anomaly_maps, masks)

    assert curves.auroc() == pytest.approx(roc_auc_score(labels, scores))
    assert curves.ap() == pytest.approx(average_precision_score(labels, scores))


@given(tied_maps, some_masks, st.sampled_from([0.01, 0.05, 0.3, 1.0]))
def test_aupro_is_that_of_its_definition(anomaly_maps, masks, fpr_limit):
    """Threshold after threshold and region after region, as the definition reads."""
    found = curves_of(anomaly_maps, masks).aupro(fpr_limit)

    assert found == pytest.approx(aupro_by_region(anomaly_maps, masks, fpr_limit))


def aupro_by_region(anomaly_maps, masks, fpr_limit):
    thresholds = np.unique(anomaly_maps)[::-1]

    def shares(scores):  # at or above each threshold
        return 1 - np.searchsorted(np.sort(scores), thresholds) / len(scores)

    overlaps = [
        shares([anomaly_maps[pixel] for pixel in region])
        for image, mask in enumerate(masks)
        for region in flood(image, mask)
    ]
    fprs, pros = shares(anomaly_maps[~masks]), np.mean(overlaps, axis=0)
    area = 0.0
    curve = zip([0.0, *fprs], [0.0, *pros], strict=True)
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
    stretched = figure(curves_of(np.exp(anomaly_maps) + 3, masks))

    assert stretched == pytest.approx(figure(curves_of(anomaly_maps, masks)))


@pixel_figures
@given(masks=some_masks)
def test_a_perfect_map_has_the_figure_one(figure, masks):
    """The mask itself, as a map, finds every defect before any normal pixel."""
    assert figure(curves_of(masks.astype(np.float32), masks)) == pytest.approx(1)


@given(some_masks)
def test_a_reversed_map_finds_nothing_within_the_limit(masks):
    """Where all normal pixels come first, no region is found at any smaller rate."""
    curves = curves_of(-masks.astype(np.float32), masks)

    assert curves.aupro(0.3) == 0
    assert curves.auroc() == 0


@pytest.mark.parametrize("fpr_limit", [0.05, 0.3, 1.0])
def test_a_flat_map_has_the_aupro_of_a_coin(fpr_limit):
    """With one score for all pixels the overlap rises with the false-positive rate."""
    masks = np.eye(4, dtype=bool)[None]

    curves = curves_of(np.ones((1, 4, 4), np.float32), masks)

    assert curves.aupro(fpr_limit) == pytest.approx(fpr_limit / 2)


def test_a_small_region_weighs_like_a_large_one():
    """Of a region of nine pixels and one of a single pixel, missing either costs the same."""
    masks = np.zeros((1, 8, 8), dtype=bool)
    masks[0, :3, :3] = masks[0, 7, 7] = True
    only_large, only_small = masks.astype(np.float32), masks.astype(np.float32)
    only_large[0, 7, 7] = only_small[0, :3, :3] = -1

    missed_small, missed_large = curves_of(only_large, masks), curves_of(only_small, masks)

    assert missed_small.aupro(0.3) == pytest.approx(missed_large.aupro(0.3))


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
            "finite anomaly maps.*; got NaN, infinity",
            id="NaN",
        ),
        pytest.param(
            np.full((1, 2, 2), np.inf),
            np.eye(2, dtype=bool)[None],
            "finite anomaly maps.*; got NaN, infinity",
            id="infinity",
        ),
        pytest.param(
            np.full((1, 2, 2), -np.inf),
            np.eye(2, dtype=bool)[None],
            "finite anomaly maps.*; got NaN, infinity",
            id="minus infinity",
        ),
        pytest.param(
            np.full((1, 2, 2), 1e35),
            np.eye(2, dtype=bool)[None],
            r"up to 1e\+31; got .* a larger score",
            id="too large to be told from infinity",
        ),
    ],
)
def test_undefined_pixel_figures_are_errors(figure, anomaly_maps, masks, said):
    """What does not exist is not given a number."""
    with pytest.raises(UndefinedMetricError, match=f"pixel_A[A-Z]+ needs .*{said}"):
        figure(curves_of(anomaly_maps.astype(np.float32), masks))


@pytest.mark.parametrize("fpr_limit", [0.0, -0.1, 1.5, math.nan])
def test_aupro_up_to_an_impossible_rate_is_an_error(fpr_limit):
    """A limit of nothing has no area, and NaN is no limit."""
    masks = np.eye(2, dtype=bool)[None]

    with pytest.raises(UndefinedMetricError, match=rf"in \(0, 1\] as its limit; got {fpr_limit}"):
        curves_of(masks.astype(np.float32), masks).aupro(fpr_limit)


@pytest.mark.parametrize(
    ("anomaly_maps", "masks", "said"),
    [
        pytest.param(
            np.zeros((1, 4, 4)),
            np.eye(2, dtype=bool)[None],
            r"got \(1, 4, 4\) and bool \(1, 2, 2\): resize the masks",
            id="shapes differ",
        ),
        pytest.param(
            np.zeros((2, 2)),
            np.eye(2, dtype=bool),
            r"got \(2, 2\) and bool \(2, 2\)",
            id="no batch",
        ),
        pytest.param(
            np.zeros((1, 2, 2)),
            np.eye(2, dtype=np.uint8)[None],
            r"got \(1, 2, 2\) and uint8 \(1, 2, 2\)",
            id="masks of numbers",
        ),
    ],
)
def test_maps_and_masks_that_do_not_belong_together_are_an_error(anomaly_maps, masks, said):
    """No pixel is counted with another one's label."""
    with pytest.raises(UndefinedMetricError, match=rf"bool masks of one \(N, S, S\) shape; {said}"):
        curves_of(anomaly_maps, masks)


@pytest.mark.parametrize("crowd", CROWDS.values(), ids=CROWDS)
def test_bins_are_fine_wherever_scores_crowd(crowd):
    """Within 1e-4 of the figures of all distinct scores, and AP hardly lower."""
    noise, masks = noise_with_defects()
    anomaly_maps = crowd(noise).astype(np.float32)

    curves = curves_of(anomaly_maps, masks)

    labels, scores = masks.ravel(), anomaly_maps.ravel()
    assert curves.auroc() == pytest.approx(roc_auc_score(labels, scores), abs=1e-4)
    assert -3e-3 < curves.ap() - average_precision_score(labels, scores) < 1e-6
    assert curves.aupro(0.3) == pytest.approx(aupro_by_region(anomaly_maps, masks, 0.3), abs=1e-4)


@pytest.mark.parametrize(
    ("steepness", "auroc", "aupro"),
    [
        pytest.param(1, 0.8092519, 0.5120134, id="smooth"),
        pytest.param(12, 0.8091380, 0.5116955, id="saturated"),
    ],
)
def test_figures_are_anomalibs(steepness, auroc, aupro):
    """Golden values of ``anomalib.metrics`` 2.7.0 on the same maps.

    Made with ``AUROC`` and ``AUPRO(fpr_limit=0.3)``, ``fields=["anomaly_map", "gt_mask"]``, and
    one ``update`` with a namespace of the float32 maps and the masks as tensors.
    """
    noise, masks = noise_with_defects()
    anomaly_maps = (1 / (1 + np.exp(-steepness * noise))).astype(np.float32)

    curves = curves_of(anomaly_maps, masks)

    assert curves.auroc() == pytest.approx(auroc, abs=1e-4)
    assert curves.aupro(0.3) == pytest.approx(aupro, abs=1e-4)


def test_minus_zero_is_zero():
    """Two zeros of either sign are tied."""
    anomaly_maps = np.array([[[0.0, -0.0]]], dtype=np.float32)

    assert curves_of(anomaly_maps, np.array([[[True, False]]])).auroc() == 0.5
    assert curves_of(anomaly_maps, np.array([[[False, True]]])).auroc() == 0.5


@given(
    arrays.arrays(np.float32, 40, elements=st.floats(-(2.0**60), 2.0**60, width=32)),
    st.floats(0, 1, width=32),
)
def test_higher_scores_are_never_below_lower_ones(scores, one_more):
    """Whatever finite scores a map holds, those above their median are never ranked below."""
    ordered = np.sort(np.append(scores, np.float32(one_more)))
    masks = np.arange(len(ordered)) >= len(ordered) // 2

    assert curves_of(ordered[None, None], masks[None, None]).auroc() >= 0.5


@pixel_figures
def test_batches_add_up(figure):
    """Map by map or all at once, maps of several sizes or not."""
    noise, masks = noise_with_defects()
    at_once, one_by_one = curves_of(noise, masks), PixelCurves()

    for anomaly_map, mask in zip(noise, masks, strict=True):
        one_by_one.update(anomaly_map[None], mask[None])

    assert figure(one_by_one) == figure(at_once)


def test_memory_does_not_grow_with_the_maps():
    """Forty batches take no more than four."""

    def peak_bytes(batches):
        noise, masks = noise_with_defects()
        tracemalloc.start()
        curves = PixelCurves()
        for _ in range(batches):
            curves.update(noise, masks)
        curves.aupro(0.3)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_bytes(40) < peak_bytes(4) + noise_with_defects()[0].nbytes // 8
