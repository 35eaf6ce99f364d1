"""Thresholds that are set anew for another way of scoring the same images."""

import numpy as np
import pytest

from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.detector import Scores
from reconad_plugin.detector.recalibration import move_calibration
from reconad_plugin.errors import NotEnoughImagesError

FPR = 0.1


def shown(scores, maxima):
    """What a detector gives: maps of one pixel."""
    return Scores(np.asarray(scores), np.asarray(maxima, np.float32)[:, None, None])


@pytest.fixture
def scores():
    """Twenty scores in no order, and the highest points of their maps."""
    generator = np.random.default_rng(0)
    return shown(generator.normal(5, 1, 20), generator.normal(3, 1, 20))


def test_thresholds_are_those_of_the_new_scores(scores):
    """Where the held-out scores are the detector's own, it is a calibration on the new ones."""
    noise = np.random.default_rng(1).normal(0, 0.2, 20)
    after = shown(scores.pred_score + noise, scores.map_maxima + noise)
    of = (calibrate(each.pred_score, FPR, each.map_maxima, parts=7) for each in (scores, after))
    was, expected = of

    moved = move_calibration(was, scores, after)

    np.testing.assert_allclose(moved.normal_scores, expected.normal_scores)
    assert moved.image_threshold == pytest.approx(expected.image_threshold)
    assert moved.pixel_threshold == pytest.approx(expected.pixel_threshold)
    assert (moved.parts, moved.supported_fpr) == (7, expected.supported_fpr)


def test_held_out_scores_keep_what_they_lie_above_the_detector_s(scores):
    """Each had no say in the normal map that it was held against, so it scored higher."""
    held_out = calibrate(scores.pred_score + 0.5, FPR)
    after = shown(1.1 * scores.pred_score, scores.map_maxima)

    moved = move_calibration(held_out, scores, after)

    np.testing.assert_allclose(moved.normal_scores, np.sort(1.1 * scores.pred_score + 0.5))
    assert moved.pixel_threshold is None


def test_images_that_are_gone_leave_no_threshold(scores):
    """A threshold on fewer would be another one."""
    with pytest.raises(NotEnoughImagesError, match=r"rest on 30 .*; got 20: bring those"):
        move_calibration(calibrate(np.arange(30.0), FPR), scores, scores)
