"""Thresholds by light, of a version of before."""

import math
from dataclasses import replace

import numpy as np
import pytest

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.calibration_groups import CalibrationGroups, luminances
from reconad_plugin.images.features import describe_image
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages


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


@pytest.mark.usefixtures("tiny_models")
def test_what_is_trained_from_it_has_one_threshold(make_normal):
    """And that is said; the pixel threshold comes from the maps of the held-out images."""
    images = NormalImages(make_normal(18, 1), make_normal(30, 2), make_normal(2, 3))
    settings = ProductSettings(image_size_px=32, target_fpr=0.3)
    a_step = TrainingSettings(steps=1, batch_size=4)
    base, _ = fit_detector(images, settings, a_step)
    levels = CalibrationGroups((0.5,), (base.calibration,) * 2)

    with pytest.warns(UserWarning, match="has thresholds by light; from now on one holds"):
        tuned, _ = fit_detector(images, settings, a_step, replace(base, light_levels=levels))

    assert tuned.light_levels is None
    maxima = tuned.score(images.calibration.numpy()).map_maxima
    assert (maxima > tuned.calibration.pixel_threshold).mean() <= 0.3
    assert tuned.calibration.pixel_threshold in tuned.calibration.normal_scores
