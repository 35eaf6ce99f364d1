"""``reconad advise`` on real small pictures, and what ``model = "auto"`` becomes."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from flows.jobs import advising, nightly_training
from flows.jobs.advising import PictureFile, settle_as, settle_model
from flows.jobs.nightly_training import _settle
from mlflow_models.version_tags import ADVICE_TAG
from reconad_plugin.config.product import ProductSettings
from reconad_plugin.errors import NotEnoughImagesError
from reconad_plugin.images.size import ImageSize
from tests.command_line import run
from tests.factory import normal_picture, to_png, with_scratch


def picture(seed):
    """The file of a part that a fixed camera sees."""
    pixels = normal_picture(np.random.default_rng(seed))
    return to_png((pixels.clip(0, 1) * 255).astype(np.uint8))


@pytest.fixture
def parts(tmp_path):
    """Twelve normal parts, one file that is no picture, and two scratches with their masks."""
    normal, scratched = (
        tmp_path / "parts" / "train" / "good",
        tmp_path / "parts" / "test" / "scratch",
    )
    truth = tmp_path / "parts" / "ground_truth" / "scratch"
    for folder in (normal, scratched, truth):
        folder.mkdir(parents=True)
    for seed in range(12):
        (normal / f"{seed:02}.png").write_bytes(picture(seed))
    (normal / "broken.png").write_bytes(b"no picture")
    mask = np.zeros((48, 64, 3), np.uint8)
    mask[18:26, 40:52] = 255
    for seed in range(2):
        pixels = with_scratch(normal_picture(np.random.default_rng(50 + seed)))
        (scratched / f"{seed}.png").write_bytes(to_png((pixels.clip(0, 1) * 255).astype(np.uint8)))
        (truth / f"{seed}_mask.png").write_bytes(to_png(mask))
    return tmp_path / "parts"


@pytest.fixture
def files():
    """Twelve pictures that can be looked at."""
    return [PictureFile(f"{seed}.png", "", lambda seed=seed: picture(seed)) for seed in range(12)]


def test_advice_on_a_folder(parts, tmp_path, caplog):
    """A table with reasons, and the same as JSON; what cannot be read is passed over."""
    ended = run("advise", "--data", parts, "--json", tmp_path / "a.json", COLUMNS="200")

    assert ended.returncode == 0, ended.stderr
    assert "12 normal images of 64 x 48" in ended.stdout
    assert "12 normal images are few" in ended.stdout
    assert "broken.png is passed over: an image must be one of" in caplog.text
    said = json.loads((tmp_path / "a.json").read_text())
    assert (said["model"], said["image_size_px"]) == ("fre", 256)
    assert 0 < said["minutes"] < 5
    assert said["facts"]["labelled_defects"] == 2
    assert said["facts"]["pictures"]["alike"] > 0.9
    assert said["facts"]["smallest_defect_px"] == pytest.approx(np.sqrt(8 * 12))


def test_what_is_asked_for_decides(parts, tmp_path):
    """The smallest defect instead of the masks, and the time."""
    wish = ("--smallest-defect", 3, "--budget", "10m", "--json", tmp_path / "a.json")

    assert run("advise", "--data", parts, *wish).returncode == 0

    said = json.loads((tmp_path / "a.json").read_text())
    assert (said["facts"]["smallest_defect_px"], said["facts"]["budget_s"]) == (3, 600)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        pytest.param(("--smallest-defect", "0"), "a number above 0; got 0", id="no defect"),
        pytest.param(("--budget", "soon"), "a budget must be a time above 0", id="no time"),
        pytest.param(("--position-pattern", "x"), "must have one group", id="no position"),
    ],
)
def test_wishes_that_cannot_be(parts, wish, said):
    """One line, exit code 2."""
    ended = run("advise", "--data", parts, *wish)

    assert ended.returncode == 2
    assert said in ended.stderr


def test_folders_without_a_picture_are_refused(tmp_path):
    """Empty ones, and those of which none can be read."""
    assert "must hold pictures" in run("advise", "--data", tmp_path).stderr
    (tmp_path / "a.png").write_bytes(b"no picture")

    ended = run("advise", "--data", tmp_path)

    assert ended.returncode == 2
    assert "advice needs a picture that can be read; got 1 that cannot" in ended.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param({"width": "tiny"}, "width belongs to a model; got it with auto", id="width"),
        pytest.param({"options": {"sspcab": True}}, "options belongs to a model", id="options"),
        pytest.param({"vq": "metal"}, "vq belongs to a model", id="foundation"),
    ],
)
def test_what_belongs_to_a_model_needs_its_name(given, said):
    """Nobody knows yet which model it will be."""
    with pytest.raises(ValueError, match=said):
        ProductSettings(model="auto", **given)


def test_too_few_images_are_refused(files):
    """Whatever ``min_training_images`` says."""
    with pytest.raises(NotEnoughImagesError, match="9 normal images are too few"):
        settle_model(ProductSettings(model="auto", min_training_images=2), files[:9])


def test_other_settings_stay(files):
    """Only the model, its size and its width are settled."""
    settings = ProductSettings(model="auto", target_fpr=0.1, train={"steps": 7}, seed=3)

    settled = settle_model(settings, files).settings

    expected = ProductSettings(
        model="fre", width="lite0", target_fpr=0.1, train={"steps": 7}, seed=3
    )
    assert settled == expected


def test_a_version_keeps_its_model(tiny_detector):
    """Its size and width too, and features belong to ``fre`` alone."""
    settings = ProductSettings(model="auto", features="random")

    settled = settle_as(settings, replace(tiny_detector, architecture={"width": 32}))

    assert (settled.model, settled.image_size_px) == ("ae", ImageSize.square(32))
    assert (settled.width, settled.features) == ("small", None)


@pytest.mark.parametrize(
    "is_base", [pytest.param(True, id="base"), pytest.param(False, id="serves")]
)
def test_a_night_asks_for_no_advice_where_a_version_is(is_base, monkeypatch, tiny_detector):
    """A fine-tuning keeps the model of its base, a retraining that of the version that serves."""
    version = SimpleNamespace(uri="models:/reconad-bolts/1")
    monkeypatch.setattr(nightly_training.registry, "version_by_alias", lambda *names: version)
    monkeypatch.setattr(nightly_training.flavor, "load_calibrated", lambda uri: tiny_detector)
    monkeypatch.setattr(advising, "advise", None)  # nobody asks

    settled = _settle(training_set(), version if is_base else None)

    assert settled.settings.model == "ae"
    assert settled.settings.image_size_px == ImageSize.square(32)
    assert settled.tags == {}


def test_the_first_night_asks(monkeypatch):
    """Of all images, each of which is read where it is kept."""
    monkeypatch.setattr(nightly_training.registry, "version_by_alias", lambda *names: None)

    settled = _settle(training_set(), None)

    assert (settled.settings.model, settled.settings.image_size_px) == ("fre", 256)
    assert "12 normal images are few" in settled.tags[ADVICE_TAG]


def training_set():
    """Twelve images of a product whose model is left open."""
    numbers = [str(seed) for seed in range(12)]
    rows = pd.DataFrame({"key": numbers, "position": "", "sha256": numbers})
    product = SimpleNamespace(
        name="bolts",
        settings=ProductSettings(model="auto"),
        read_image=lambda sha256, key: picture(int(key)),
    )
    return SimpleNamespace(product=product, rows=rows)
