"""What a detector of every model keeps once it is trained, from its maps to its saved files."""

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.engine import ENGINES, GraphEngine, OpenVinoGraph
from reconad_plugin.detector.engine_export import convert_network
from reconad_plugin.detector.persistence import (
    DETECTOR_FILE,
    WEIGHTS_FILE,
    load_detector,
    save_detector,
)
from reconad_plugin.images.geometry import decode_to_size, stack_images
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.registry import MODELS
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import RunOptions
from tests.environment import DEVICE
from tests.unit.conftest import DESCENDING

pytestmark = [
    pytest.mark.usefixtures("tiny_models", "few_validations"),
    pytest.mark.filterwarnings("ignore:GANomaly is a baseline"),
]

SIZE_PX = 32
A_FEW_STEPS = TrainingSettings(steps=3, batch_size=4)


@pytest.fixture(scope="module")
def product(model):
    """A product of this model."""
    return ProductSettings(model=model, image_size_px=SIZE_PX, target_fpr=0.1)


@pytest.fixture(scope="module")
def normal(make_normal):
    """Normal images by what they are for."""
    return NormalImages(make_normal(16, 1), make_normal(9, 2), make_normal(4, 3))


@pytest.fixture(scope="module")
def learned(product, normal, tiny_models, few_validations):
    """A detector after a few steps; see ``tests.learning`` for what a model learns."""
    detector, _ = fit_detector(normal, product, A_FEW_STEPS, options=RunOptions(DEVICE))
    return detector


def weights_of(detector):
    """All weights of a detector as one vector."""
    state = detector.engine.network.state_dict()
    return torch.cat([value.flatten().double() for value in state.values()])


def test_an_engine_scores_as_pytorch(learned, make_normal, plant_defect):
    """The exported graph of every model maps and scores as its network, in any light."""
    images = torch.cat([make_normal(3, 14), plant_defect(make_normal(3, 15))]).numpy()
    graph = OpenVinoGraph(convert_network(learned, images[:1]), ENGINES["openvino"])
    engined = replace(learned, engine=GraphEngine(graph, learned.normal_map is not None, False))

    for was, found in (
        (learned.score(images), engined.score(images)),
        (learned.score_matched(images), engined.score_matched(images)),
    ):
        np.testing.assert_allclose(found.pred_score, was.pred_score, rtol=1e-3, atol=1e-5)
        close = 1e-3 * was.anomaly_map.max()
        np.testing.assert_allclose(found.anomaly_map, was.anomaly_map, atol=close)


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
    assert loaded.image_size_px == ImageSize.square(SIZE_PX)
    assert loaded.window_px == learned.window_px
    assert not any(module.training for module in loaded.engine.network.modules())


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
        files.append(decode_to_size(buffer.getvalue(), ImageSize.square(SIZE_PX), ImageLimits()))

    scores = learned.score(stack_images(files, ImageSize.square(SIZE_PX)))

    assert scores.anomaly_map.shape == (2, SIZE_PX, SIZE_PX)
    assert np.isfinite(scores.anomaly_map).all()
    assert np.isfinite(scores.pred_score).all()


@pytest.mark.parametrize("shade", [pytest.param(s, id=f"shade {s}") for s in (0, 128, 255)])
def test_picture_without_contrast_can_be_scored(learned, shade):
    """A covered or a dazzled lens gives finite scores, with the light matched as well."""
    flat = torch.full((1, 3, SIZE_PX, SIZE_PX), shade, dtype=torch.uint8)

    assert np.isfinite(learned.score(flat).pred_score).all()
    assert np.isfinite(learned.score_matched(flat).pred_score).all()


@pytest.mark.parametrize(
    "model",
    [each for each, spec in MODELS.items() if not spec.has_normal_map | spec.is_cross_fitted],
    indirect=True,
)
def test_threshold_comes_from_held_out_images_alone(learned, normal):
    """The calibration's scores are those of the calibration images, one for one; of models with
    normal maps see ``test_normal_map``."""
    scores = learned.score(normal.calibration).pred_score

    np.testing.assert_allclose(learned.calibration.normal_scores, np.sort(scores), rtol=1e-5)
    matched = learned.score_matched(normal.calibration).pred_score
    np.testing.assert_allclose(
        learned.matched_calibration.normal_scores, np.sort(matched), rtol=1e-5
    )


@pytest.mark.parametrize("model", DESCENDING, indirect=True)
def test_fine_tuning_starts_from_the_base_and_leaves_it(learned, product, normal):
    """After a few careful steps the weights are near the base's, and the base is as it was."""
    before = weights_of(learned).clone()
    gently = A_FEW_STEPS.model_copy(update={"learning_rate": 1e-6})

    tuned, _ = fit_detector(normal, product, gently, learned, options=RunOptions(DEVICE))

    def learnt(detector):
        return torch.cat([weight.flatten() for weight in detector.engine.network.parameters()])

    assert torch.equal(weights_of(learned), before)
    assert 0 < (learnt(tuned) - learnt(learned)).abs().max() < 1e-4
