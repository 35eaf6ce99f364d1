"""Large pictures that are seen as a whole and in windows of their own pixels."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.detector import Scores
from reconad_plugin.detector.evaluation import image_figures
from reconad_plugin.detector.persistence import load_detector, save_detector
from reconad_plugin.detector.torch_engine import reconstruct
from reconad_plugin.detector.windows import (
    Windows,
    describe_cost,
    enlarge_maps,
    map_size,
    match_picture,
    score_windows,
    window_corners,
)
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.light import match_light
from reconad_plugin.images.light_reference import LightReference
from reconad_plugin.images.size import MOST_PIXELS, ImageSize, window_pictures
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.views import cut_views, shrink

WINDOW = ImageSize(32, 64)
LARGE = ImageSize(128, 256)


def pictures(count, size=LARGE, seed=0):
    """(count, 3, H, W) uint8: a ramp across, fine stripes down, a little noise."""
    ramp = torch.linspace(60, 160, size.width_px).expand(count, 3, *size.shape)
    stripes = 20 * torch.sin(torch.arange(size.height_px) * 2.0).view(-1, 1)
    noise = torch.randn(count, 3, *size.shape, generator=torch.Generator().manual_seed(seed))
    return (ramp + stripes + 4 * noise).clamp(0, 255).byte()


def scores_of(views):
    """A map that is the picture's red, and its highest point."""
    maps = views[:, 0].astype(np.float32)
    return Scores(maps.max((1, 2)).astype(np.float64), maps)


@pytest.mark.parametrize("size", ["128x256", "100x203", "32x64", "33x400"])
def test_windows_cover_every_pixel_with_an_overlap(size):
    """Up to the border, none beyond it, and evenly."""
    size, seen = ImageSize.parse(size), np.zeros(ImageSize.parse(size).shape, int)

    corners = window_corners(size, WINDOW)

    for y, x in corners:
        assert 0 <= y <= size.height_px - 32
        assert 0 <= x <= size.width_px - 64
        seen[y : y + 32, x : x + 64] += 1
    assert seen.min() >= 1
    if len({x for _, x in corners}) > 1:
        assert (seen.max(0) > seen.min()).any()


def test_maps_of_windows_are_blended_to_the_map_of_the_picture():
    """A map that knows nothing of windows has no seams, and the score is the highest of all."""
    image = pictures(1)[0].numpy()

    score, shown = score_windows(image, WINDOW, map_size(LARGE), scores_of)

    assert score == image[0].max()
    np.testing.assert_allclose(shown, image[0], atol=1e-3)


def test_map_of_a_large_picture_is_bounded_and_keeps_peaks():
    """A megapixel at most; a single bright pixel is not averaged away."""
    size = ImageSize(1600, 3200)
    image = np.zeros((3, *size.shape), np.uint8)
    image[0, 1001, 2003] = 255

    _, shown = score_windows(image, ImageSize(256, 512), map_size(size), scores_of)

    assert 0.9 * MOST_PIXELS < shown.size <= MOST_PIXELS
    assert map_size(size).height_px % 16 == 0 == map_size(size).width_px % 16
    assert shown.max() == 255
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    assert abs(row / shown.shape[0] - 1001 / 1600) < 0.01
    assert abs(column / shown.shape[1] - 2003 / 3200) < 0.01


def test_larger_deviation_counts():
    """Each view in its own scale."""
    joined = Windows(WINDOW, whole_scale=2.0, window_scale=0.1)

    assert joined.join(np.array([4.0, 1.0]), np.array([0.1, 0.3])).tolist() == pytest.approx([2, 3])


def test_light_of_a_picture_is_matched_as_that_of_its_shrunk_view():
    """In strips, so that no float of a whole large picture is made."""
    image = pictures(1, ImageSize(600, 64))[0]
    light = LightReference((0.5, 0.5, 0.5), (0.1, 0.1, 0.1))

    matched = match_picture(light, image.numpy(), image.numpy())

    expected = match_light(light, image[None].float() / 255)[0]
    np.testing.assert_allclose(matched / 255, expected.numpy(), rtol=0, atol=0.501 / 255)


def test_views_that_train_are_windows_and_wholes():
    """Half of each, of every picture, the same for the same seed."""
    images = NormalImages(pictures(3), pictures(2, seed=1), pictures(1, seed=2))

    views, again = (cut_views(images, WINDOW, seed=4) for _ in range(2))

    windows, wholes = views.train.chunk(2)
    assert len(windows) >= 3 * 8
    assert torch.equal(views.train, again.train)
    assert torch.equal(wholes.unique(dim=0), shrink(images.train, WINDOW).unique(dim=0))
    first = windows[0]
    places = images.train[0].unfold(1, 32, 1).unfold(2, 64, 1)  # (3, 97, 193, 32, 64)
    assert (places == first[:, None, None]).all(-1).all(-1).all(0).any()


def test_cost_is_said_before_it_starts():
    """Windows, time and disk."""
    said = describe_cost(ImageSize(3648, 5472), ImageSize.square(256))

    assert said.startswith("each picture of 5472 x 3648 is seen as a whole and in 345 windows")
    assert said.endswith(
        "about 346 times as long as without windows, and the cache 59.9 MB a picture"
    )


def test_pictures_smaller_than_the_network_have_no_windows():
    """They are refused before anything is loaded."""
    assert window_pictures([(500, 300)] * 3, WINDOW) == ImageSize(304, 496)
    with pytest.raises(
        ConfigError, match=r"larger than what the network sees, 64 x 32; got 60 x 30"
    ):
        window_pictures([(60, 30)], WINDOW)


@pytest.fixture(scope="module", params=["ae", "fre"])
def learned(request, tiny_models, few_validations):
    """A detector of large pictures."""
    product = ProductSettings(
        model=request.param, image_size_px=str(WINDOW), windows=True, target_fpr=0.1,
        min_training_images=2,
    )  # fmt: skip
    images = NormalImages(pictures(6), pictures(9, seed=1), pictures(1, seed=2))
    training = TrainingSettings(steps=150, batch_size=8, learning_rate=3e-3)
    detector, _ = fit_detector(images, product, training)
    return detector, product, images, training


def test_small_defect_is_found_in_a_large_picture(learned):
    """One that the shrunk picture hardly shows, where it is; most normal ones pass."""
    detector, *_ = learned
    normal = pictures(20, seed=5).numpy()
    defective = normal.copy()
    defective[..., 70:76, 150:156] = 255

    clean, found = detector.score(normal), detector.score(defective)

    assert found.anomaly_map.shape == (20, *LARGE.shape)
    threshold = detector.calibration.image_threshold
    assert threshold > 0
    assert (clean.pred_score > threshold).mean() < 0.5
    is_normal = np.repeat([True, False], 20)
    scores = np.concatenate([clean.pred_score, found.pred_score])
    assert image_figures(scores, scores - threshold, is_normal)["image_AUROC"] > 0.95
    if detector.model == "fre":
        return  # it takes the light out of each window, so all of one with a defect looks changed
    row, column = np.unravel_index(found.anomaly_map[0].argmax(), LARGE.shape)
    assert 60 < row < 86
    assert 140 < column < 166


def test_detector_of_windows_is_saved_and_loaded(learned, tmp_path):
    """And scores bit by bit as before, in other light as well; what is rebuilt is shrunk."""
    detector, product, images, training = learned
    save_detector(detector, tmp_path)

    loaded = load_detector(tmp_path)

    assert loaded.windows == detector.windows
    assert (loaded.image_size_px, loaded.network_size_px) == (LARGE, WINDOW)
    for score in ("score", "score_matched"):
        before, after = (getattr(each, score)(images.judge.numpy()) for each in (detector, loaded))
        np.testing.assert_array_equal(after.anomaly_map, before.anomaly_map)
        np.testing.assert_array_equal(after.pred_score, before.pred_score)
    assert next(reconstruct(loaded, images.judge.numpy())).shape == (1, 3, *WINDOW.shape)
    without = product.model_copy(update={"windows": False})
    with pytest.raises(ConfigError, match="in windows; the settings say"):
        fit_detector(images, without, training, base=loaded)


def test_threshold_comes_from_held_out_images_alone(learned):
    """In both views, scored as a new picture is."""
    detector, _, images, _ = learned
    if detector.model == "fre":
        return  # of few images those that train are held out by parts, and vouch too
    scores = np.sort(detector.score(images.calibration.numpy()).pred_score)

    # an image whose own say in the normal map is left out scores a little higher
    assert (detector.calibration.normal_scores >= scores * (1 - 1e-5)).all()
    np.testing.assert_allclose(detector.calibration.normal_scores, scores, rtol=0.15)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (70, 101)], ids=["whole", "odd"])
def test_maps_are_enlarged_and_cells_filled_as_in_pytorch(height, width):
    """The same numbers, whether the sizes are multiples of each other or not."""
    maps = np.random.default_rng(0).random((2, 32, 48), np.float32)

    enlarged = enlarge_maps(maps, ImageSize(height, width))
    _, highest = score_windows(
        (255 * enlarged[:1].repeat(3, 0)).astype(np.uint8), WINDOW, ImageSize(32, 48), scores_of
    )

    plain = torch.from_numpy(maps)[:, None]
    expected = F.interpolate(plain, (height, width), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(enlarged, expected[:, 0].numpy(), atol=1e-5)
    shown = np.floor(255 * enlarged[:1])
    cells = F.adaptive_max_pool2d(torch.from_numpy(shown), (32, 48))[0].numpy()
    np.testing.assert_allclose(highest, cells, atol=1e-3)
