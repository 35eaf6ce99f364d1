"""What every model in the registry keeps, from its weights to its saved files."""

import io
import math
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator

from reconad_plugin.config import ProductSettings, TrainingSettings
from reconad_plugin.detector.persistence import (
    DETECTOR_FILE,
    WEIGHTS_FILE,
    load_detector,
    save_detector,
)
from reconad_plugin.images.geometry import decode_square, stack_images
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.networks.registry import MODELS, model_spec
from reconad_plugin.training import loop
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import train
from reconad_plugin.training.recipe import Simulation

pytestmark = [
    pytest.mark.usefixtures("tiny_models", "few_looks"),
    pytest.mark.filterwarnings("ignore:GANomaly is a baseline"),
]

SIZE_PX = 32
A_FEW_STEPS = TrainingSettings(steps=3, batch_size=4)
LEARNING = {  # enough for the planted square in any arithmetic, and little more
    "ganomaly": {"steps": 150, "batch_size": 8, "learning_rate": 2e-3},
    "dsr": {"steps": 800, "batch_size": 16, "learning_rate": 3e-3, "preset": "electronics"},
    "draem": {"steps": 200, "batch_size": 8, "learning_rate": 2e-3, "preset": "electronics"},
}
USUAL = {"steps": 150, "batch_size": 8, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def few_looks():
    """Two looks a training; the loop has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "VALIDATIONS", 2)
        yield


@pytest.fixture(scope="module", params=[pytest.param(name, id=name) for name in MODELS])
def model(request):
    """Each model's name in turn."""
    return request.param


def build(model, size_px=SIZE_PX):
    """The untrained network of the least width."""
    spec = model_spec(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return spec.build_network(size_px, **spec.architecture(None, {})).eval()


PHASES = [
    pytest.param((model, phase), id=f"{model} {phase.name}")
    for model, spec in MODELS.items()
    for phase in spec.phases
]


@pytest.fixture
def recipe(request, tiny_models):
    """The recipe of each phase of each model around an untrained network."""
    model, phase = request.param
    return model_spec(model).build_recipe(build(model), Simulation(), {}, phase)


every_phase = pytest.mark.parametrize("recipe", PHASES, indirect=True)


def loss_of(recipe, image):
    """The recipe's total with the chance of one seed."""
    return recipe.losses(image, Generator().manual_seed(0))["total"]


@pytest.fixture
def network(model, tiny_models):
    """The untrained network for 32-pixel images."""
    return build(model)


@pytest.fixture(scope="module")
def product(model):
    """A product of this model."""
    return ProductSettings(model=model, image_size_px=SIZE_PX, target_fpr=0.1)


@pytest.fixture(scope="module")
def normal(make_normal):
    """Normal images by what they are for."""
    return NormalImages(make_normal(16, 1), make_normal(9, 2), make_normal(4, 3))


@pytest.fixture(scope="module")
def learned(model, product, normal, tiny_models, few_looks):
    """A detector that has learnt what normal looks like."""
    training = TrainingSettings(**LEARNING.get(model, USUAL))
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
    network = build(model, size_px)

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


def test_neighbours_in_the_batch_do_not_matter(model, network, picture):
    """An image's map is the same alone and in company.

    DSR's norms of four pixels an image, untrained, make more of the last bit than others do.
    """
    with torch.inference_mode():
        together, alone = network.anomaly_map(picture), network.anomaly_map(picture[1:])

    atol = 1e-3 if model == "dsr" else 1e-5
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=atol)


@every_phase
def test_recipe_names_its_total(recipe, picture):
    """A recipe's losses are finite numbers, and all that is to learn does from their total."""
    recipe.train()

    losses = recipe.losses(picture, Generator().manual_seed(0))
    losses["total"].backward()
    losses = {name: loss.detach() for name, loss in losses.items()}

    assert all(loss.shape == () and math.isfinite(loss) for loss in losses.values())
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    assert len(losses) > 1
    weights = list(recipe.network.parameters())
    assert any(weight.requires_grad for weight in weights)
    assert all((weight.grad is not None) == weight.requires_grad for weight in weights)
    assert recipe.learning_rate > 0
    assert recipe.batch_size >= 1


def test_every_part_of_the_network_learns_in_one_phase(model, network):
    """No two phases train one weight, and no weight is left out."""
    names = []
    for phase in model_spec(model).phases:
        model_spec(model).build_recipe(network, Simulation(), {}, phase)
        names += [name for name, weight in network.named_parameters() if weight.requires_grad]

    assert sorted(names) == sorted(name for name, _ in network.named_parameters())


@every_phase
def test_losses_follow_the_generator(recipe, picture):
    """The same seed gives the same losses, whatever was drawn elsewhere."""
    recipe.eval()

    first = loss_of(recipe, picture)
    torch.rand(5)

    assert torch.equal(loss_of(recipe, picture), first)


@every_phase
def test_one_batch_can_be_learnt_by_heart(recipe, make_normal):
    """On a single batch the loss falls to less than half."""
    batch = make_normal(4, 5)
    with torch.inference_mode():
        before = float(loss_of(recipe, batch / 255))
    settings = TrainingSettings(
        steps=150,
        batch_size=4,
        learning_rate=3e-3,
        early_stopping=False,
        preset="electronics",
    )

    train(recipe, batch, batch[:0], settings, seed=0)

    with torch.inference_mode():
        after = float(loss_of(recipe, batch / 255))
    assert after < before / 2


@pytest.mark.parametrize(
    ("count", "batch_size"),
    [
        pytest.param(1, 2, id="one image in batches of two"),
        pytest.param(3, 8, id="a batch larger than all images"),
    ],
)
@every_phase
def test_few_images_can_be_learnt(recipe, make_normal, count, batch_size):
    """Images come several times in a batch, and what is left scores finite numbers."""
    images = make_normal(count, 5)
    settings = TrainingSettings(steps=3, batch_size=batch_size)

    report = train(recipe, images, images, settings, seed=0)

    assert report.steps == 3
    with torch.inference_mode():
        assert torch.isfinite(recipe.network.anomaly_map(images / 255)).all()


def test_defect_scores_above_its_clean_twin(model, learned, make_normal, plant_defect):
    """Each image with a planted square scores above the same image without it.

    GANomaly's score compares two latents that hardly know the picture, so of it only the map is
    asked.
    """
    clean = make_normal(12, 6)

    scores, defective = learned.score(clean), learned.score(plant_defect(clean))

    if model == "ganomaly":
        inside = (slice(None), slice(10, 18), slice(10, 18))
        clean_mean = scores.anomaly_map[inside].mean((1, 2))
        assert (defective.anomaly_map[inside].mean((1, 2)) > 2 * clean_mean).all()
    else:
        assert (defective.pred_score > scores.pred_score).all()
        assert (defective.pred_score > learned.calibration.image_threshold).mean() > 0.9


def test_map_points_at_the_defect(model, learned, make_normal, plant_defect):
    """The map is higher within the planted square than elsewhere.

    DSR's upsampler has 120 steps here, after which its map is still grey everywhere.
    """
    maps = learned.score(plant_defect(make_normal(4, 7))).anomaly_map

    inside = maps[:, 10:18, 10:18].mean((1, 2))
    outside = maps[:, 20:, 20:].mean((1, 2))
    assert (inside > (1.1 if model == "dsr" else 2) * outside).all()


def test_defect_stands_out_with_the_light_matched(model, learned, make_normal, plant_defect):
    """A planted square scores above its clean twin after matching too."""
    clean = make_normal(12, 8)

    matched = learned.score_matched(clean)
    defective = learned.score_matched(plant_defect(clean))

    if model == "ganomaly":
        inside = (slice(None), slice(10, 18), slice(10, 18))
        assert defective.anomaly_map[inside].mean() > 2 * matched.anomaly_map[inside].mean()
    else:
        assert (defective.pred_score > matched.pred_score).all()


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
    assert (loaded.model, loaded.architecture) == (learned.model, learned.architecture)
    assert (loaded.image_size_px, loaded.window_px) == (SIZE_PX, learned.window_px)
    assert not any(module.training for module in loaded.network.modules())


def test_saved_files_can_run_no_code(learned, tmp_path):
    """A saved detector is one JSON and one safetensors file, and nothing that is a pickle."""
    save_detector(learned, tmp_path)

    assert {path.name for path in tmp_path.rglob("*")} == {DETECTOR_FILE, WEIGHTS_FILE}
    assert not any(zipfile.is_zipfile(path) for path in tmp_path.iterdir())
    pickled = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
    assert not any(path.read_bytes().startswith(pickled) for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((16, 100, 3), id="wide"),
        pytest.param((100, 16, 3), id="high"),
        pytest.param((17, 17, 3), id="smaller than the network"),
        pytest.param((500, 500, 3), id="larger than the network"),
    ],
)
def test_pictures_of_any_shape_can_be_scored(learned, shape):
    """Grey and coloured files of any shape get a finite score."""
    colour = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    files = []
    for picture in (Image.fromarray(colour), Image.fromarray(colour[..., 0])):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        files.append(decode_square(buffer.getvalue(), SIZE_PX, ImageLimits()))

    scores = learned.score(stack_images(files, SIZE_PX))

    assert scores.anomaly_map.shape == (2, SIZE_PX, SIZE_PX)
    assert np.isfinite(scores.anomaly_map).all()
    assert np.isfinite(scores.pred_score).all()


@pytest.mark.parametrize("shade", [pytest.param(s, id=f"shade {s}") for s in (0, 128, 255)])
def test_picture_without_contrast_can_be_scored(learned, shade):
    """A covered or a dazzled lens gives finite scores, with the light matched as well."""
    flat = torch.full((1, 3, SIZE_PX, SIZE_PX), shade, dtype=torch.uint8)

    assert np.isfinite(learned.score(flat).pred_score).all()
    assert np.isfinite(learned.score_matched(flat).pred_score).all()


def test_threshold_comes_from_held_out_images_alone(learned, normal):
    """The calibration's scores are those of the calibration images, one for one."""
    scores = learned.score(normal.calibration).pred_score

    np.testing.assert_allclose(learned.calibration.normal_scores, np.sort(scores), rtol=1e-5)
    matched = learned.score_matched(normal.calibration).pred_score
    np.testing.assert_allclose(
        learned.matched_calibration.normal_scores, np.sort(matched), rtol=1e-5
    )


def test_fine_tuning_starts_from_the_base_and_leaves_it(learned, product, normal):
    """After a few careful steps the weights are near the base's, and the base is as it was."""
    before = weights_of(learned).clone()
    gently = A_FEW_STEPS.model_copy(update={"learning_rate": 1e-6})

    tuned, _ = fit_detector(normal, product, gently, base=learned)

    def learnt(detector):
        return torch.cat([weight.flatten() for weight in detector.network.parameters()])

    assert torch.equal(weights_of(learned), before)
    assert 0 < (learnt(tuned) - learnt(learned)).abs().max() < 1e-4
