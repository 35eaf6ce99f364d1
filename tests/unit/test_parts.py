"""Pictures of one part: they fall on one side, and count as one witness."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.calibration import calibrate, threshold_warning
from reconad_plugin.detector.normal_map import MapSums, scores_without_own
from reconad_plugin.gate.comparison import bootstrap_auroc, sign_test, swap_recalls
from reconad_plugin.gate.golden import SIMULATED
from reconad_plugin.ledger.splits import (
    CALIBRATION,
    JUDGE,
    TRAIN,
    SplitRules,
    deal_together,
    first_group,
)
from reconad_plugin.metrics.intervals import clopper_pearson
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.held_out_scores import cross_fit, order_of_shares
from reconad_plugin.training.images import NormalImages
from tests.judged import TARGET_FPR, label, see

BY_PART = SplitRules(part_pattern=r"part(\d+)_")
BY_TIME = SplitRules(split_by="time")


def pictures_of(parts, each=5):
    """Names of so many pictures of each part, mixed."""
    return [f"part{part}_{shot}.png" for shot in range(each) for part in range(parts)]


@pytest.mark.parametrize(
    ("names", "rules", "shares"),
    [
        pytest.param(pictures_of(50), BY_PART, (150, 50, 50), id="parts"),
        pytest.param([f"{n}.png" for n in range(10)], BY_TIME, (6, 2, 2), id="ten in their order"),
        pytest.param([f"{n}.png" for n in range(10)], BY_PART, (6, 2, 2), id="no name has a part"),
        pytest.param([f"{n:03}.png" for n in range(500)], BY_TIME, (300, 100, 100), id="many"),
        pytest.param([], BY_PART, (0, 0, 0), id="none"),
    ],
)
def test_shares_stay_three_one_and_one(names, rules, shares):
    """Whatever falls on one side together."""
    sides = Counter(deal_together(names, [], rules))

    assert (sides[TRAIN], sides[CALIBRATION], sides[JUDGE]) == shares


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(0, 60))
def test_a_part_is_on_one_side_on_every_night(parts, first):
    """What comes of it later keeps its side."""
    names = [f"part{part}_{number}.png" for number, part in enumerate(parts)]
    tonight = deal_together(names[:first], [], BY_PART)

    later = deal_together(names[first:], zip(names[:first], tonight, strict=True), BY_PART)

    sides = set(zip(parts, tonight + later, strict=True))
    assert len(sides) == len(set(parts))


def test_a_part_that_was_split_before_is_learnt():
    """What a version has seen of it is no new part to that version."""
    dealt = [("part7_1.png", JUDGE), ("part7_2.png", TRAIN), ("part7_3.png", CALIBRATION)]

    assert deal_together(["part7_4.png"], dealt, BY_PART) == [TRAIN]


def test_neighbours_in_time_are_on_one_side():
    """Of a hundred pictures nineteen have another side than the one before."""
    sides = deal_together([f"{n:03}.png" for n in range(100)], [], BY_TIME)

    assert sum(a != b for a, b in pairwise(sides)) <= 19


def test_a_name_tells_the_part_or_nothing():
    """A group that need not be there may find nothing."""
    assert first_group(r"part(\d+)_", "a/part17_left.png") == "17"
    assert first_group(r"part(\d+)?_", "part_left.png") == ""
    assert first_group(None, "part17_left.png") == ""


def test_one_picture_a_part_changes_nothing():
    """To the last digit."""
    scores = np.random.default_rng(0).normal(size=80)

    told, untold = calibrate(scores, 0.02, parts=80), calibrate(scores, 0.02)

    assert replace(told, parts=None) == untold
    assert told.fpr_interval == untold.fpr_interval
    assert (told.p_values(scores) == untold.p_values(scores)).all()


@pytest.mark.parametrize(("alike", "highest"), [(0.3, 0.021), (0.92, 0.035)])
def test_new_parts_keep_the_rate_that_is_set(alike, highest):
    """Nearly, where the pictures of a part are alike, and within the interval that is told."""
    random, rates, held = np.random.default_rng(1), [], []
    for _ in range(300):
        of_part = random.normal(size=60).repeat(6)
        scores = alike**0.5 * of_part + (1 - alike) ** 0.5 * random.normal(size=360)
        calibration = calibrate(scores, 0.02, parts=60)
        rates.append(stats.norm.sf(calibration.image_threshold))
        low, high = calibration.fpr_interval
        held.append(low <= rates[-1] <= high)

    assert 0.01 < np.mean(rates) < highest
    assert np.mean(held) > 0.93


def test_few_parts_are_said_to_be_few():
    """A hundred pictures of ten parts vouch for what ten can."""
    calibration = calibrate(np.arange(100.0), 0.02, parts=10)

    assert calibration.supported_fpr == pytest.approx(1 / 11)
    assert "100 held-out images of 10 parts can vouch for 9.1 %" in threshold_warning(calibration)
    assert "49 parts held out" in threshold_warning(calibration)


def test_an_interval_counts_parts():
    """Forty pictures of ten parts say as much as ten."""
    assert clopper_pearson(8, 40, parts=10) == pytest.approx(clopper_pearson(2, 10))
    assert clopper_pearson(0, 40, parts=10) == pytest.approx(clopper_pearson(0, 10))
    assert clopper_pearson(8, 40, parts=40) == clopper_pearson(8, 40)


def test_shares_that_are_held_out_are_of_whole_parts():
    """No network scores a picture of a part that it learnt, and each picture is scored once."""
    parts = tuple(str(number % 9) for number in range(45))
    images, learnt = torch.arange(45), []

    def fit(train):
        learnt.append({parts[index] for index in train.tolist()})
        return len(learnt) - 1

    held_out = cross_fit(images, fit, parts)

    order = torch.cat([shared for _, shared in held_out]).tolist()
    assert sorted(order) == list(range(45))
    assert order_of_shares(parts, parts) == tuple(parts[index] for index in order)
    for number, shared in held_out:
        assert not learnt[number] & {parts[index] for index in shared.tolist()}


def test_parts_and_not_pictures_are_few():
    """Two hundred pictures of fifty parts are held out, as fifty pictures are; two hundred parts
    are enough."""
    images = torch.arange(200)

    assert cross_fit(images, len, tuple(str(number % 50) for number in range(200)))
    assert not cross_fit(images, len)
    assert not cross_fit(images, len, ("a",) * 200)


def test_a_normal_map_is_of_other_parts():
    """A part that shines at one pixel in all its pictures stands out from the others there."""
    maps = np.random.default_rng(2).normal(1, 0.1, (30, 4, 4)).astype(np.float32)
    maps[:10, 2, 2] += 3
    parts = tuple("odd" if number < 10 else str(number) for number in range(30))

    sums = MapSums.of(maps)
    by_part, _ = scores_without_own(sums, maps, maps, parts=parts)
    by_picture, _ = scores_without_own(sums, maps, maps)

    assert by_part[:10].min() > 2 * by_picture[:10].max()


def test_a_trained_version_counts_parts():
    """The threshold rests on the parts of all images that were held out."""
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.integers(90, 110, (24, 3, 32, 32)).astype(np.uint8))
    parts = tuple(str(number // 2) for number in range(24))
    normal = NormalImages(images[:16], images[16:], images[:0], parts[:16], parts[16:])
    product = ProductSettings(model="fre", image_size_px=32, features="random")

    detector, _ = fit_detector(normal, product, TrainingSettings())

    assert len(detector.calibration.normal_scores) == 24
    assert detector.calibration.parts == 12
    assert detector.matched_calibration.parts == 12


def test_the_gate_resamples_parts():
    """Five alike pictures of a part say no more than one, of normal and of anomalous images."""
    random = np.random.default_rng(3)
    ours, theirs = random.normal(size=(2, 2, 40))
    one = label(40, ["dent"] * 40)
    five = replace(
        label(200, ["dent"] * 200),
        normal_parts=tuple(f"{number // 5:02}" for number in range(200)),
        anomalous_parts=tuple(f"{number // 5:02}" for number in range(200)),
    )

    def found(each, labels):
        versions = [see(*(half.repeat(each) for half in scores)) for scores in (ours, theirs)]
        return (
            bootstrap_auroc(*versions, labels, np.random.default_rng(0)),
            swap_recalls(*versions, labels, TARGET_FPR, np.random.default_rng(0))[0],
        )

    (single, recall), (several, recall_of_five) = found(1, one), found(5, five)
    assert several.value == pytest.approx(single.value, abs=1e-6)
    assert several.deviation == pytest.approx(single.deviation, rel=1e-4)
    assert recall_of_five.chance_high == pytest.approx(recall.chance_high, abs=0.05)


def test_a_sign_test_counts_parts():
    """Three parts that got better in all their pictures are three heads of a coin."""
    better, worse = np.ones(12, bool), np.zeros(12, bool)

    assert sign_test(better, worse, np.arange(12) // 4) == pytest.approx(1 / 8)
    assert sign_test(better, worse, np.arange(12)) == pytest.approx(2**-12)


def test_a_simulated_anomaly_is_of_the_part_of_its_image():
    """Names of images end where the number of the anomaly begins."""
    labels = replace(
        label(2, [SIMULATED] * 2),
        normal=("part1_a", "part2_a"),
        anomalous=("part1_a simulated 1", "part2_a simulated 2"),
    )

    told = labels.with_parts(lambda name: name)

    assert told.normal_parts == told.anomalous_parts == ("part1_a", "part2_a")
