"""Thresholds at levels of light."""

import math
import warnings

import numpy as np
import pytest
import torch

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.calibration_groups import (
    CalibrationGroups,
    calibrate_by_light,
    luminances,
)
from reconad_plugin.errors import NotEnoughImagesError
from reconad_plugin.images.features import describe_image
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages

TINY = ProductSettings(image_size_px=32, target_fpr=0.3)  # needs three images a level
A_STEP = TrainingSettings(steps=1, batch_size=4)


@pytest.fixture(scope="module")
def in_all_light(make_normal):
    """Normal images whose lamps are of many powers, by what they are for."""

    def dim(count, seed):
        power = torch.linspace(0.4, 1, count).view(-1, 1, 1, 1)
        return (make_normal(count, seed) * power).byte()

    return NormalImages(dim(18, 1), dim(30, 2), dim(2, 3))


def test_luminance_is_the_feature_of_the_manifest(make_normal):
    """Levels are told by the mean luma that describes an image's light everywhere."""
    images = make_normal(3, 1).numpy()
    images[1] //= 2

    found = luminances(images)

    expected = [describe_image(image.transpose(1, 2, 0))["luminance"] for image in images]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found[1] == pytest.approx(found[0] / 2, rel=0.05)
    assert luminances(images[:0]).shape == (0,)


def test_levels_by_hand():
    """An image at an edge belongs to the brighter level; beyond the outer ones nothing changes."""
    groups = CalibrationGroups((0.2, 0.6), (calibrate([1, 2], 0.3),) * 3)

    levels = groups.levels(np.array([0.0, 0.19, 0.2, 0.5, 0.6, 1.0]))

    assert levels.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("edges", "levels"),
    [
        pytest.param((0.5,), 3, id="a level too many"),
        pytest.param((0.5, 0.5), 3, id="equal edges"),
        pytest.param((0.6, 0.5), 3, id="falling edges"),
        pytest.param((math.nan,), 2, id="NaN"),
    ],
)
def test_levels_that_do_not_fit_are_refused(edges, levels):
    """Edges rise, and there is one level more than edges."""
    with pytest.raises(ValueError, match="need rising edges and one level more"):
        CalibrationGroups(edges, (calibrate([1, 2], 0.3),) * levels)


def test_edges_come_from_training_images_alone():
    """The levels are thirds of the training images, whatever the light of the held-out ones."""
    training = np.linspace(0, 0.9, 91)
    held_out = np.repeat([0.1, 0.31, 0.8], [5, 4, 6])
    scores = np.arange(15.0)

    groups = calibrate_by_light(training, held_out, scores, 0.2, scores + 100)

    np.testing.assert_allclose(groups.edges, [0.3, 0.6])
    assert [each.normal_scores for each in groups.calibrations] == [
        tuple(range(5)),
        tuple(range(5, 9)),
        tuple(range(9, 15)),
    ]
    assert [each.pixel_threshold for each in groups.calibrations] == [104, 108, 114]


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        pytest.param((4, 3, 9), "got 4, 3, 9 from dark to bright", id="one level is short"),
        pytest.param((16, 0, 0), "got 16, 0, 0 from dark to bright", id="one light alone"),
    ],
)
def test_levels_with_too_few_images_are_refused(counts, words):
    """Where one level cannot vouch for the target there are no levels."""
    held_out = np.repeat([0.1, 0.45, 0.8], counts)

    with pytest.raises(NotEnoughImagesError, match=f"need 4 held-out .* {words}"):
        calibrate_by_light(np.linspace(0, 0.9, 91), held_out, held_out, 0.2, held_out)


def test_lamp_that_never_changes_has_no_levels():
    """Images of one luminance all fall in one level, and that is said."""
    same = np.full(30, 0.5)

    with pytest.raises(NotEnoughImagesError, match="got 0, 0, 30 from dark to bright"):
        calibrate_by_light(same, same, np.arange(30.0), 0.2, np.arange(30.0))


def test_target_is_kept_at_each_level():
    """New normal images are above their level's threshold at the target; not so above the pooled.

    Scores fall with the light, so the pooled threshold gives its false alarms to dark images.
    """
    generator = np.random.default_rng(8)
    training = generator.random(600)
    held_out, new = generator.random((2000, 60)), generator.random(2000)
    scores = generator.gamma(2.0, size=(2000, 60)) / (0.1 + held_out)
    new_scores = generator.gamma(2.0, size=2000) / (0.1 + new)

    above, above_pooled, p_values, level = [], [], [], []
    for luminance, score, one, its_score in zip(held_out, scores, new, new_scores, strict=True):
        groups = calibrate_by_light(training, luminance, score, 0.2, score)
        (place,) = groups.levels(np.array([one]))
        calibration = groups.calibrations[place]
        level.append(place)
        above.append(its_score > calibration.image_threshold)
        above_pooled.append(its_score > calibrate(score, 0.2).image_threshold)
        p_values.append(calibration.p_values(np.array([its_score]))[0])

    level, above, above_pooled, p_values = map(np.array, (level, above, above_pooled, p_values))
    for place in range(3):
        is_here = level == place
        error = 3 * math.sqrt(0.2 * 0.8 / is_here.sum())
        assert 0.2 - 1 / 10 - error <= above[is_here].mean() <= 0.2 + error
        assert (p_values[is_here] <= 0.2).mean() <= 0.2 + error
    assert above_pooled[level == 0].mean() > 0.35
    assert above_pooled[level == 2].mean() < 0.1


@pytest.mark.usefixtures("tiny_models")
def test_trained_detector_has_levels_where_asked(in_all_light):
    """Each level's scores are those of the held-out images in its light, pooled ones stay."""
    settings = TINY.model_copy(update={"calibrate_by": "light"})

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector, _ = fit_detector(in_all_light, settings, A_STEP)

    thirds = np.quantile(luminances(in_all_light.train.numpy()), [1 / 3, 2 / 3])
    np.testing.assert_allclose(detector.light_levels.edges, thirds)
    level = detector.light_levels.levels(luminances(in_all_light.calibration.numpy()))
    calibrations = detector.light_levels.calibrations
    for place, calibration in enumerate(calibrations):
        assert len(calibration.normal_scores) == (level == place).sum()
        assert calibration.is_target_supported
        assert calibration.pixel_threshold is not None
    of_levels = [score for calibration in calibrations for score in calibration.normal_scores]
    assert sorted(of_levels) == list(detector.calibration.normal_scores)
    assert len(of_levels) == 30


@pytest.mark.usefixtures("tiny_models")
def test_too_few_images_fall_back_to_one_threshold(in_all_light):
    """Where a level is short the training goes on with the pooled threshold, and says so."""
    few = NormalImages(in_all_light.train, in_all_light.calibration[::4], in_all_light.judge)
    settings = TINY.model_copy(update={"calibrate_by": "light"})

    with pytest.warns(UserWarning, match="need 3 held-out .*; one threshold holds for all light"):
        detector, _ = fit_detector(few, settings, A_STEP)

    assert detector.light_levels is None
    assert len(detector.calibration.normal_scores) == 8


@pytest.mark.usefixtures("tiny_models")
def test_levels_are_not_made_unasked(in_all_light):
    """By default there is one threshold, with its pixel threshold from the maps."""
    detector, _ = fit_detector(in_all_light, TINY, A_STEP)

    maxima = detector.score(in_all_light.calibration).map_maxima
    assert detector.light_levels is None
    assert (maxima > detector.calibration.pixel_threshold).mean() <= 0.3
    assert detector.calibration.pixel_threshold in detector.calibration.normal_scores
