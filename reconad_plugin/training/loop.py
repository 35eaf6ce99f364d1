"""The one training loop: every model learns here.

A model brings its losses (a recipe); the loop brings steps, budget, rate, precision, progress
and the check that the loss stays a number.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Generator, Tensor

from reconad_plugin.config import TrainingSettings
from reconad_plugin.errors import NotEnoughImagesError, TrainingDivergedError
from reconad_plugin.training.augment import vary_light
from reconad_plugin.training.recipe import Recipe

WARMUP_SHARE: Final = 0.05  # of the steps, in which the rate rises to its full height
HELD_OUT_CHECKS: Final = 20  # how often a training looks at the held-out images
AVERAGING_DECAY: Final = 0.98  # of the running average of the weights


@dataclass(frozen=True)
class Progress:
    """Where a training stands, for a bar and for the curve of the loss."""

    step: int
    planned_steps: int
    elapsed_s: float
    loss: float
    held_out_loss: float | None  # measured now and then


@dataclass(frozen=True)
class TrainingReport:
    """What a training did.

    Attributes:
        steps: steps taken.
        planned_steps: the schedule's length; with it as ``steps`` and a budget that does not
            bind, the same images and seed give the same weights on the same processor.
        elapsed_s: wall-clock seconds.
        ended_by: ``steps`` or ``budget``.
        curve: points of the loss over the steps.
    """

    steps: int
    planned_steps: int
    elapsed_s: float
    ended_by: str
    curve: list[Progress] = field(repr=False)


def best_precision(device: str) -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively, else float32."""
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.backends.mkldnn.is_available() and _has_bf16() else torch.float32


def train(
    recipe: Recipe,
    images: Tensor,
    held_out: Tensor,
    settings: TrainingSettings,
    seed: int,
    device: str = "cpu",
    precision: torch.dtype | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> TrainingReport:
    """Train a recipe's network in place; it is left in eval mode with averaged weights.

    The rate warms up and falls along a cosine over the planned steps. Where the pace of the
    first steps shows that they do not fit the budget, the plan is shortened once, so that the
    rate still reaches its end.

    Args:
        recipe: network and losses.
        images: (N, 3, S, S) uint8 normal images to learn.
        held_out: (M, 3, S, S) uint8 normal images to watch the loss on; never learnt.
        settings: steps, budget, rate, batch.
        seed: of order and augmentation.
        device: ``cpu``, ``cuda``, ``cuda:1``.
        precision: of the network's arithmetic; the hardware's best by default.
        on_progress: called after each step.

    Raises:
        NotEnoughImagesError: no image.
        TrainingDivergedError: the loss became NaN or infinite.
    """
    if len(images) == 0:
        raise NotEnoughImagesError("training needs at least one image; got none")
    precision = precision or best_precision(device)
    network = recipe.network.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)
    averaged = torch.optim.swa_utils.AveragedModel(
        network,
        multi_avg_fn=_average_weights,
        use_buffers=True,
    )
    batches = _Batches(images, settings, Generator().manual_seed(seed), device)
    clock = _Clock(settings)
    curve: list[Progress] = []

    while clock.goes_on():
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _rate_at(clock.step, clock.planned_steps)
        with torch.autocast(torch.device(device).type, precision, precision != torch.float32):
            losses = recipe.losses(batches.draw())
        loss = losses["total"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        averaged.update_parameters(network)
        clock.tick()
        progress = _look(recipe, loss, held_out, clock, device)
        on_progress(progress)
        if progress.held_out_loss is not None:
            curve.append(progress)

    network.load_state_dict(averaged.module.state_dict())
    network.eval()
    ended_by = "steps" if clock.step >= settings.steps else "budget"
    return TrainingReport(clock.step, clock.planned_steps, clock.elapsed_s, ended_by, curve)


def _average_weights(
    averaged: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int
) -> None:
    """Running average that forgets the first, untrained weights: it starts short and grows."""
    decay = min(AVERAGING_DECAY, (1 + int(updates)) / (10 + int(updates)))
    torch.optim.swa_utils.get_ema_multi_avg_fn(decay)(averaged, current, updates)


class _Batches:
    """Batches without end: round after round in random order; what fills no batch is dropped."""

    def __init__(
        self, images: Tensor, settings: TrainingSettings, generator: Generator, device: str
    ) -> None:
        self._images = images
        self._size = min(settings.batch_size, len(images))
        self._varies_light = settings.light_augmentation
        self._generator = generator
        self._device = device
        self._order = torch.empty(0, dtype=torch.long)

    def draw(self) -> Tensor:
        if len(self._order) < self._size:
            self._order = torch.randperm(len(self._images), generator=self._generator)
        chosen, self._order = self._order[: self._size], self._order[self._size :]
        batch = self._images[chosen].to(self._device).float() / 255
        if self._varies_light:
            batch = vary_light(batch, self._generator)
        return batch.contiguous(memory_format=torch.channels_last)


class _Clock:
    """Counts steps and seconds, and shortens the plan once when the budget binds."""

    PACE_STEPS = 10  # after the first, which compiles and allocates

    def __init__(self, settings: TrainingSettings) -> None:
        self.planned_steps = settings.steps
        self.step = 0
        self._budget_s = settings.budget_s
        self._start_s = time.monotonic()
        self._pace_start_s = self._start_s

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._start_s

    def goes_on(self) -> bool:
        return self.step < self.planned_steps and self.elapsed_s < self._budget_s

    def tick(self) -> None:
        self.step += 1
        if self.step == 1:
            self._pace_start_s = time.monotonic()
        if self.step == 1 + self.PACE_STEPS:
            step_s = (time.monotonic() - self._pace_start_s) / self.PACE_STEPS
            affordable = self.step + int((self._budget_s - self.elapsed_s) / step_s)
            self.planned_steps = max(self.step, min(self.planned_steps, affordable))


def _rate_at(step: int, planned_steps: int) -> float:
    """Share of the full learning rate at a step."""
    warmup = max(1, round(WARMUP_SHARE * planned_steps))
    if step < warmup:
        return (step + 1) / warmup
    phase = (step - warmup) / max(1, planned_steps - warmup)
    return 0.5 + 0.5 * math.cos(phase * math.pi)


def _look(recipe: Recipe, loss: Tensor, held_out: Tensor, clock: _Clock, device: str) -> Progress:
    value = float(loss.detach())
    _check_finite(value, clock.step)
    held_out_loss = None
    every = max(1, clock.planned_steps // HELD_OUT_CHECKS)
    if not clock.step % every or not clock.goes_on():
        held_out_loss = _loss_on(recipe, held_out, device) if len(held_out) else value
        _check_finite(held_out_loss, clock.step)
    return Progress(clock.step, clock.planned_steps, clock.elapsed_s, value, held_out_loss)


def _check_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise TrainingDivergedError(
            f"the loss must stay a finite number; it is {loss} at step {step}: lower learning_rate"
        )


def _loss_on(recipe: Recipe, images: Tensor, device: str) -> float:
    """Mean loss on images that are not learnt, without touching the network's statistics."""
    recipe.network.eval()
    with torch.inference_mode():
        batches = images.split(32)
        total = sum(
            float(recipe.losses(batch.to(device).float() / 255)["total"]) * len(batch)
            for batch in batches
        )
    recipe.network.train()
    return total / len(images)


def _has_bf16() -> bool:
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
