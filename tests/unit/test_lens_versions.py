"""A version sees pictures without the distortion of its lens, and shows where the camera saw it."""

import base64
import json
import logging
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.ndimage import center_of_mass

from flows.commands import regions
from flows.commands.options_by_hand import RegionsOptions
from flows.jobs.nightly_training import TrainingSet, _of_shape
from flows.jobs.product import Product
from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.calibration_groups import CalibrationGroups, luminances
from reconad_plugin.detector.persistence import DETECTOR_FILE, load_detector, save_detector
from reconad_plugin.detector.prediction import predict_encoded
from reconad_plugin.detector.recalibration import recalibrated
from reconad_plugin.detector.torch_engine import TorchEngine
from reconad_plugin.errors import ConfigError, ModelFormatError
from reconad_plugin.images.lens import Lens
from reconad_plugin.images.region import PRODUCT, Region
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from tests.unit.test_lens import written
from tests.unit.test_region_counts import Brightness

SIZE_PX = 32
LENS = Lens(
    320, 320, (256.0, 250.0), (158.0, 165.0), (-0.25, 0.05, 0.002, -0.001, *[0.0] * 8), "ab"
)
SETTINGS = ProductSettings(image_size_px=SIZE_PX, target_fpr=0.1)
LEFT = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
LEFT[6:24, :16] = True


def fitted(make_normal, settings=SETTINGS, region=None, lens=LENS, steps=4):
    images = NormalImages(make_normal(16, 1), make_normal(10, 2), make_normal(2, 3), lens=lens)
    training = TrainingSettings(steps=steps, batch_size=8)
    return fit_detector(images, settings, training, region=region)[0]


@pytest.fixture(scope="module")
def trained(make_normal, tiny_models):
    """A detector that sees through a lens and looks to the left."""
    return fitted(make_normal, region=Region({PRODUCT: LEFT}))


def test_a_version_carries_its_lens(trained, make_normal, tmp_path):
    """It needs no file; a reconad of before refuses it; one without a lens is saved as before."""
    images = make_normal(3, 9).numpy()
    save_detector(trained, tmp_path / "lens")
    plain = replace(trained, lens=None, limits=replace(trained.limits, shape=None), self_test=None)
    save_detector(plain, tmp_path / "plain")

    loaded = load_detector(tmp_path / "lens")

    assert (loaded.lens, loaded.limits) == (LENS, trained.limits)
    assert loaded.limits.shape == (320, 320)
    before, after = trained.score(images), loaded.score(images)
    np.testing.assert_array_equal(before.pred_score, after.pred_score)
    np.testing.assert_array_equal(before.anomaly_map, after.anomaly_map)
    loaded.check_itself()
    told = [json.loads((tmp_path / name / DETECTOR_FILE).read_text()) for name in ("lens", "plain")]
    assert [each["format_version"] for each in told] == [3, 1]
    assert "lens" not in told[1]
    assert set(told[1]["limits"]) == {"max_pixels", "min_side_px"}
    assert load_detector(tmp_path / "plain").lens is None


def test_a_lens_that_does_not_fit_is_no_version(trained, tmp_path):
    """It was tampered with, or written by a later reconad."""
    save_detector(trained, tmp_path)
    told = json.loads((tmp_path / DETECTOR_FILE).read_text())
    told["lens"]["coefficients"] = [1, 2]
    (tmp_path / DETECTOR_FILE).write_text(json.dumps(told))

    with pytest.raises(ModelFormatError, match="does not fit together"):
        load_detector(tmp_path)


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(SETTINGS, id="alone"),
        pytest.param(SETTINGS.model_copy(update={"witness": "texture"}), id="with a witness"),
    ],
)
def test_all_is_learnt_and_scored_straight(make_normal, settings):
    """Scores are those that a detector without the lens gives for straightened pictures, on which
    it was calibrated."""
    images = NormalImages(make_normal(60, 1), make_normal(60, 2), make_normal(2, 3), lens=LENS)
    training = TrainingSettings(steps=2, batch_size=8)
    detector, _ = fit_detector(images, settings, training)
    straight, _ = fit_detector(images.straight, settings, training)
    pictures = make_normal(5, 9).numpy()

    scores = detector.score(pictures)

    seen = LENS.straighten(pictures)
    expected = straight.score(seen)
    np.testing.assert_allclose(scores.pred_score, expected.pred_score, rtol=1e-5)
    assert detector.calibration == straight.calibration
    assert detector.matched_calibration == straight.matched_calibration
    edge, other = float(np.median(luminances(seen))), calibrate([1.0, 2.0], 0.3)
    by_light = CalibrationGroups((edge,), (detector.calibration, other))  # of a version of before
    found, wanted = (
        replace(each, light_levels=by_light).decide(of, said)
        for each, of, said in ((detector, pictures, scores), (straight, seen, expected))
    )
    np.testing.assert_array_equal(found.image_threshold, wanted.image_threshold)
    assert len({*found.image_threshold}) == 2
    held_out, learnt = images.calibration.numpy(), images.train.numpy()
    again = recalibrated(detector, detector, held_out, learnt)
    assert again.calibration.image_threshold == pytest.approx(detector.calibration.image_threshold)
    if detector.witness is not None:
        assert again.witness.first == detector.witness.first


@pytest.fixture
def bright(tiny_detector):
    """A detector whose map is the picture's red, through the lens."""
    return replace(tiny_detector, engine=TorchEngine(Brightness().eval(), 1), lens=LENS)


@pytest.mark.parametrize("row", [4, 15, 27])
@pytest.mark.parametrize("column", [4, 16, 27])
def test_a_map_lies_over_the_picture_of_the_camera(bright, row, column):
    """A defect is shown where a person who looks at the original sees it."""
    picture = np.zeros((1, 3, SIZE_PX, SIZE_PX), np.uint8)
    picture[..., row - 1 : row + 2, column - 1 : column + 2] = 255

    shown = bright.score(picture).anomaly_map[0]

    assert np.abs(np.subtract(center_of_mass(shown), (row, column))).max() < 0.5


def test_a_region_is_of_the_cameras_picture(bright):
    """Outside the map is 0, and what lies there raises no score."""
    looking = replace(bright, region=Region({PRODUCT: LEFT}))
    pictures = np.zeros((2, 3, SIZE_PX, SIZE_PX), np.uint8)
    pictures[0, :, 10:13, 4:7] = 255
    pictures[1, :, 10:13, 20:23] = 255

    scores = looking.score(pictures, ["", ""])

    assert scores.pred_score[0] > 0.8
    assert scores.pred_score[1] == 0
    assert not scores.anomaly_map[:, ~LEFT].any()
    assert bright.score(pictures).pred_score[1] > 0.8


def test_a_region_is_trained_in_as_it_is_seen(trained, make_normal):
    """A version keeps it as people drew it."""
    assert np.array_equal(trained.region.union, LEFT)
    assert not trained.score(make_normal(2, 4).numpy()).anomaly_map[:, ~LEFT].any()


def test_a_served_picture_of_another_shape_is_an_error_of_its_row(bright, encode):
    """The boxes of the other row are in pixels of its file, a reduced JPEG as well."""
    bright = replace(
        bright,
        limits=replace(bright.limits, shape=LENS.shape),
        calibration=replace(bright.calibration, pixel_threshold=0.5),
    )
    picture = np.zeros((640, 640, 3), np.uint8)
    picture[80:160, 480:560] = 255
    files = [encode(picture, "JPEG", quality=95), encode(picture[:320], "JPEG")]
    texts = [base64.b64encode(each).decode() for each in files]

    fits, other = predict_encoded(bright, texts, "1", with_regions=True)

    assert other.error.startswith("other_shape: an image must have the shape that its lens was")
    (found,) = fits.regions_found.regions
    box = np.array([found.x, found.y, found.x + found.width, found.y + found.height])
    assert np.abs(box - [480, 80, 560, 160]).max() <= 20  # a pixel of the map


ROWS = pd.DataFrame({"width_px": [640, 320, 480], "height_px": [640, 320, 640]})


def product(**settings):
    own = ProductSettings(**settings)
    return Product("bolt", own, "", "lean", None, None, ProductLayout("bolt"), None)


def test_pictures_of_before_the_setting_are_left_out(caplog):
    """Those that do not fit; where none fits, the setting is wrong."""
    chosen = TrainingSet(product(), date(2026, 1, 1), ROWS, {})

    with caplog.at_level(logging.WARNING):
        kept = _of_shape(chosen, LENS)

    assert kept.rows.index.tolist() == [0, 1]
    assert "1 of 3 images of bolt are not of the shape" in caplog.text
    assert _of_shape(chosen, None) is chosen
    with pytest.raises(ConfigError, match="is for 320 x 320, its pictures are 480 x 640"):
        _of_shape(replace(chosen, rows=ROWS[2:]), LENS)


def test_ingest_asks_for_the_shape(tmp_path):
    """Of the lens that the settings name; without one any shape will do."""
    (tmp_path / "camera.yml").write_bytes(written())

    assert product(lens=str(tmp_path / "camera.yml")).intake_limits.shape == (640, 480)
    assert product().intake_limits == product().limits
    with pytest.raises(ConfigError, match="must be a file that can be read"):
        _ = product(lens=str(tmp_path / "none.yml")).intake_limits


def test_a_sheet_shows_pictures_before_and_after(tmp_path, monkeypatch, capsys):
    """So a person sees whether the calibration is right before a training."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "camera.yml").write_bytes(written())
    (tmp_path / "parts").mkdir()
    pixels = torch.randint(0, 255, (48, 64, 3), generator=torch.Generator().manual_seed(0))
    Image.fromarray(pixels.byte().numpy()).save(tmp_path / "parts" / "a.png")

    regions.run(RegionsOptions(data="parts", lens="camera.yml", out=tmp_path / "sheet"))

    said = "100.0 % of the picture count; the lens's distortion is taken out"
    assert capsys.readouterr().out.startswith(said)
    with Image.open(tmp_path / "sheet" / "regions.png") as sheet:
        assert min(sheet.size) > 300
    with pytest.raises(ConfigError, match="needs a region or a lens"):
        regions.run(RegionsOptions(data="parts", out=tmp_path / "sheet"))
    with pytest.raises(ConfigError, match="--out must be a folder that no pictures are read from"):
        regions.run(RegionsOptions(data="parts", lens="camera.yml", out=tmp_path))
