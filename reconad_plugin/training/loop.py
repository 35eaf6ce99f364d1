"""The one training loop: every model and every phase learns here.

A model brings its losses (a recipe); the loop brings steps, budget, learning rate, precision,
progress, validations on held-out images, the best weights, checkpoints, and the check that numbers
stay finite.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import Generator, Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.detector.memory import keep_freed_memory
from reconad_plugin.errors import NotEnoughImagesError, TrainingDivergedError
from reconad_plugin.training.augment import choose_geometry
from reconad_plugin.training.batches import Batches
from reconad_plugin.training.held_out import HeldOut, Validation
from reconad_plugin.training.recipe import Recipe
from reconad_plugin.training.report import Progress, TrainingReport
from reconad_plugin.training.schedule import Clock
from reconad_plugin.training.state import TrainingState

VALIDATIONS: Final = 20  # in one training
VALIDATIONS_SHARE: Final = 0.1  # of a budget that binds, at most
PATIENCE_VALIDATIONS: Final = 10  # without a better one, until a training stops early
CHECKPOINT_EVERY_S: Final = 5.0
CHECKPOINT_SHARE: Final = 0.02  # of the time, at most


@dataclass(frozen=True)
class RunOptions:
    """How and where one training runs. What it learns does not depend on any of this."""

    device: str = "cpu"  # ``cpu``, ``cuda``, ``cuda:1``
    # of the network's arithmetic; the hardware's best where None
    precision: torch.dtype | None = None
    # where the state is kept and looked for, to go on after a kill; must be this training's own.
    # What is left there at the end the caller removes, when the result is safe.
    checkpoint_folder: Path | None = None
    on_progress: Callable[[Progress], None] = lambda progress: None  # called after each step


DEFAULTS = RunOptions()


def best_precision(device: str) -> torch.dtype:
    """Return bfloat16 where the hardware multiplies it natively, else float32."""
    if device.startswith("cuda"):
        with torch.cuda.device(device):
            is_native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if is_native else torch.float32
    return torch.bfloat16 if torch.backends.mkldnn.is_available() and _has_bf16() else torch.float32


def train(
    recipe: Recipe,
    images: Tensor,
    held_out: Tensor,
    settings: TrainingSettings,
    seed: int,
    window_px: int = 1,
    options: RunOptions = DEFAULTS,
) -> TrainingReport:
    """Train a recipe's network in place; it is left in eval mode with the best weights.

    The learning rate warms up and falls along a cosine over the planned steps, and the plan
    follows the pace where the budget binds. Weights are averaged over the last steps; the average
    that tells simulated anomalies on the held-out images best is kept.

    Args:
        recipe: network and losses.
        images: (N, 3, S, S) uint8 normal images to learn.
        held_out: (M, 3, S, S) uint8 normal images to validate on; never learnt. With none, the
            last average is kept.
        settings: steps, budget, learning rate, batch, variations.
        seed: of order, variation and simulation.
        window_px: side of the score window, for the validations.
        options: device, precision, checkpoints, progress.

    Raises:
        NotEnoughImagesError: no image.
        TrainingDivergedError: a loss or a gradient became NaN or infinite.
    """
    if len(images) == 0:
        raise NotEnoughImagesError("training needs at least one image; got none")
    if settings.geometric_augmentation == "auto":
        chosen = choose_geometry(images)
        settings = settings.model_copy(update={"geometric_augmentation": chosen})
    keep_freed_memory()
    device, batch_size = options.device, settings.batch_size or recipe.batch_size
    recipe = recipe.to(device).to(memory_format=torch.channels_last).train()
    rate, generator = settings.learning_rate or recipe.learning_rate, Generator().manual_seed(seed)
    state = TrainingState(
        recipe,
        AveragedModel(recipe.network, multi_avg_fn=_average_weights, use_buffers=True),
        torch.optim.Adam(recipe.parameters(), lr=rate, betas=recipe.betas, fused=True),
        generator,
        Batches(images, batch_size, settings, generator, device),
        Clock.of(settings, len(images), batch_size),
    )
    validator = HeldOut(held_out, recipe, window_px, device) if len(held_out) else None
    run = _Run(state, validator, settings, options)
    while state.clock.goes_on() and not run.is_stale():
        options.on_progress(run.step())
    return run.finish()


class _Run:
    """One training: its state, and what moves it on."""

    def __init__(
        self,
        state: TrainingState,
        held_out: HeldOut | None,
        settings: TrainingSettings,
        options: RunOptions,
    ) -> None:
        self.state, self.held_out = state, held_out
        self.settings, self.options = settings, options
        self.precision = options.precision or best_precision(options.device)
        self.learning_rate = settings.learning_rate or state.recipe.learning_rate
        if options.checkpoint_folder is not None:
            self.state.load(options.checkpoint_folder)
        self.resumed_step = self.state.clock.step
        self._validation_s = 0.0
        self._checkpoint_s, self._checkpoint_end_s = 0.0, time.monotonic()

    def step(self) -> Progress:
        """Descend the losses of a batch, and validate when it is time."""
        state, clock = self.state, self.state.clock
        for group in state.optimizer.param_groups:
            group["lr"] = self.learning_rate * clock.learning_rate_share()
        with self._autocast():
            loss = state.recipe.losses(state.batches.draw(), state.generator)["total"]
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        value = float(loss.detach())
        gradients = [p.grad for p in state.recipe.parameters() if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        _check_finite("loss", value, clock.step + 1)
        _check_finite("gradient", norm, clock.step + 1)
        state.optimizer.step()
        state.averaged.update_parameters(state.recipe.network)
        clock.tick()
        found = self._validate() if self._is_time_to_validate() else None
        progress = Progress(clock.step, clock.planned_steps, clock.elapsed_s, value)
        if found is not None:
            progress = replace(progress, held_out_loss=found.loss, separation=found.separation)
            state.validations.curve.append(progress)
        self._keep_state()
        return progress

    def is_stale(self) -> bool:
        """Tell whether validations have long found nothing better."""
        since_best = self.state.validations.since_best
        return self.settings.early_stopping and since_best >= PATIENCE_VALIDATIONS

    def finish(self) -> TrainingReport:
        """Leave the network with its best weights."""
        state, clock = self.state, self.state.clock
        ended_by = "steps"
        if self.is_stale():
            ended_by = "early_stopping"
        elif clock.is_budget_bound or clock.step < clock.planned_steps:
            ended_by = "budget"
        state.recipe.network.load_state_dict(state.best or state.averaged.module.state_dict())
        state.recipe.eval()
        return TrainingReport(
            clock.step,
            clock.planned_steps,
            clock.elapsed_s,
            ended_by,
            state.validations.best_step or clock.step,
            self.resumed_step,
            state.validations.curve,
            geometry=self.settings.geometric_augmentation,
        )

    def _autocast(self) -> torch.autocast:
        """Open it anew each time: inside, the weights' casts are kept and would go stale."""
        kind = torch.device(self.options.device).type
        return torch.autocast(kind, self.precision, self.precision != torch.float32)

    def _is_time_to_validate(self) -> bool:
        """Tell whether to validate; first when the pace is known, so that the cost is known too."""
        clock = self.state.clock
        if clock.is_budget_bound and not self._validation_s:
            return clock.is_paced or not clock.goes_on()
        validations = VALIDATIONS
        if clock.is_budget_bound:
            affordable = VALIDATIONS_SHARE * clock.budget_s / self._validation_s
            validations = int(min(VALIDATIONS, affordable))
        every = max(1, clock.planned_steps // max(1, validations))
        return clock.step - self.state.validations.last_step >= every or not clock.goes_on()

    def _validate(self) -> Validation:
        """Validate the averaged weights, which are those that may be kept."""
        started_s = time.monotonic()
        state, network, step = self.state, self.state.recipe.network, self.state.clock.step
        learning = {name: value.clone() for name, value in network.state_dict().items()}
        averaged = state.averaged.module.state_dict()
        network.load_state_dict(averaged)
        if self.held_out is None:
            found = Validation(None, step)
        else:
            with self._autocast():
                found = self.held_out.validate(state.recipe)
            _check_finite("held-out loss", found.loss or 0.0, step)
        network.load_state_dict(learning)
        if state.validations.note(found, step):
            state.best = {name: value.clone() for name, value in averaged.items()}
        self._validation_s = state.clock.reserve_s = time.monotonic() - started_s
        return found

    def _keep_state(self) -> None:
        """Save the state where that was asked for and is due."""
        folder, clock = self.options.checkpoint_folder, self.state.clock
        started_s = time.monotonic()
        pause_s = max(CHECKPOINT_EVERY_S, self._checkpoint_s / CHECKPOINT_SHARE)
        has_ended = not clock.goes_on() and clock.elapsed_s > CHECKPOINT_EVERY_S
        if folder is None or not (has_ended or started_s - self._checkpoint_end_s >= pause_s):
            return
        self.state.save(folder)
        self._checkpoint_end_s = time.monotonic()
        self._checkpoint_s = self._checkpoint_end_s - started_s


def _average_weights(
    averaged: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int
) -> None:
    """Average over about the last tenth of the steps, and ten more."""
    decay = 1 - 1 / (10 + 0.1 * int(updates))
    decay = min(decay, (1 + int(updates)) / (10 + int(updates)))  # forget the untrained weights
    get_ema_multi_avg_fn(decay)(averaged, current, updates)


def _check_finite(what: str, value: float, step: int) -> None:
    if not math.isfinite(value):
        raise TrainingDivergedError(
            f"the {what} must stay a finite number; it is {value} at step {step}: "
            "lower learning_rate"
        )


def _has_bf16() -> bool:
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
