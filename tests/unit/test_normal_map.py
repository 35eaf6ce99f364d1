"""What each pixel of a map shows on normal images leaves it before it scores."""

from dataclasses import replace

import numpy as np
import pytest

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.normal_map import LEAST_IMAGES, MapSums, scores_without_own
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages

SIZE_PX = 16


def maps_with_an_edge(count, seed, edge=1.0):
    """Maps (N, 16, 16) of noise, with an edge that no model rebuilds on any image."""
    random = np.random.default_rng(seed)
    maps = random.gamma(9, 0.01, (count, SIZE_PX, SIZE_PX))
    maps[:, :, 4] += edge * random.normal(1, 0.1, (count, 1))
    return maps.astype(np.float32)


def normal_of(maps):
    """What these show at each pixel."""
    return MapSums.of(maps).normal_map()


def test_a_faint_defect_beside_an_edge_stands_out():
    """The highest point of the map is the edge, of what is left the defect."""
    normal = normal_of(maps_with_an_edge(40, 1))
    defective = maps_with_an_edge(20, 2)
    defective[:, 10, 12] += 0.3

    left = normal.deviations(defective).reshape(20, -1)

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
        scores, left = scores_without_own(MapSums.of(held_out), held_out, held_out)
        calibration = calibrate(scores, 0.2)
        found = normal_of(held_out).deviations(new).max((1, 2))
        above.append(np.mean(found > calibration.image_threshold))
        vouched.append(calibration.supported_fpr)
        np.testing.assert_allclose(left.max((1, 2)), scores)

    assert np.mean(above) == pytest.approx(np.mean(vouched), abs=0.04)


def test_an_image_has_no_say_in_its_own_score():
    """By hand: it is held against the normal map of the others."""
    maps = maps_with_an_edge(8, 3)
    relit = maps_with_an_edge(8, 4)

    scores, left = scores_without_own(MapSums.of(maps), maps, relit)

    for index in range(8):
        others = normal_of(np.delete(maps, index, 0))
        expected = others.deviations(relit[index : index + 1])[0]
        np.testing.assert_allclose(left[index], expected, rtol=1e-3, atol=1e-3)
        assert scores[index] == pytest.approx(expected.max(), rel=1e-3)


def test_few_images_say_little_of_a_pixel_and_many_all():
    """The mean of a pixel is drawn to that of all, until the images show that pixels differ."""
    alike = np.random.default_rng(0).gamma(9, 0.01, (6, 32, 32)).astype(np.float32)

    few, many = normal_of(alike), normal_of(maps_with_an_edge(300, 6))

    assert few.mean.std() < 0.3 * alike.mean(0).std()
    assert many.mean[:, 4].mean() == pytest.approx(1.09, abs=0.05)
    assert many.deviation[:, 4].mean() > 2 * many.deviation[:, 5].mean()


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_maps_that_are_all_alike_divide_by_nothing(value):
    """A constant map scores 0, and anything beside it a finite number."""
    normal = normal_of(np.full((LEAST_IMAGES, 4, 4), value, np.float32))

    assert normal.deviations(np.full((1, 4, 4), value, np.float32)).max() < 1
    assert np.isfinite(normal.deviations(np.ones((1, 4, 4), np.float32))).all()


@pytest.mark.usefixtures("tiny_models")
def test_what_was_learnt_has_a_say_and_held_out_images_alone_vouch(make_normal):
    """By hand: each held-out image is held against the maps of all others, learnt ones too."""
    images = NormalImages(make_normal(16, 1), make_normal(9, 2), make_normal(4, 3))
    product = ProductSettings(model="ae", image_size_px=32, target_fpr=0.1)

    detector, _ = fit_detector(images, product, TrainingSettings(steps=3, batch_size=4))

    as_it_is = replace(detector, normal_map=None)
    learnt = as_it_is.score(images.train.numpy()).anomaly_map
    held_out = as_it_is.score(images.calibration.numpy()).anomaly_map
    scores = [
        normal_of(np.concatenate([learnt, np.delete(held_out, at, 0)])).deviations(own).max()
        for at, own in enumerate(held_out)
    ]
    np.testing.assert_allclose(detector.calibration.normal_scores, sorted(scores), rtol=1e-3)
    everything = normal_of(np.concatenate([learnt, held_out]))
    np.testing.assert_allclose(detector.normal_map.mean, everything.mean, rtol=1e-4)
