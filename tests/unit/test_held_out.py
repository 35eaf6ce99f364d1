"""Validations on held-out images while a training runs."""

import pytest
import torch
from torch import Generator, nn

from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.simulation.anomalies import simulate_anomalies
from reconad_plugin.simulation.presets import PRESETS, STAINS
from reconad_plugin.training.held_out import MAX_IMAGES, HeldOut
from reconad_plugin.training.recipe import Recipe, Simulation


class Expecting(AnomalyNetwork):
    """Expects flat grey everywhere, as far as its only weight says."""

    def __init__(self, strength):
        super().__init__()
        self.strength = nn.Parameter(torch.tensor(strength))
        self.norm = nn.BatchNorm2d(3)

    def reconstruct(self, image):
        return image.lerp(torch.full_like(image, 120 / 255), self.strength)

    def anomaly_map(self, image):
        return (self.reconstruct(image) - image).abs().sum(1)


class Brightness(Recipe):
    """Its loss is the mean brightness; it notes what it saw, and in which mode."""

    learning_rate = 1e-3
    batch_size = 5

    def __init__(self, strength=1.0, simulation=None):
        super().__init__(Expecting(strength), simulation or Simulation())
        self.seen, self.modes, self.drawn = [], [], []

    def losses(self, image, generator):
        self.seen.append(image)
        self.modes.append(self.training or self.network.training or torch.is_grad_enabled())
        self.drawn.append(float(torch.rand(1, generator=generator)))
        return {"total": image.mean() + self.network.norm(image).mean() * 0}


def flat(count, size_px=32):
    """(count, 3, S, S) uint8, each image in one grey about 120."""
    grey = 118 + torch.arange(count) % 5
    return grey.view(-1, 1, 1, 1).expand(-1, 3, size_px, size_px).byte()


@pytest.mark.parametrize("count", [pytest.param(n, id=f"{n} images") for n in (1, 5, 12)])
def test_loss_is_the_mean_over_the_normal_images(count):
    """Batches that are not full count for as many images as they hold."""
    recipe = Brightness()

    found = HeldOut(flat(count), recipe, 1, "cpu").validate(recipe)

    assert found.loss == pytest.approx(float((flat(count) / 255).mean()), rel=1e-5)
    assert [len(batch) for batch in recipe.seen] == [5] * (count // 5) + [count % 5] * (
        count % 5 > 0
    )


@pytest.mark.parametrize(
    ("strength", "least", "most"),
    [
        pytest.param(1.0, 0.9, 1.0, id="knows what is normal"),
        pytest.param(0.0, 0.5, 0.5, id="rebuilds everything"),
    ],
)
def test_separation_says_how_well_anomalies_are_told(strength, least, most):
    """One is perfect, a half is chance."""
    recipe = Brightness(strength)

    found = HeldOut(flat(12), recipe, 1, "cpu").validate(recipe)

    assert least <= found.separation <= most


def test_every_validation_sees_the_same():
    """Two validations at the same weights give the same, whatever was drawn between."""
    recipe = Brightness()
    held_out = HeldOut(flat(8), recipe, 1, "cpu")

    first = held_out.validate(recipe)
    torch.rand(7)
    second = held_out.validate(recipe)

    assert first == second
    assert recipe.drawn[:2] == recipe.drawn[2:]


def test_a_few_old_and_new_images_count():
    """More than the limit costs no more, and the newest are seen as well as the oldest."""
    recipe = Brightness()
    images = flat(MAX_IMAGES + 20)
    images[0], images[-1] = 7, 251

    HeldOut(images, recipe, 1, "cpu").validate(recipe)

    seen = torch.cat(recipe.seen)
    assert len(seen) == MAX_IMAGES
    assert [round(255 * float(seen[place].mean())) for place in (0, -1)] == [7, 251]


def test_validation_leaves_no_trace():
    """It happens in eval mode without gradients, and leaves training mode, weights and chance."""
    recipe = Brightness().train()
    before = {name: value.clone() for name, value in recipe.state_dict().items()}
    random_state = torch.get_rng_state()

    HeldOut(flat(8), recipe, 1, "cpu").validate(recipe)

    assert not any(recipe.modes)
    assert all(module.training for module in recipe.modules())
    assert all(torch.equal(value, before[name]) for name, value in recipe.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_anomalies_are_those_of_the_recipes_preset(monkeypatch):
    """What is looked for is what is learnt."""
    asked = []

    def simulate(images, generator, preset, textures, inside):
        asked.append((preset, textures))
        return simulate_anomalies(images, generator, preset, textures, inside)

    monkeypatch.setattr("reconad_plugin.training.held_out.simulate_anomalies", simulate)
    recipe = Brightness(simulation=Simulation(PRESETS["metal"]))

    HeldOut(flat(2), recipe, 1, "cpu")

    assert asked == [(PRESETS["metal"], None)]


def test_weights_that_rebuild_less_are_told_apart(make_normal):
    """A weaker expectation among noise separates less than a strong one."""
    noisy = flat(16).float() + 12 * torch.randn(16, 3, 32, 32, generator=Generator().manual_seed(0))
    images = noisy.clamp(0, 255).byte()

    recipes = Brightness(1.0), Brightness(0.0)
    for recipe in recipes:
        recipe.simulation = Simulation(STAINS)

    strong, none = (HeldOut(images, recipe, 3, "cpu").validate(recipe) for recipe in recipes)

    assert strong.separation > none.separation + 0.2
