"""What every model in the registry keeps, from its weights to its saved files."""

import math
import zipfile

import numpy as np
import pytest
import torch

from reconad_plugin.config import ProductSettings, TrainingSettings
from reconad_plugin.errors import NotEnoughImagesError
from reconad_plugin.images.geometry import stack_images
from reconad_plugin.networks.registry import MODELS, model_spec
from reconad_plugin.persistence import DETECTOR_FILE, WEIGHTS_FILE, load_detector, save_detector
from reconad_plugin.training.fit import NormalImages, fit_detector
from reconad_plugin.training.loop import train

SIZE_PX = 32
A_FEW_STEPS = TrainingSettings(steps=3, budget_s=60, batch_size=8)


@pytest.fixture(scope="module", params=[pytest.param(name, id=name) for name in MODELS])
def model(request):
    """Each model's name in turn."""
    return request.param


@pytest.fixture
def network(model):
    """The untrained network for 32-pixel images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model_spec(model).build_network(SIZE_PX).eval()


@pytest.fixture(scope="module")
def product(model):
    """A product of this model."""
    return ProductSettings(model=model, image_size_px=SIZE_PX, target_fpr=0.1)


@pytest.fixture(scope="module")
def normal(make_normal):
    """Normal images by what they are for."""
    return NormalImages(make_normal(16, 1), make_normal(9, 2), make_normal(4, 3))


@pytest.fixture(scope="module")
def learned(product, normal):
    """A detector that has learnt what normal looks like."""
    training = TrainingSettings(steps=250, budget_s=60, batch_size=16, learning_rate=2e-3)
    detector, _ = fit_detector(normal, product, training)
    return detector


@pytest.fixture
def picture():
    """(2, 3, 32, 32) float in [0, 1]."""
    return torch.rand(2, 3, SIZE_PX, SIZE_PX, generator=torch.Generator().manual_seed(0))


def weights_of(detector):
    """All weights of a detector as one vector."""
    return torch.cat([value.flatten().double() for value in detector.network.state_dict().values()])


def test_map_has_a_value_for_each_pixel(network, picture):
    """A batch of images gives one finite map of their size each."""
    with torch.inference_mode():
        anomaly_map = network.anomaly_map(picture)

    assert anomaly_map.shape == (2, SIZE_PX, SIZE_PX)
    assert anomaly_map.dtype == torch.float32
    assert torch.isfinite(anomaly_map).all()


@pytest.mark.parametrize(
    "size_px", [pytest.param(size, id=f"{size} pixels") for size in (32, 64, 128)]
)
def test_every_allowed_size_can_be_built(model, size_px):
    """The registry builds the network for other sizes too."""
    network = model_spec(model).build_network(size_px).eval()

    with torch.inference_mode():
        anomaly_map = network.anomaly_map(torch.rand(1, 3, size_px, size_px))

    assert anomaly_map.shape == (1, size_px, size_px)


def test_reconstruction_is_a_picture(network, picture):
    """What is rebuilt has the shape of the image and stays in [0, 1]."""
    with torch.inference_mode():
        rebuilt = network.reconstruct(picture)

    assert rebuilt.shape == picture.shape
    assert rebuilt.min() >= 0
    assert rebuilt.max() <= 1


def test_same_image_gives_the_same_map(network, picture):
    """Asking twice gives the same answer, bit by bit."""
    with torch.inference_mode():
        first, second = network.anomaly_map(picture), network.anomaly_map(picture)

    assert torch.equal(first, second)


def test_neighbours_in_the_batch_do_not_matter(network, picture):
    """An image's map is the same alone and in company."""
    with torch.inference_mode():
        together, alone = network.anomaly_map(picture), network.anomaly_map(picture[1:])

    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)


def test_recipe_names_its_total(model, network, picture):
    """A recipe's total is a single finite number that can be descended."""
    recipe = model_spec(model).build_recipe(network.train())

    total = recipe.losses(picture)["total"]
    total.backward()

    assert total.shape == ()
    assert math.isfinite(total.item())
    assert any(weight.grad is not None for weight in network.parameters())


def test_one_batch_can_be_learnt_by_heart(model, network, make_normal):
    """On a single batch the loss falls to less than a third within 300 steps."""
    batch = make_normal(4, 5)
    recipe = model_spec(model).build_recipe(network)
    with torch.inference_mode():
        before = recipe.losses(batch.float() / 255)["total"].item()
    settings = TrainingSettings(steps=300, budget_s=60, batch_size=4, learning_rate=3e-3)

    train(recipe, batch, batch, settings, seed=0)

    with torch.inference_mode():
        after = recipe.losses(batch.float() / 255)["total"].item()
    assert after < before / 3


def test_defect_scores_above_its_clean_twin(learned, make_normal, plant_defect):
    """Each image with a planted square scores above the same image without it."""
    clean = make_normal(12, 6)

    scores, defective = learned.score(clean), learned.score(plant_defect(clean))

    assert (defective.pred_score > scores.pred_score).all()
    assert (defective.pred_score > learned.calibration.image_threshold).all()


def test_map_points_at_the_defect(learned, make_normal, plant_defect):
    """The map is higher within the planted square than elsewhere."""
    maps = learned.score(plant_defect(make_normal(4, 7))).anomaly_map

    inside = maps[:, 10:18, 10:18].mean((1, 2))
    outside = maps[:, 20:, 20:].mean((1, 2))
    assert (inside > 2 * outside).all()


def test_defect_stands_out_with_the_light_matched(learned, make_normal, plant_defect):
    """A planted square scores above its clean twin after matching too."""
    clean = make_normal(12, 8)

    matched = learned.score_matched(clean).pred_score
    defective = learned.score_matched(plant_defect(clean)).pred_score

    assert (defective > matched).all()


def test_new_normal_images_mostly_pass(learned, make_normal):
    """Of 60 new normal images far fewer than half are labelled anomalous."""
    scores = learned.score(make_normal(60, 9)).pred_score

    assert (scores > learned.calibration.image_threshold).mean() < 0.4


def test_saved_detector_gives_the_same_maps(learned, make_normal, plant_defect, tmp_path):
    """A detector that was saved and loaded maps and scores bit by bit as before."""
    images = torch.cat([make_normal(3, 10), plant_defect(make_normal(3, 11))])
    save_detector(learned, tmp_path / "detector")

    loaded = load_detector(tmp_path / "detector")

    for before, after in (
        (learned.score(images), loaded.score(images)),
        (learned.score_matched(images), loaded.score_matched(images)),
    ):
        np.testing.assert_array_equal(after.anomaly_map, before.anomaly_map)
        np.testing.assert_array_equal(after.pred_score, before.pred_score)


def test_saved_detector_keeps_what_decides(learned, tmp_path):
    """Light, thresholds and sizes are the same after loading, and it is ready to score."""
    save_detector(learned, tmp_path)

    loaded = load_detector(tmp_path)

    assert loaded.light == learned.light
    assert loaded.calibration == learned.calibration
    assert loaded.matched_calibration == learned.matched_calibration
    assert (loaded.model, loaded.sizes) == (learned.model, learned.sizes)
    assert (loaded.image_size_px, loaded.window_px) == (SIZE_PX, learned.window_px)
    assert not any(module.training for module in loaded.network.modules())


def test_saved_files_can_run_no_code(learned, tmp_path):
    """A saved detector is one JSON and one safetensors file, and nothing that is a pickle."""
    save_detector(learned, tmp_path)

    assert {path.name for path in tmp_path.rglob("*")} == {DETECTOR_FILE, WEIGHTS_FILE}
    assert not any(zipfile.is_zipfile(path) for path in tmp_path.iterdir())
    assert not any(path.read_bytes().startswith(b"\x80") for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((16, 100, 3), id="wide"),
        pytest.param((100, 16, 3), id="high"),
        pytest.param((500, 500, 3), id="larger than the network"),
    ],
)
def test_pictures_of_any_shape_can_be_scored(learned, shape):
    """Grey and coloured pictures of any shape get a finite score."""
    colour = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    grey = np.repeat(colour[..., :1], 3, axis=2)

    scores = learned.score(stack_images([colour, grey], SIZE_PX))

    assert scores.anomaly_map.shape == (2, SIZE_PX, SIZE_PX)
    assert np.isfinite(scores.pred_score).all()


def test_same_seed_gives_the_same_weights(product, normal):
    """Two trainings with the same images and seed end with the same weights."""
    first, _ = fit_detector(normal, product, A_FEW_STEPS)
    second, _ = fit_detector(normal, product, A_FEW_STEPS)

    assert torch.equal(weights_of(first), weights_of(second))
    assert first.calibration == second.calibration


def test_other_seed_gives_other_weights(product, normal):
    """The seed decides the weights."""
    first, _ = fit_detector(normal, product, A_FEW_STEPS)
    other, _ = fit_detector(normal, product.model_copy(update={"seed": 1}), A_FEW_STEPS)

    assert not torch.equal(weights_of(first), weights_of(other))


def test_global_random_state_is_neither_read_nor_moved(product, normal):
    """Whoever drew random numbers before a training, or draws after it, does not notice it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first, _ = fit_detector(normal, product, A_FEW_STEPS)
        after = torch.get_rng_state()
        torch.manual_seed(2)
        second, _ = fit_detector(normal, product, A_FEW_STEPS)

    assert torch.equal(before, after)
    assert torch.equal(weights_of(first), weights_of(second))


def test_threshold_comes_from_held_out_images_alone(learned, normal):
    """The calibration's scores are those of the calibration images, one for one."""
    scores = learned.score(normal.calibration).pred_score

    np.testing.assert_allclose(learned.calibration.normal_scores, np.sort(scores), rtol=1e-5)
    matched = learned.score_matched(normal.calibration).pred_score
    np.testing.assert_allclose(
        learned.matched_calibration.normal_scores, np.sort(matched), rtol=1e-5
    )


def test_judges_images_are_not_touched(product, normal, make_normal):
    """Other judge's images change nothing."""
    first, _ = fit_detector(normal, product, A_FEW_STEPS)
    others = NormalImages(normal.train, normal.calibration, make_normal(30, 99))
    second, _ = fit_detector(others, product, A_FEW_STEPS)

    assert torch.equal(weights_of(first), weights_of(second))
    assert first.calibration == second.calibration


def test_fine_tuning_starts_from_the_base_and_leaves_it(learned, product, normal):
    """After a few careful steps the weights are near the base's, and the base is as it was."""
    before = weights_of(learned).clone()
    gently = A_FEW_STEPS.model_copy(update={"learning_rate": 1e-6})

    tuned, _ = fit_detector(normal, product, gently, base=learned)
    scratch, _ = fit_detector(normal, product, gently)

    assert torch.equal(weights_of(learned), before)
    scores, base_scores = tuned.calibration.normal_scores, learned.calibration.normal_scores
    assert scores == pytest.approx(base_scores, rel=0.2)
    assert scratch.calibration.normal_scores != pytest.approx(base_scores, rel=0.2)


def test_progress_is_told_step_by_step(product, normal):
    """A training reports each of its steps."""
    seen = []

    fit_detector(normal, product, A_FEW_STEPS, on_progress=seen.append)

    assert [progress.step for progress in seen] == [1, 2, 3]


def test_too_few_images_are_refused(product, normal):
    """Fewer normal images than the product asks for are not trained on."""
    few = NormalImages(normal.train[:5], normal.calibration[:2], normal.judge[:2])

    with pytest.raises(
        NotEnoughImagesError, match="at least 10 accepted normal images; got 9: wait for more"
    ):
        fit_detector(few, product, A_FEW_STEPS)


@pytest.mark.parametrize("held_out", [pytest.param(0, id="none"), pytest.param(1, id="one")])
def test_too_few_to_calibrate_on_are_refused_before_training(product, normal, held_out):
    """Without two held-out images no threshold can be set, so not a single step is spent."""
    seen = []
    images = NormalImages(normal.train, normal.calibration[:held_out], normal.judge)

    with pytest.raises(NotEnoughImagesError, match=f"at least 2 held-out .* got {held_out}"):
        fit_detector(images, product, A_FEW_STEPS, on_progress=seen.append)

    assert not seen
