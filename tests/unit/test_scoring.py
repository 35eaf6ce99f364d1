"""A network's maps to scores, and scores to decisions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from reconad_plugin.detector.batch import smooth_map
from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.calibration_groups import CalibrationGroups, luminances
from reconad_plugin.detector.torch_engine import reconstruct, score_images
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.light import dim_lamp, fit_light
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.registry import MODELS, model_spec


class Brightness(AnomalyNetwork):
    """Rebuilds black, so that its map is the picture's red."""

    def reconstruct(self, image):
        return torch.zeros_like(image)

    def anomaly_map(self, image):
        return image[:, 0]


def test_smoothing_by_hand():
    """A single bright pixel spreads evenly over the window, and border windows are smaller."""
    spot = torch.zeros(1, 4, 4)
    spot[0, 0, 0] = 36.0

    smooth = smooth_map(spot, 3)

    expected = torch.tensor([[9, 6, 0, 0], [6, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(smooth[0], expected.float())


@pytest.mark.parametrize("window_px", [pytest.param(w, id=f"window of {w}") for w in (1, 3, 5, 11)])
def test_smoothing_against_scipy(window_px):
    """The mean over a window equals scipy's box filter, corrected for what is beyond the border."""
    generator = torch.Generator().manual_seed(2)
    maps = torch.rand(2, 16, 16, generator=generator)

    smooth = smooth_map(maps, window_px)

    inside = uniform_filter(np.ones((16, 16)), window_px, mode="constant")
    for raw, found in zip(maps.double().numpy(), smooth.numpy(), strict=True):
        expected = uniform_filter(raw, window_px, mode="constant") / inside
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_flat_map_stays_flat():
    """Smoothing neither darkens the border nor moves the level."""
    torch.testing.assert_close(
        smooth_map(torch.full((1, 8, 8), 0.7), 5), torch.full((1, 8, 8), 0.7)
    )


class Unsmoothed(Brightness):
    """Its map is shown as it is, and its score is the picture's mean."""

    smooths_map = False

    def image_score(self, image, smoothed_map):
        return image.mean((1, 2, 3))


def test_image_score_is_the_maximum_of_each_map():
    """Unless a network knows better, an image has the highest value of its own smoothed map."""
    maps = torch.arange(18.0).view(2, 3, 3)

    assert Brightness().image_score(torch.zeros(2, 3, 3, 3), maps).tolist() == [8.0, 17.0]


def test_network_may_keep_its_map_and_know_its_score():
    """A map that is not to be smoothed is shown as it is; a score of its own is taken."""
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    images[1, 0, 3, 3] = 255

    smoothed = score_images(Brightness(), images, window_px=3)
    as_it_is = score_images(Unsmoothed(), images, window_px=3)

    assert smoothed.anomaly_map[1].max() == smoothed.pred_score[1] == pytest.approx(1 / 9)
    assert (as_it_is.anomaly_map[1] > 0).sum() == 1
    assert as_it_is.anomaly_map[1, 3, 3] == 1
    np.testing.assert_allclose(as_it_is.pred_score, [0, 1 / 192], rtol=1e-5)


def test_score_by_hand():
    """Pixels are brought to [0, 1], mapped, smoothed, and the highest value is the score."""
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    images[1, 0, 2:5, 2:5] = 255
    images[1, 0, 3, 3] = 0

    scores = score_images(Brightness(), images, window_px=3)

    np.testing.assert_allclose(scores.pred_score, [0, 8 / 9], atol=1e-6)
    assert scores.pred_score.dtype == np.float64
    assert scores.anomaly_map.shape == (2, 8, 8)
    assert scores.anomaly_map[1, 3, 3] == pytest.approx(8 / 9)


def test_more_images_than_a_batch_keep_their_order():
    """The scores of 70 images are those of the images one by one."""
    images = torch.arange(70, dtype=torch.uint8).view(70, 1, 1, 1).expand(70, 3, 8, 8)

    scores = score_images(Brightness(), images, window_px=1)

    np.testing.assert_allclose(scores.pred_score, np.arange(70) / 255, atol=1e-6)


def test_light_is_matched_before_scoring():
    """With a reference light, a dimmed image has the score of the one at full power."""
    generator = torch.Generator().manual_seed(3)
    images = (60 + 120 * torch.rand(4, 3, 16, 16, generator=generator)).byte()
    dimmed = (dim_lamp(images / 255, 0.5) * 255).round().byte()
    light = fit_light(images)

    bright = score_images(Brightness(), images, 1, light).pred_score
    matched = score_images(Brightness(), dimmed, 1, light).pred_score
    as_they_come = score_images(Brightness(), dimmed, 1).pred_score

    np.testing.assert_allclose(matched, bright, atol=0.01)
    assert (as_they_come < bright - 0.1).all()


def test_no_images_have_no_scores():
    """An empty batch gives empty arrays, not an error."""
    scores = score_images(Brightness(), torch.empty(0, 3, 8, 8, dtype=torch.uint8), 3)

    assert scores.pred_score.shape == (0,)
    assert scores.anomaly_map.shape == (0, 8, 8)


def test_scoring_keeps_no_gradients(tiny_detector, make_normal):
    """Scores leave no trace in the network."""
    tiny_detector.score(make_normal(2, 0))

    assert all(weight.grad is None for weight in tiny_detector.engine.network.parameters())


def test_reconstructions_come_in_order(tiny_detector, make_normal):
    """More images than a batch are rebuilt one for one, in [0, 1]."""
    images = make_normal(35, 4)

    rebuilt = torch.cat(list(reconstruct(tiny_detector, images.numpy())))

    with torch.inference_mode():
        last = tiny_detector.engine.network.reconstruct(images[34:].float() / 255)
    assert rebuilt.shape == images.shape
    torch.testing.assert_close(rebuilt[34:], last)


@pytest.mark.parametrize(
    ("image_size", "window_px"),
    [
        pytest.param(32, 1, id="32 pixels"),
        pytest.param(64, 3, id="64 pixels"),
        pytest.param(128, 5, id="128 pixels"),
        pytest.param(256, 11, id="256 pixels"),
        pytest.param("64x256", 5, id="as many pixels as 128 squared"),
    ],
)
def test_window_of_the_autoencoder_by_hand(image_size, window_px):
    """4 percent of the mean side, made odd."""
    assert model_spec("ae").score_window_px(ImageSize.parse(image_size)) == window_px


@pytest.mark.parametrize("model", [pytest.param(name, id=name) for name in MODELS])
def test_windows_are_odd_at_every_size(model):
    """A window has a middle pixel, whatever the image's size."""
    windows = [
        model_spec(model).score_window_px(ImageSize.square(2**power)) for power in range(5, 11)
    ]

    assert all(window % 2 == 1 for window in windows)
    assert windows == sorted(windows)


def test_unknown_model_is_refused():
    """A name that no model has is an error that lists the names."""
    with pytest.raises(ConfigError, match=r"model must be one of .*ae.*; got 'autoencoder'"):
        model_spec("autoencoder")


def test_border_counts_as_normal_where_the_network_says_so():
    """DRAEM's score is the maximum of its map's zero-padded average, as in the paper."""
    edge = torch.zeros(1, 8, 8)
    edge[0, :, 0] = 0.9

    assert smooth_map(edge, 3)[0, 4, 0] == pytest.approx(0.45)
    assert smooth_map(edge, 3, border_is_normal=True)[0, 4, 0] == pytest.approx(0.3)


def test_map_maxima_are_those_of_the_shown_maps():
    """Each image has the highest point of its own map, smoothed or not as it is shown."""
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    images[1, 0, 3, 3] = 255

    assert score_images(Brightness(), images, 3).map_maxima == pytest.approx([0, 1 / 9])
    assert score_images(Unsmoothed(), images, 3).map_maxima.tolist() == [0, 1]
    assert score_images(Brightness(), images[:0], 3).map_maxima.shape == (0,)


def test_decisions_without_levels_are_those_of_the_calibration(tiny_detector, make_normal):
    """Every image is held against the one threshold, and has its p-value."""
    images = make_normal(12, 40)
    scores = tiny_detector.score(images)

    decisions = tiny_detector.decide(images, scores)

    threshold = tiny_detector.calibration.image_threshold
    assert decisions.image_threshold.tolist() == [threshold] * 12
    np.testing.assert_array_equal(decisions.pred_label, scores.pred_score > threshold)
    np.testing.assert_array_equal(
        decisions.p_value, tiny_detector.calibration.p_values(scores.pred_score)
    )
    assert decisions.pixel_threshold is None  # as in a detector that was saved without


def test_decisions_follow_the_light(tiny_detector, make_normal):
    """An image is held against the threshold of its own level of light."""
    images = make_normal(4, 41).numpy()
    images[::2] //= 2
    scores = tiny_detector.score(images)
    lower, upper = scores.pred_score.min(), scores.pred_score.max()
    strict = calibrate([lower - 2, lower - 1], 0.4, [0.1, 0.2])
    lenient = calibrate([upper + 1, upper + 2], 0.4, [0.3, 0.4])
    edge = float(luminances(images).mean())
    detector = replace(
        tiny_detector,
        calibration=strict,
        light_levels=CalibrationGroups((edge,), (lenient, strict)),
    )

    decisions = detector.decide(images, scores)

    assert decisions.pred_label.tolist() == [False, True, False, True]
    assert decisions.image_threshold.tolist() == [upper + 2, lower - 1] * 2
    np.testing.assert_allclose(decisions.p_value, [1, 1 / 3] * 2)
    assert decisions.pixel_threshold.tolist() == [0.4, 0.2] * 2


def test_no_images_need_no_decision(tiny_detector, make_normal):
    """An empty batch gives empty arrays."""
    images = make_normal(1, 42)[:0].numpy()
    levels = CalibrationGroups((0.5,), (tiny_detector.calibration,) * 2)

    for detector in (tiny_detector, replace(tiny_detector, light_levels=levels)):
        decisions = detector.decide(images, detector.score(images))
        assert decisions.pred_label.shape == decisions.p_value.shape == (0,)
