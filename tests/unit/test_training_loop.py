"""The one training loop: its steps, its seconds, its validations, and what it leaves behind."""

import copy
import math
import time
from types import SimpleNamespace

import pytest
import torch

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.errors import NotEnoughImagesError, TrainingDivergedError
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.registry import model_spec
from reconad_plugin.training import loop, schedule
from reconad_plugin.training.held_out import Validation
from reconad_plugin.training.loop import PATIENCE_VALIDATIONS, VALIDATIONS, RunOptions, train
from reconad_plugin.training.recipe import Simulation
from tests.small_recipe import Noted, numbered, steps, weights_of


@pytest.fixture
def watch(monkeypatch):
    """Seconds that pass only when ``now_s`` is moved."""
    watch = SimpleNamespace(now_s=1000.0)
    watch.monotonic = lambda: watch.now_s
    monkeypatch.setattr(schedule, "time", watch)
    monkeypatch.setattr(loop, "time", watch)
    return watch


def slow_recipe(watch, step_s):
    """A recipe whose every loss takes seconds, of a step and of a validation alike."""
    recipe = Noted()
    quick = recipe.losses

    def losses(image, generator):
        watch.now_s += step_s
        return quick(image, generator)

    recipe.losses = losses
    return recipe


def scripted_validations(monkeypatch, validations):
    """Held-out images that say what they are told to, and note the weights they saw."""
    seen = []

    class Scripted:
        def __init__(self, *parts):
            pass

        def validate(self, recipe):
            seen.append(weights_of(recipe.network))
            return validations[len(seen) - 1]

    monkeypatch.setattr(loop, "HeldOut", Scripted)
    return seen


def test_steps_are_kept():
    """With time enough a training takes exactly its steps."""
    recipe, seen = Noted(), []

    report = train(
        recipe, numbered(8), numbered(2), steps(25), 0, options=RunOptions(on_progress=seen.append)
    )

    assert (report.steps, report.planned_steps, report.ended_by) == (25, 25, "steps")
    assert len(recipe.batches) == 25
    assert [progress.step for progress in seen] == list(range(1, 26))
    assert all(progress.planned_steps == 25 for progress in seen)
    assert seen[0].elapsed_s <= seen[-1].elapsed_s <= report.elapsed_s


def test_without_steps_and_budget_the_images_decide():
    """One image in batches of a thousand asks for a single step."""
    settings = TrainingSettings(batch_size=1000)

    assert train(Noted(), numbered(1), numbered(0), settings, 0).steps == 1


def test_recipes_own_rate_and_batch_are_the_defaults():
    """Settings say otherwise, or the recipe decides."""
    recipes = [Noted(), Noted(), Noted()]
    for recipe, settings in zip(
        recipes,
        (steps(3), steps(3, learning_rate=1e-3, batch_size=4), steps(3, batch_size=2)),
        strict=True,
    ):
        train(recipe, numbered(8), numbered(0), settings, 0)

    assert torch.equal(weights_of(recipes[0]), weights_of(recipes[1]))
    assert [len(recipe.batches[0]) for recipe in recipes] == [4, 4, 2]


@pytest.mark.parametrize("step_s", [pytest.param(s, id=f"{s} s a step") for s in (0.3, 0.7, 4.0)])
@pytest.mark.parametrize(
    "wished", [pytest.param(None, id="budget"), pytest.param(10**6, id="both")]
)
def test_budget_is_used_and_kept(watch, step_s, wished):
    """Steps and validations together take the budget, give or take a step or a twentieth."""
    recipe, start_s = slow_recipe(watch, step_s), watch.now_s
    settings = TrainingSettings(steps=wished, budget_s=100.0, early_stopping=False)

    report = train(recipe, numbered(8), numbered(4), settings, 0)

    took_s = watch.now_s - start_s
    assert took_s <= 100 + max(step_s, 5)
    assert took_s >= 90 - 2 * step_s
    assert report.ended_by == "budget"
    assert report.elapsed_s == pytest.approx(took_s)
    assert report.steps == report.planned_steps == len(recipe.batches)


def test_validations_take_a_tenth_of_a_budget_at_most(watch):
    """where validating is slow it is done less often."""
    recipe = slow_recipe(watch, 0.5)
    settings = TrainingSettings(budget_s=100.0, early_stopping=False)

    report = train(recipe, numbered(8), numbered(32), settings, 0)  # 8 losses a validation

    assert 1 <= len(report.curve) <= 5
    assert report.curve[-1].step == report.steps


@pytest.mark.parametrize("wished", [pytest.param(None, id="budget"), pytest.param(1000, id="both")])
def test_budget_is_kept_when_hardly_a_step_fits(watch, wished):
    """Steps so slow that their pace is never known end with the budget all the same."""
    settings = TrainingSettings(steps=wished, budget_s=35.0)

    report = train(slow_recipe(watch, 10.0), numbered(8), numbered(4), settings, 0)

    assert report.steps == 4
    assert report.ended_by == "budget"
    assert report.curve[-1].step == 4


def test_budget_of_real_seconds_is_kept():
    """Without end, a training ends after its second."""
    settings = TrainingSettings(budget_s=1.0, early_stopping=False)

    start_s = time.monotonic()
    report = train(Noted(), numbered(8), numbered(2), settings, 0)
    took_s = time.monotonic() - start_s

    assert took_s < 2  # a busy machine may hold up the last step
    assert report.ended_by == "budget"
    assert report.steps > 11


@pytest.mark.parametrize(
    ("value", "said"),
    [pytest.param(math.nan, "nan", id="NaN"), pytest.param(math.inf, "inf", id="infinity")],
)
def test_loss_that_is_no_number_ends_the_training(value, said):
    """A loss that stops being finite is told with its step and what to do."""
    recipe = Noted(spoil=lambda step: value if step == 3 else 0.0)

    with pytest.raises(
        TrainingDivergedError,
        match=f"the loss must stay a finite number; it is {said} at step 3: lower learning_rate",
    ):
        train(recipe, numbered(8), numbered(2), steps(10), 0)

    assert len(recipe.batches) == 3


def test_gradient_that_is_no_number_ends_the_training():
    """A finite loss whose gradient is none is told before it spoils the weights."""
    recipe = Noted()
    before = weights_of(recipe.network)
    quick = recipe.losses

    def losses(image, generator):
        zero = (recipe.network.mix.weight.sum() * 0).sqrt()  # its slope is infinity times zero
        return {"total": quick(image, generator)["total"] + zero}

    recipe.losses = losses

    with pytest.raises(
        TrainingDivergedError,
        match="the gradient must stay a finite number; it is nan at step 1: lower learning_rate",
    ):
        train(recipe, numbered(8), numbered(2), steps(10), 0)

    learnt = weights_of(recipe.network)
    assert torch.isfinite(learnt).all()
    assert torch.equal(learnt[:12], before[:12])


def test_divergence_in_the_last_step_is_told():
    """A step that ruins the weights is told, also when no further step shows it in the loss."""
    with pytest.raises(TrainingDivergedError, match="must stay a finite number"):
        train(Noted(), numbered(200)[100:], numbered(100), steps(1, learning_rate=1e38), 0)


def test_no_image_is_refused():
    """There is nothing to learn from an empty set."""
    with pytest.raises(NotEnoughImagesError, match="at least one image; got none"):
        train(Noted(), numbered(0), numbered(2), steps(3), 0)


def test_network_is_left_ready_to_score():
    """After training every part of recipe and network is in eval mode, in float32."""
    recipe = Noted()

    train(
        recipe, numbered(8), numbered(2), steps(3), 0, options=RunOptions(precision=torch.bfloat16)
    )

    assert not any(module.training for module in recipe.modules())
    assert {weight.dtype for weight in recipe.network.parameters()} == {torch.float32}


def test_weights_follow_the_seed():
    """The same seed gives the same weights bit by bit, another seed gives others."""
    recipes = [Noted(), Noted(), Noted()]

    for recipe, seed in zip(recipes, (5, 5, 6), strict=True):
        train(recipe, numbered(16), numbered(4), steps(8, light_augmentation=True), seed)

    first, again, other = (weights_of(recipe) for recipe in recipes)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_held_out_images_are_watched_and_not_learnt():
    """With other held-out images, or without any, every step's loss is the same."""
    told = [[], [], []]
    for losses, held_out in zip(told, (numbered(200)[100:], numbered(9), numbered(0)), strict=True):
        recipe = Noted()
        train(
            recipe,
            numbered(8),
            held_out,
            steps(12),
            0,
            options=RunOptions(on_progress=losses.append),
        )

    first, second, without = ([progress.loss for progress in losses] for losses in told)
    assert first == second == without


def test_curve_has_its_validations_evenly_and_the_end():
    """A training validates on the held-out images about twenty times, and last at the end."""
    report = train(Noted(), numbered(8), numbered(4), steps(100), 0)

    assert [point.step for point in report.curve] == list(range(5, 101, 5))
    assert len(report.curve) == VALIDATIONS
    assert all(math.isfinite(point.held_out_loss) for point in report.curve)
    assert all(0 <= point.separation <= 1 for point in report.curve)


def test_shortest_training_has_a_curve():
    """A single step has one point."""
    report = train(Noted(), numbered(4), numbered(2), steps(1), 0)

    assert [point.step for point in report.curve] == [1]


def test_best_weights_are_kept(monkeypatch):
    """The average of the validation that told anomalies best is left, and later ones are not."""
    validations = [Validation(1.0, separation) for separation in (0.5, 0.7, 0.9, 0.6, 0.8)]
    monkeypatch.setattr(loop, "VALIDATIONS", 5)
    seen = scripted_validations(monkeypatch, validations)
    recipe = Noted()

    report = train(recipe, numbered(8), numbered(4), steps(50), 0)

    assert report.best_step == 30
    assert torch.equal(weights_of(recipe.network), seen[2])
    assert not torch.equal(weights_of(recipe.network), seen[-1])


def test_of_equals_the_later_is_kept(monkeypatch):
    """Where validations are as good as each other, more training is better."""
    monkeypatch.setattr(loop, "VALIDATIONS", 4)
    seen = scripted_validations(monkeypatch, [Validation(1.0, 0.8)] * 4)
    recipe = Noted()

    report = train(recipe, numbered(8), numbered(4), steps(40), 0)

    assert report.best_step == 40
    assert torch.equal(weights_of(recipe.network), seen[-1])


def test_validations_are_at_the_average_and_leave_the_learning_weights(monkeypatch):
    """What is validated is smoother than what learns, which goes on from where it was."""
    seen, learning = scripted_validations(monkeypatch, [Validation(1.0, 0.8)] * 20), []
    recipe = Noted()

    train(
        recipe,
        numbered(8),
        numbered(4),
        steps(20, learning_rate=0.1),
        0,
        options=RunOptions(
            on_progress=lambda progress: learning.append(weights_of(recipe.network.mix))
        ),
    )

    def roughness(weights):
        return float(torch.stack(weights).diff(dim=0).abs().mean())

    averages = [weights[: learning[0].numel()] for weights in seen]
    assert not any(torch.equal(a, b) for a, b in zip(averages[1:], learning[1:], strict=True))
    assert roughness(averages) < roughness(learning)


@pytest.mark.parametrize(
    ("validations", "ended_after"),
    [
        pytest.param(
            [Validation(1.0, 0.8)] * 20,
            1 + PATIENCE_VALIDATIONS,
            id="nothing better from the first",
        ),
        pytest.param(
            [Validation(1.0, 0.8 + 0.005 * n) for n in range(20)],
            20,
            id="anomalies told ever better",
        ),
        pytest.param(
            [Validation(0.9**n, 0.8) for n in range(20)], 20, id="loss falls all the time"
        ),
        pytest.param(
            [Validation(1.0, 0.8)] * 5 + [Validation(0.5, 0.8)] * 15,
            6 + PATIENCE_VALIDATIONS,
            id="better once",
        ),
        pytest.param([Validation(1.0, 0.8 - 0.01 * n) for n in range(20)], 11, id="ever worse"),
    ],
)
def test_training_ends_early_when_nothing_gets_better(monkeypatch, validations, ended_after):
    """Ten validations in a row without a gain end a training, if it may."""
    scripted_validations(monkeypatch, validations)
    report = train(Noted(), numbered(8), numbered(4), TrainingSettings(steps=100), 0)
    scripted_validations(monkeypatch, validations)
    patient = train(Noted(), numbered(8), numbered(4), steps(100), 0)

    assert report.steps == 5 * ended_after
    assert report.ended_by == ("early_stopping" if ended_after < 20 else "steps")
    assert (patient.steps, patient.ended_by) == (100, "steps")


def test_averaging_costs_a_short_training_little(make_normal):
    """The weights that are left are about as good as the best last seen on the curve."""
    images, held_out = make_normal(8, 1), make_normal(8, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = model_spec("ae").build_network(ImageSize.square(32), width=8, latent_dim=16)
    recipe = model_spec("ae").build_recipe(network, Simulation(), {})
    untrained = copy.deepcopy(recipe).eval()

    report = train(recipe, images, held_out, steps(100, batch_size=8, learning_rate=3e-3), 0)

    generator = torch.Generator()
    with torch.inference_mode():
        left = float(recipe.losses(held_out / 255, generator)["total"])
        before = float(untrained.losses(held_out / 255, generator)["total"])
    kept = next(point for point in report.curve if point.step == report.best_step)
    assert left < before / 2  # it did learn
    assert left == pytest.approx(kept.held_out_loss, rel=0.01)
