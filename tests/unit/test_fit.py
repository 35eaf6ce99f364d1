"""Normal images to a detector, with the settings that decide how."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.persistence import load_detector, save_detector
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.networks.registry import MODELS
from reconad_plugin.simulation.defects import DefectCuts
from reconad_plugin.simulation.presets import PRESETS
from reconad_plugin.training import phases
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import RunOptions
from reconad_plugin.training.network_fit import FINETUNE_LEARNING_RATE_SHARE, check_device

pytestmark = pytest.mark.usefixtures("tiny_models")

A_FEW_STEPS = TrainingSettings(steps=2, batch_size=4)
TINY = ProductSettings(image_size_px=32)


@pytest.fixture(scope="module")
def images(make_normal):
    """Normal images by what they are for."""
    return NormalImages(make_normal(8, 1), make_normal(4, 2), make_normal(2, 3))


@pytest.fixture(scope="module")
def base(images):
    """A detector to start from."""
    return fit_detector(images, TINY, A_FEW_STEPS)[0]


@pytest.fixture
def asked(monkeypatch):
    """What the training loop was called with; it does nothing else."""
    calls = []
    train = phases.train

    def note(recipe, *parts, **others):
        calls.append((recipe, *parts, others))
        return train(recipe, *parts, **others)

    monkeypatch.setattr(phases, "train", note)
    return calls


def test_fine_tuned_detector_keeps_the_architecture_of_its_base(base, images, tmp_path):
    """A fine-tuned version of a narrow network can be saved and loaded."""
    tuned, _ = fit_detector(images, TINY, A_FEW_STEPS, base=base)
    save_detector(tuned, tmp_path)
    loaded = load_detector(tmp_path)

    assert loaded.architecture == base.architecture
    assert base.architecture == {"width": 8, "latent_dim": 16, "light": "standard"}
    np.testing.assert_array_equal(
        loaded.score(images.judge).pred_score, tuned.score(images.judge).pred_score
    )


@pytest.mark.filterwarnings("ignore:GANomaly is a baseline")
@pytest.mark.parametrize("model", [pytest.param(name, id=name) for name in MODELS])
def test_every_model_can_be_fine_tuned_once_and_again(model, images):
    """What was trained can be started from, and what was fine-tuned as well."""
    options = {"sspcab": True} if model == "draem" else {}
    product = TINY.model_copy(update={"model": model, "options": options})

    detector = None
    for _ in range(3):
        before = None if detector is None else copy.deepcopy(detector.engine.network.state_dict())
        start = detector
        detector, _ = fit_detector(images, product, A_FEW_STEPS, base=start)
        if start is not None:
            after = start.engine.network.state_dict()
            assert all(torch.equal(after[name], value) for name, value in before.items())
            assert detector.engine.network is not start.engine.network


def test_fine_tuning_is_gentler(base, images, asked):
    """It has a share of the model's rate, unless a rate is set."""
    fit_detector(images, TINY, A_FEW_STEPS)
    fit_detector(images, TINY, A_FEW_STEPS, base=base)
    fit_detector(images, TINY, TrainingSettings(steps=2, learning_rate=0.02), base=base)

    rates = [settings.learning_rate or recipe.learning_rate for recipe, _, _, settings, *_ in asked]
    assert rates == [1e-3, pytest.approx(FINETUNE_LEARNING_RATE_SHARE * 1e-3), 0.02]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"model": "vae"}, r"ae at 32 px .*say vae at 32 px", id="model"),
        pytest.param({"image_size_px": 64}, r"ae at 32 px .*say ae at 64 px", id="image size"),
        pytest.param(
            {"width": "large"},
            r"\(width=8, latent_dim=16, .*\); .*\(width=9, latent_dim=9, .*\)",
            id="width",
        ),
    ],
)
def test_other_architecture_than_the_bases_is_refused(base, images, monkeypatch, changes, said):
    """Weights fit one network only; the message says both and what to do."""
    monkeypatch.setitem(MODELS["ae"].widths, "large", {"width": 9, "latent_dim": 9})
    other = TINY.model_copy(update=changes)

    with pytest.raises(ConfigError, match=rf"fine-tuning needs .*{said}.*: train from scratch"):
        fit_detector(images, other, A_FEW_STEPS, base=base)


def test_model_that_is_a_mere_baseline_says_so(images):
    """Whoever trains GANomaly is told what finds more; others are told nothing."""
    with pytest.warns(UserWarning, match="GANomaly is a baseline to compare with"):
        fit_detector(images, TINY.model_copy(update={"model": "ganomaly"}), A_FEW_STEPS)


@pytest.mark.filterwarnings("error::UserWarning")
def test_other_models_train_without_a_word(images):
    """No warning, so that the one that matters is seen."""
    fit_detector(images, TINY, A_FEW_STEPS)


def test_simulation_is_that_of_the_settings(images, asked, tmp_path):
    """Preset and textures are those that were asked for."""
    Image.new("RGB", (40, 40), (7, 7, 7)).save(tmp_path / "black.png")
    settings = TrainingSettings(steps=1, preset="metal", textures=str(tmp_path))

    fit_detector(images, TINY, settings)
    fit_detector(images, TINY, A_FEW_STEPS)

    own, usual = (recipe.simulation for recipe, *_ in asked)
    assert own.preset is PRESETS["metal"]
    assert own.textures.pixels.tolist() == [[[[7] * 3] * 32] * 32]
    assert usual.preset is PRESETS["general"]


@pytest.mark.parametrize("model", ["ae", "draem"])
def test_defects_fill_what_the_training_simulates(images, asked, model):
    """Those that come with the images reach the recipe, and nothing learns them otherwise."""
    defects = DefectCuts.of([torch.full((3, 4, 5), 201, dtype=torch.uint8)])
    product = TINY.model_copy(update={"model": model})

    fit_detector(replace(images, defects=defects), product, A_FEW_STEPS)
    fit_detector(images, product, A_FEW_STEPS)

    (filled, *learnt), (usual, *others) = (call[:-1] for call in asked)
    assert filled.simulation.textures.defects.pixels.tolist() == [[201] * 3] * 20
    assert usual.simulation.textures.defects is None
    assert torch.equal(learnt[0], others[0])


def test_folder_without_textures_is_refused(images, tmp_path):
    """A folder of textures that holds none is told before a step is taken."""
    seen = []
    settings = TrainingSettings(steps=1, textures=str(tmp_path / "nowhere"))

    with pytest.raises(NotEnoughImagesError, match="at least one texture"):
        fit_detector(images, TINY, settings, options=RunOptions(on_progress=seen.append))

    assert seen == []


def test_options_of_the_recipe_reach_it(images, asked):
    """What only concerns learning is given to the recipe."""
    product = TINY.model_copy(update={"options": {"denoising": 0.2}})

    detector, _ = fit_detector(images, product, A_FEW_STEPS)

    assert asked[0][0].denoising == 0.2
    assert "denoising" not in detector.architecture


def test_what_is_left_open_follows_the_base(base, images):
    """A version of before the light was an option goes on without; asked for, that is refused."""
    old = replace(base, architecture={"width": 8, "latent_dim": 16})

    tuned, _ = fit_detector(images, TINY, A_FEW_STEPS, base=old)

    assert tuned.architecture == old.architecture
    asked = TINY.model_copy(update={"options": {"light": "local"}})
    with pytest.raises(ConfigError, match=r"light=local\).*: train from scratch"):
        fit_detector(images, asked, A_FEW_STEPS, base=old)


def test_checkpoints_go_where_they_are_asked_for(images, asked, tmp_path):
    """Each phase has a folder in that of the training."""
    fit_detector(images, TINY, A_FEW_STEPS, options=RunOptions(checkpoint_folder=tmp_path))

    assert asked[0][-2].checkpoint_folder == tmp_path / "network"


def test_judges_images_count_and_are_not_touched(images):
    """They make up the number of images that is needed, and are not looked at."""
    judge = torch.full((3, 3, 32, 32), 255, dtype=torch.uint8)
    few = NormalImages(images.train[:4], images.calibration, judge)

    detector, _ = fit_detector(few, TINY, A_FEW_STEPS)

    assert max(detector.light.mean) < 0.7
    with pytest.raises(NotEnoughImagesError, match="at least 10 accepted normal images; got 9"):
        fit_detector(NormalImages(few.train[:2], few.calibration, judge), TINY, A_FEW_STEPS)


@pytest.mark.parametrize("device", ["meta", "hpu", "tpu", "cuda:99", ""])
def test_a_device_that_gives_no_number_back_is_refused(device):
    """Before the training: torch knows some that are not there, and one that holds no numbers."""
    with pytest.raises(ConfigError, match=f"device must be there; got '{device}': ."):
        check_device(device)
