"""What every network in the registry keeps, untrained, and its recipes while they train it."""

import math

import pytest
import torch
from torch import Generator

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.registry import MODELS, model_spec
from reconad_plugin.training.ganomaly import GanomalyRecipe
from reconad_plugin.training.loop import RunOptions, train
from reconad_plugin.training.recipe import Simulation
from tests.environment import DEVICE
from tests.unit.conftest import DESCENDING

pytestmark = [
    pytest.mark.usefixtures("tiny_models"),
    pytest.mark.filterwarnings("ignore:GANomaly is a baseline"),
]

SIZE_PX = 32


def build(model, size_px=SIZE_PX):
    """The untrained network of the least width."""
    spec = model_spec(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = spec.build_network(ImageSize.square(size_px), **spec.architecture(None, {}))
        return network.eval().to(DEVICE)


PHASES = [
    pytest.param((model, phase), id=f"{model} {phase.name}")
    for model, spec in MODELS.items()
    for phase in spec.phases
    if not spec.pretrained  # nothing of it descends; see test_fre.py
]


@pytest.fixture
def recipe(request, tiny_models):
    """The recipe of each phase of each model around an untrained network."""
    model, phase = request.param
    return model_spec(model).build_recipe(build(model), Simulation(), {}, phase).to(DEVICE)


every_phase = pytest.mark.parametrize("recipe", PHASES, indirect=True)


def loss_of(recipe, image):
    """The recipe's total with the chance of one seed."""
    return recipe.losses(image, Generator().manual_seed(0))["total"]


@pytest.fixture
def network(model, tiny_models):
    """The untrained network for 32-pixel images."""
    return build(model)


@pytest.fixture
def picture():
    """(2, 3, 32, 32) float in [0, 1]."""
    return torch.rand(2, 3, SIZE_PX, SIZE_PX, generator=Generator().manual_seed(0)).to(DEVICE)


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
        anomaly_map = network.anomaly_map(torch.rand(1, 3, size_px, size_px, device=DEVICE))

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


@pytest.mark.parametrize("model", DESCENDING, indirect=True)
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
        before = float(loss_of(recipe, batch.to(DEVICE) / 255))
    settings = TrainingSettings(
        steps=150 if isinstance(recipe, GanomalyRecipe) else 60,  # two play against each other
        batch_size=4,
        learning_rate=3e-3,
        early_stopping=False,
        preset="electronics",
    )

    train(recipe, batch, batch[:0], settings, seed=0, options=RunOptions(DEVICE))

    with torch.inference_mode():
        after = float(loss_of(recipe, batch.to(DEVICE) / 255))
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

    report = train(recipe, images, images, settings, seed=0, options=RunOptions(DEVICE))

    assert report.steps == 3
    with torch.inference_mode():
        assert torch.isfinite(recipe.network.anomaly_map(images.to(DEVICE) / 255)).all()
