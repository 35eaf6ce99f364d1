"""What each pixel of a map shows on normal images leaves it before it scores."""

import numpy as np
import pytest
import torch

from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.normal_map import (
    LEAST_IMAGES,
    fit_normal_map,
    scores_without_own,
)

SIZE_PX = 16


def maps_with_an_edge(count, seed, edge=1.0):
    """Maps (N, 16, 16) of noise, with an edge that no model rebuilds on any image."""
    random = np.random.default_rng(seed)
    maps = random.gamma(9, 0.01, (count, SIZE_PX, SIZE_PX))
    maps[:, :, 4] += edge * random.normal(1, 0.1, (count, 1))
    return maps.astype(np.float32)


def deviations(normal, maps):
    """Maps as they score."""
    return normal.deviations(torch.from_numpy(maps)).numpy()


def test_a_faint_defect_beside_an_edge_stands_out():
    """The highest point of the map is the edge, of what is left the defect."""
    normal = fit_normal_map(maps_with_an_edge(40, 1))
    defective = maps_with_an_edge(20, 2)
    defective[:, 10, 12] += 0.3

    left = deviations(normal, defective).reshape(20, -1)

    assert (defective.reshape(20, -1).argmax(1) % SIZE_PX == 4).all()
    assert (left.argmax(1) == 10 * SIZE_PX + 12).all()
    assert left.min() == 0


@pytest.mark.parametrize("count", [6, 10, 40])
def test_new_normal_images_score_as_those_that_calibrate(count):
    """Each of these is scored without its own part in the normal map: over many draws as many new
    ones lie above the threshold as the images vouch for."""
    above, vouched = [], []
    for seed in range(100):
        held_out, new = maps_with_an_edge(count, seed), maps_with_an_edge(50, seed + 1000)
        scores, left = scores_without_own(held_out, held_out)
        calibration = calibrate(scores, 0.2)
        found = deviations(fit_normal_map(held_out), new).max((1, 2))
        above.append(np.mean(found > calibration.image_threshold))
        vouched.append(calibration.supported_fpr)
        np.testing.assert_allclose(left.max((1, 2)), scores)

    assert np.mean(above) == pytest.approx(np.mean(vouched), abs=0.04)


def test_an_image_has_no_say_in_its_own_score():
    """By hand: it is held against the normal map of the others."""
    maps = maps_with_an_edge(8, 3)
    relit = maps_with_an_edge(8, 4)

    scores, left = scores_without_own(maps, relit)

    for index in range(8):
        others = fit_normal_map(np.delete(maps, index, 0))
        expected = deviations(others, relit[index : index + 1])[0]
        np.testing.assert_allclose(left[index], expected, rtol=1e-3, atol=1e-3)
        assert scores[index] == pytest.approx(expected.max(), rel=1e-3)


def test_few_images_say_little_of_a_pixel_and_many_all():
    """The mean of a pixel is drawn to that of all, until the images show that pixels differ."""
    alike = np.random.default_rng(0).gamma(9, 0.01, (6, 32, 32)).astype(np.float32)

    few, many = fit_normal_map(alike), fit_normal_map(maps_with_an_edge(300, 6))

    assert few.mean.std() < 0.3 * alike.mean(0).std()
    assert many.mean[:, 4].mean() == pytest.approx(1.09, abs=0.05)
    assert many.deviation[:, 4].mean() > 2 * many.deviation[:, 5].mean()


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_maps_that_are_all_alike_divide_by_nothing(value):
    """A constant map scores 0, and anything beside it a finite number."""
    normal = fit_normal_map(np.full((LEAST_IMAGES, 4, 4), value, np.float32))

    assert deviations(normal, np.full((1, 4, 4), value, np.float32)).max() < 1
    assert np.isfinite(deviations(normal, np.ones((1, 4, 4), np.float32))).all()


def test_too_few_images_give_no_normal_map():
    """Their maps score as they are."""
    assert fit_normal_map(maps_with_an_edge(LEAST_IMAGES - 1, 0)) is None
