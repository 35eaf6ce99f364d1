"""What fitting keeps, whichever model it fits."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.detector import Detector
from reconad_plugin.errors import NotEnoughImagesError
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import RunOptions
from tests.environment import DEVICE

pytestmark = [
    pytest.mark.usefixtures("tiny_models", "few_validations"),
    pytest.mark.filterwarnings("ignore:GANomaly is a baseline"),
]

SIZE_PX = 32
A_FEW_STEPS = TrainingSettings(steps=3, batch_size=4)
THERE = RunOptions(DEVICE)


@pytest.fixture(scope="module")
def product(model):
    """A product of each model in turn."""
    return ProductSettings(model=model, image_size_px=SIZE_PX, target_fpr=0.1)


@pytest.fixture(scope="module")
def normal(make_normal):
    """Normal images by what they are for."""
    return NormalImages(make_normal(8, 1), make_normal(3, 2), make_normal(4, 3))


@pytest.fixture(scope="module")
def first(product, normal, tiny_models, few_validations):
    """A detector of these images, to hold others against."""
    return fit_detector(normal, product, A_FEW_STEPS, options=THERE)[0]


@dataclass(frozen=True, eq=False)
class Repeated:
    """The same training once more, where others draw random numbers too."""

    detector: Detector
    steps: list[int]  # that it told
    before: Tensor  # global random state
    after: Tensor


@pytest.fixture(scope="module")
def second(product, normal, tiny_models, few_validations):
    """Held against the first."""
    seen = []
    options = RunOptions(DEVICE, on_progress=lambda progress: seen.append(progress.step))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        before = torch.get_rng_state()
        detector, _ = fit_detector(normal, product, A_FEW_STEPS, options=options)
        return Repeated(detector, seen, before, torch.get_rng_state())


def weights_of(detector):
    """All weights of a detector as one vector."""
    state = detector.engine.network.state_dict()
    return torch.cat([value.flatten().double() for value in state.values()])


def test_same_seed_gives_the_same_weights(first, second):
    """Two trainings with the same images and seed end with the same weights, whatever others drew
    before."""
    assert torch.equal(weights_of(first), weights_of(second.detector))
    assert first.calibration == second.detector.calibration


def test_global_random_state_is_not_moved(second):
    """Whoever draws random numbers after a training does not notice it."""
    assert torch.equal(second.before, second.after)


def test_progress_is_told_step_by_step(second):
    """A training reports each of its steps."""
    assert second.steps == [1, 2, 3]


def test_other_seed_gives_other_weights(product, normal, first):
    """The seed decides the weights."""
    other, _ = fit_detector(
        normal, product.model_copy(update={"seed": 1}), A_FEW_STEPS, options=THERE
    )

    assert not torch.equal(weights_of(first), weights_of(other))


def test_judges_images_are_not_touched(product, normal, make_normal, first):
    """Other judge's images change nothing."""
    others = NormalImages(normal.train, normal.calibration, make_normal(30, 99))
    second, _ = fit_detector(others, product, A_FEW_STEPS, options=THERE)

    assert torch.equal(weights_of(first), weights_of(second))
    assert first.calibration == second.calibration


def test_too_few_images_are_refused(product, normal):
    """Fewer normal images than the product asks for are not trained on."""
    few = NormalImages(normal.train[:5], normal.calibration[:2], normal.judge[:2])

    with pytest.raises(
        NotEnoughImagesError,
        match="at least 10 accepted normal images; got 9: bring more, or lower",
    ):
        fit_detector(few, product, A_FEW_STEPS, options=THERE)


@pytest.mark.parametrize("held_out", [pytest.param(0, id="none"), pytest.param(1, id="one")])
def test_too_few_to_calibrate_on_are_refused_before_training(product, normal, held_out):
    """Without two held-out images no threshold can be set, so not a single step is spent."""
    seen = []
    images = NormalImages(normal.train, normal.calibration[:held_out], normal.judge)

    with pytest.raises(NotEnoughImagesError, match=f"at least 2 held-out .* got {held_out}"):
        fit_detector(
            images, product, A_FEW_STEPS, options=RunOptions(DEVICE, on_progress=seen.append)
        )

    assert not seen
