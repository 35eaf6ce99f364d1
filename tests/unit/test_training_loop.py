"""The one training loop: its steps, its seconds, its rate, and what it leaves behind."""

import copy
import math
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reconad_plugin.config import TrainingSettings
from reconad_plugin.errors import NotEnoughImagesError, TrainingDivergedError
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.registry import model_spec
from reconad_plugin.training.loop import _Clock, _rate_at, train

NO_LIMIT_S = 60


class Pixelwise(AnomalyNetwork):
    """A network of twelve weights and a batch norm that rebuilds each pixel from itself."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(3, 3, kernel_size=1)
        self.norm = nn.BatchNorm2d(3)

    def reconstruct(self, image):
        return torch.sigmoid(self.norm(self.mix(image)))

    def anomaly_map(self, image):
        return (self.reconstruct(image) - image).abs().sum(1)


class Recipe:
    """Squared error, with a note of every batch that is learnt and of the gradients' mode."""

    def __init__(self, spoil=lambda step: 1.0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = Pixelwise()
        self.batches = []
        self._spoil = spoil

    def losses(self, image):
        if self.network.training:
            self.batches.append(image.detach().clone())
        error = (self.network.reconstruct(image).float() - image).square().mean()
        return {"total": error * self._spoil(len(self.batches))}


def numbered(count):
    """Images that are flat in their own number, (count, 3, 8, 8)."""
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).clone()


def numbers_in(batch):
    """The numbers of a batch's images."""
    return (batch[:, 0, 0, 0] * 255).round().int().tolist()


def weights_of(network):
    """All that a network has learnt as one vector."""
    return torch.cat([value.flatten().double() for value in network.state_dict().values()])


def test_steps_are_kept():
    """With time enough a training takes exactly its steps."""
    recipe, seen = Recipe(), []
    settings = TrainingSettings(steps=25, budget_s=NO_LIMIT_S, batch_size=4)

    report = train(recipe, numbered(8), numbered(2), settings, seed=0, on_progress=seen.append)

    assert (report.steps, report.planned_steps, report.ended_by) == (25, 25, "steps")
    assert len(recipe.batches) == 25
    assert [progress.step for progress in seen] == list(range(1, 26))
    assert 0 < report.elapsed_s < NO_LIMIT_S


def test_budget_is_kept():
    """A training of endless steps ends when its two seconds are over, and plans for that."""
    settings = TrainingSettings(steps=100_000_000, budget_s=2, batch_size=4)

    start_s = time.monotonic()
    report = train(Recipe(), numbered(8), numbered(2), settings, seed=0)
    took_s = time.monotonic() - start_s

    assert took_s < 2.6
    assert report.ended_by == "budget"
    assert 11 < report.steps <= report.planned_steps < settings.steps
    assert report.elapsed_s <= took_s


def test_budget_is_kept_when_hardly_a_step_fits():
    """Steps so slow that their pace is never known end with the budget all the same."""

    def slowly(step):
        time.sleep(0.1)
        return 1.0

    settings = TrainingSettings(steps=1000, budget_s=0.45, batch_size=4)

    report = train(Recipe(spoil=slowly), numbered(8), numbered(0), settings, seed=0)

    assert 1 <= report.steps <= 5
    assert report.ended_by == "budget"
    assert report.curve[-1].step == report.steps


def test_plan_is_shortened_to_what_the_budget_affords():
    """From the pace of the first steps follows how many fit, and the plan is cut to that."""
    clock = _Clock(TrainingSettings(steps=1_000_000, budget_s=10.0))

    for _ in range(11):
        assert clock.planned_steps == 1_000_000
        time.sleep(0.01)
        clock.tick()

    # at 10 ms a step at least, and on a busy machine hardly 100, a thousand fit at most
    assert 100 < clock.planned_steps <= 1000


def test_plan_is_shortened_once():
    """Later steps, quick or slow, do not move the plan again."""
    clock = _Clock(TrainingSettings(steps=1_000_000, budget_s=10.0))
    for _ in range(11):
        time.sleep(0.005)
        clock.tick()
    planned = clock.planned_steps

    for _ in range(5):
        clock.tick()

    assert clock.planned_steps == planned


def test_plan_that_fits_is_kept():
    """A budget that does not bind leaves the plan, so that the same seed gives the same weights."""
    clock = _Clock(TrainingSettings(steps=20, budget_s=1000))

    while clock.goes_on():
        clock.tick()

    assert (clock.step, clock.planned_steps) == (20, 20)


def test_rate_by_hand():
    """Of 100 steps five warm up; then the rate falls along a cosine."""
    rates = [_rate_at(step, 100) for step in range(100)]

    assert rates[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert rates[5 + 19] == pytest.approx(0.5 + 0.5 * math.cos(math.pi * 19 / 95))
    assert rates[99] == pytest.approx(0.5 + 0.5 * math.cos(math.pi * 94 / 95))


@given(planned=st.integers(1, 3000), share=st.floats(0, 1, exclude_max=True))
def test_rate_stays_within_its_height(planned, share):
    """At every step of every plan the rate is positive and at most full."""
    assert 0 < _rate_at(int(share * planned), planned) <= 1


@given(planned=st.integers(2, 500))
def test_rate_rises_and_then_falls(planned):
    """A schedule has one top."""
    rates = [_rate_at(step, planned) for step in range(planned)]
    top = rates.index(max(rates))

    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param(math.nan, "nan", id="NaN"),
        pytest.param(math.inf, "inf", id="infinity"),
    ],
)
def test_loss_that_is_no_number_ends_the_training(value, said):
    """A loss that stops being finite is told with its step and what to do."""
    recipe = Recipe(spoil=lambda step: value if step == 3 else 1.0)
    settings = TrainingSettings(steps=10, budget_s=NO_LIMIT_S, batch_size=4)

    with pytest.raises(
        TrainingDivergedError,
        match=f"must stay a finite number; it is {said} at step 3: lower learning_rate",
    ):
        train(recipe, numbered(8), numbered(2), settings, seed=0)

    assert len(recipe.batches) == 3


def test_divergence_in_the_last_step_is_told():
    """A step that ruins the weights is told, also when no further step shows it in the loss."""
    recipe = Recipe()
    settings = TrainingSettings(steps=1, budget_s=NO_LIMIT_S, batch_size=4, learning_rate=1e38)

    with pytest.raises(TrainingDivergedError, match="must stay a finite number"):
        train(recipe, numbered(200)[100:], numbered(100), settings, seed=0)


def test_no_image_is_refused():
    """There is nothing to learn from an empty set."""
    settings = TrainingSettings(steps=3, budget_s=NO_LIMIT_S)

    with pytest.raises(NotEnoughImagesError, match="at least one image; got none"):
        train(Recipe(), numbered(0), numbered(2), settings, seed=0)


def test_network_is_left_ready_to_score():
    """After training every part of the network is in eval mode."""
    recipe = Recipe()

    train(recipe, numbered(8), numbered(2), TrainingSettings(steps=3, budget_s=60), seed=0)

    assert not any(module.training for module in recipe.network.modules())


def test_every_image_comes_once_a_round():
    """Eight images in batches of four: two batches hold them all, in an order that changes."""
    recipe = Recipe()
    settings = TrainingSettings(steps=8, budget_s=NO_LIMIT_S, batch_size=4)

    train(recipe, numbered(8), numbered(0), settings, seed=0)

    rounds = [
        numbers_in(first) + numbers_in(second)
        for first, second in zip(recipe.batches[::2], recipe.batches[1::2], strict=True)
    ]
    assert all(sorted(one) == list(range(8)) for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_batch_is_at_most_the_images_there_are():
    """Three images make batches of three, each image once."""
    recipe = Recipe()

    train(recipe, numbered(3), numbered(0), TrainingSettings(steps=4, budget_s=60), seed=0)

    assert all(sorted(numbers_in(batch)) == [0, 1, 2] for batch in recipe.batches)


def test_no_image_is_left_out_for_long():
    """Where batches do not divide the images, each still comes about as often as the others."""
    recipe = Recipe()
    settings = TrainingSettings(steps=100, budget_s=NO_LIMIT_S, batch_size=4)

    train(recipe, numbered(7), numbered(0), settings, seed=0)

    drawn = torch.tensor([numbers_in(batch) for batch in recipe.batches])
    assert all(len(set(batch)) == 4 for batch in drawn.tolist())
    assert torch.bincount(drawn.flatten(), minlength=7).min() > 40  # 57 on average


def test_same_seed_gives_the_same_order_and_another_does_not():
    """The seed alone decides which images stand in which batch."""
    settings = TrainingSettings(steps=6, budget_s=NO_LIMIT_S, batch_size=4)
    recipes = [Recipe(), Recipe(), Recipe()]

    for recipe, seed in zip(recipes, (5, 5, 6), strict=True):
        train(recipe, numbered(16), numbered(0), settings, seed=seed)

    first, again, other = ([numbers_in(batch) for batch in r.batches] for r in recipes)
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("is_varied", "changes"),
    [
        pytest.param(False, False, id="as they are"),
        pytest.param(True, True, id="with the light varied"),
    ],
)
def test_light_is_varied_where_it_is_asked_for(is_varied, changes):
    """Batches are the images themselves, or the images under other lamps."""
    recipe = Recipe()
    settings = TrainingSettings(
        steps=2, budget_s=NO_LIMIT_S, batch_size=4, light_augmentation=is_varied
    )
    image = torch.full((1, 3, 8, 8), 102, dtype=torch.uint8)

    train(recipe, image.repeat(4, 1, 1, 1), numbered(0), settings, seed=0)

    seen = torch.cat(recipe.batches)
    assert bool((seen != 102 / 255).any()) is changes
    assert 0 <= seen.min() <= seen.max() <= 1


def test_held_out_images_are_watched_and_not_learnt():
    """With and without held-out images the same weights come out, statistics included."""
    settings = TrainingSettings(steps=10, budget_s=NO_LIMIT_S, batch_size=4)
    watched, unwatched = Recipe(), Recipe()

    train(watched, numbered(8), numbered(200)[100:], settings, seed=0)
    train(unwatched, numbered(8), numbered(0), settings, seed=0)

    assert torch.equal(weights_of(watched.network), weights_of(unwatched.network))


def test_curve_has_its_points_and_its_end():
    """The curve has about twenty points, each with both losses, and ends with the training."""
    settings = TrainingSettings(steps=100, budget_s=NO_LIMIT_S, batch_size=4)

    report = train(Recipe(), numbered(8), numbered(4), settings, seed=0)

    assert [point.step for point in report.curve] == list(range(5, 101, 5))
    assert all(math.isfinite(point.held_out_loss) for point in report.curve)
    assert report.curve[-1].loss < report.curve[0].loss


def test_shortest_training_has_a_curve():
    """A single step has one point."""
    report = train(
        Recipe(), numbered(4), numbered(2), TrainingSettings(steps=1, budget_s=60), seed=0
    )

    assert [point.step for point in report.curve] == [1]


@pytest.mark.parametrize(
    "precision",
    [
        pytest.param(torch.float32, id="float32"),
        pytest.param(torch.bfloat16, id="bfloat16"),
    ],
)
def test_weights_stay_float32(precision):
    """Whatever the arithmetic's precision, the weights that are left are float32."""
    recipe = Recipe()
    settings = TrainingSettings(steps=3, budget_s=NO_LIMIT_S, batch_size=4)

    train(recipe, numbered(8), numbered(2), settings, seed=0, precision=precision)

    assert {weight.dtype for weight in recipe.network.parameters()} == {torch.float32}


def test_averaging_costs_a_short_training_little(make_normal):
    """The weights that are left are about as good as those last seen on the curve."""
    images, held_out = make_normal(8, 1), make_normal(8, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = model_spec("ae").build_network(32, width=16, latent_dim=32)
    recipe = model_spec("ae").build_recipe(network)
    untrained = copy.deepcopy(network).eval()
    settings = TrainingSettings(steps=150, budget_s=NO_LIMIT_S, batch_size=8, learning_rate=3e-3)

    report = train(recipe, images, held_out, settings, seed=0)

    with torch.inference_mode():
        left = recipe.losses(held_out.float() / 255)["total"].item()
        before = model_spec("ae").build_recipe(untrained).losses(held_out.float() / 255)["total"]
    assert report.curve[-1].held_out_loss < before.item() / 3  # it did learn
    assert left < 1.5 * report.curve[-1].held_out_loss
