"""The one training loop: every model and every phase learns here.

A model brings its losses (a recipe); the loop brings steps, budget, rate, precision, progress,
looks at held-out images, the best weights, checkpoints, and the check that numbers stay finite.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import torch
from torch import Generator, Tensor

from reconad_plugin.config import TrainingSettings
from reconad_plugin.errors import NotEnoughImagesError, TrainingDivergedError
from reconad_plugin.training.augment import choose_geometry
from reconad_plugin.training.batches import Batches
from reconad_plugin.training.checkpoint import (
    optimizer_tensors,
    read_checkpoint,
    restore_optimizer,
    write_checkpoint,
)
from reconad_plugin.training.held_out import HeldOut, Look
from reconad_plugin.training.recipe import Recipe
from reconad_plugin.training.schedule import Clock

LOOKS: Final = 20  # at the held-out images, in one training
LOOKS_SHARE: Final = 0.1  # of a budget that binds, at most
PATIENCE_LOOKS: Final = 10  # without a better one, until a training stops early
LEAST_GAIN: Final = 1e-3  # of the separation, that counts as better
LEAST_FALL: Final = 0.01  # of the held-out loss, as a share, that counts as better
CHECKPOINT_EVERY_S: Final = 10.0
CHECKPOINT_SHARE: Final = 0.02  # of the time, at most


@dataclass(frozen=True)
class Progress:
    """Where a training stands, for a bar and for the curve of the loss.

    Attributes:
        step: taken.
        planned_steps: length of the schedule, as far as it is known.
        elapsed_s: seconds used.
        loss: of the batch.
        held_out_loss: measured now and then.
        separation: measured with it; see ``training.held_out``.
        phase: name of the phase, where there are phases (``training.phases``).
    """

    step: int
    planned_steps: int
    elapsed_s: float
    loss: float
    held_out_loss: float | None = None
    separation: float | None = None
    phase: str = ""


@dataclass(frozen=True)
class TrainingReport:
    """What a training did.

    Attributes:
        steps: steps taken.
        planned_steps: the schedule's length; with it as ``steps`` and a budget that does not
            bind, the same images and seed give the same weights on the same processor.
        elapsed_s: wall-clock seconds, also those before a kill.
        ended_by: ``steps``, ``budget`` or ``early_stopping``.
        best_step: the step whose averaged weights were kept.
        resumed_step: the step of the checkpoint it went on from, 0 where there was none.
        curve: points of the loss over the steps.
        phases: steps of each phase by name; empty for a phase alone.
        geometry: how pictures were mirrored or turned, also where the settings left it open.
    """

    steps: int
    planned_steps: int
    elapsed_s: float
    ended_by: str
    best_step: int
    resumed_step: int
    curve: list[Progress] = field(repr=False)
    phases: dict[str, int] = field(default_factory=dict)
    geometry: str = "none"


def best_precision(device: str) -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively, else float32."""
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
    device: str = "cpu",
    precision: torch.dtype | None = None,
    checkpoint_folder: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> TrainingReport:
    """Train a recipe's network in place; it is left in eval mode with the best weights.

    The rate warms up and falls along a cosine over the planned steps, and the plan follows the
    pace where the budget binds. Weights are averaged over the last steps; the average that tells
    simulated anomalies on the held-out images best is kept.

    Args:
        recipe: network and losses.
        images: (N, 3, S, S) uint8 normal images to learn.
        held_out: (M, 3, S, S) uint8 normal images to look at; never learnt. With none, the last
            average is kept.
        settings: steps, budget, rate, batch, variations.
        seed: of order, variation and simulation.
        window_px: side of the score window, for the looks.
        device: ``cpu``, ``cuda``, ``cuda:1``.
        precision: of the network's arithmetic; the hardware's best by default.
        checkpoint_folder: where the state is kept and looked for; must be this training's own.
            What is left there at the end the caller removes, when the result is safe.
        on_progress: called after each step.

    Raises:
        NotEnoughImagesError: no image.
        TrainingDivergedError: a loss or a gradient became NaN or infinite.
    """
    if len(images) == 0:
        raise NotEnoughImagesError("training needs at least one image; got none")
    run = _Run(recipe, images, held_out, settings, seed, window_px, device, checkpoint_folder)
    run.precision = precision or run.precision
    while run.clock.goes_on() and not run.is_stale():
        on_progress(run.step())
    return run.finish()


class _Run:
    """The state of one training: all that a checkpoint holds."""

    def __init__(
        self,
        recipe: Recipe,
        images: Tensor,
        held_out: Tensor,
        settings: TrainingSettings,
        seed: int,
        window_px: int,
        device: str,
        checkpoint_folder: Path | None,
    ) -> None:
        self.recipe = recipe.to(device).to(memory_format=torch.channels_last).train()
        batch_size = settings.batch_size or recipe.batch_size
        if settings.geometric_augmentation == "auto":
            chosen = choose_geometry(images)
            settings = settings.model_copy(update={"geometric_augmentation": chosen})
        self.settings = settings
        self.device = device
        self.precision = best_precision(device)
        self.rate = settings.learning_rate or recipe.learning_rate
        self.optimizer = torch.optim.Adam(
            recipe.parameters(), lr=self.rate, betas=recipe.betas, fused=True
        )
        self.averaged = torch.optim.swa_utils.AveragedModel(
            recipe.network, multi_avg_fn=_average_weights, use_buffers=True
        )
        self.generator = Generator().manual_seed(seed)
        self.batches = Batches(images, batch_size, settings, self.generator, device)
        self.held_out = HeldOut(held_out, recipe, window_px, device) if len(held_out) else None
        self.best: dict[str, Tensor] = {}
        self.best_separation = -math.inf
        self.best_loss = math.inf
        self.best_step = 0
        self.looks_since_best = 0
        self.curve: list[Progress] = []
        self.folder = checkpoint_folder
        self.clock = Clock.of(settings, len(images), batch_size)
        self._last_look_step = 0
        self._look_s = 0.0
        self.resumed_step = 0
        self._resume()
        self._checkpoint_s, self._checkpoint_end_s = 0.0, time.monotonic()

    def step(self) -> Progress:
        """Descend the losses of a batch, and look at the held-out images when it is time."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * self.clock.rate()
        with self._autocast():
            loss = self.recipe.losses(self.batches.draw(), self.generator)["total"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        value = float(loss.detach())
        gradients = [p.grad for p in self.recipe.parameters() if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        _check_finite("loss", value, self.clock.step + 1)
        _check_finite("gradient", norm, self.clock.step + 1)
        self.optimizer.step()
        self.averaged.update_parameters(self.recipe.network)
        self.clock.tick()
        look = self._look() if self._is_time_to_look() else None
        progress = Progress(
            self.clock.step,
            self.clock.planned_steps,
            self.clock.elapsed_s,
            value,
            look.loss if look else None,
            look.separation if look else None,
        )
        if look is not None:
            self.curve.append(progress)
        if self.folder is not None and self._is_time_for_checkpoint():
            self._write_checkpoint(self.folder)
        return progress

    def is_stale(self) -> bool:
        """Whether the held-out images have long shown nothing better."""
        return self.settings.early_stopping and self.looks_since_best >= PATIENCE_LOOKS

    def finish(self) -> TrainingReport:
        """Leave the network with its best weights."""
        ended_by = "steps"
        if self.is_stale():
            ended_by = "early_stopping"
        elif self.clock.is_budget_bound or self.clock.step < self.clock.planned_steps:
            ended_by = "budget"
        self.recipe.network.load_state_dict(self.best or self.averaged.module.state_dict())
        self.recipe.eval()
        return TrainingReport(
            self.clock.step,
            self.clock.planned_steps,
            self.clock.elapsed_s,
            ended_by,
            self.best_step or self.clock.step,
            self.resumed_step,
            self.curve,
            geometry=self.settings.geometric_augmentation,
        )

    def _autocast(self) -> torch.autocast:
        """Opened anew each time: inside, the weights' casts are kept and would go stale."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, self.precision, self.precision != torch.float32)

    def _is_time_to_look(self) -> bool:
        """The first look comes when the pace is known, so that its cost is known as well."""
        planned = self.clock.planned_steps
        if self.clock.is_budget_bound and not self._look_s:
            return self.clock.is_paced or not self.clock.goes_on()
        looks = LOOKS
        if self.clock.is_budget_bound and self._look_s:
            looks = int(min(LOOKS, LOOKS_SHARE * self.clock.budget_s / self._look_s))
        every = max(1, planned // max(1, looks))
        return self.clock.step - self._last_look_step >= every or not self.clock.goes_on()

    def _look(self) -> Look:
        """Look at the averaged weights, which are those that may be kept."""
        started_s = time.monotonic()
        self._last_look_step = self.clock.step
        network = self.recipe.network
        learning = {name: value.clone() for name, value in network.state_dict().items()}
        averaged = self.averaged.module.state_dict()
        network.load_state_dict(averaged)
        if self.held_out is None:
            look = Look(None, self.clock.step)
        else:
            with self._autocast():
                look = self.held_out.look(self.recipe)
            _check_finite("held-out loss", look.loss or 0.0, self.clock.step)
        network.load_state_dict(learning)
        is_better = look.separation > self.best_separation + LEAST_GAIN
        if look.loss is not None and look.loss < self.best_loss * (1 - LEAST_FALL):
            self.best_loss, is_better = look.loss, True
        self.looks_since_best = 0 if is_better else self.looks_since_best + 1
        if look.separation >= self.best_separation - LEAST_GAIN:  # as good and later is better
            self.best = {name: value.clone() for name, value in averaged.items()}
            self.best_step = self.clock.step
        self.best_separation = max(self.best_separation, look.separation)
        self._look_s = self.clock.reserve_s = time.monotonic() - started_s
        return look

    def _is_time_for_checkpoint(self) -> bool:
        since_s = time.monotonic() - self._checkpoint_end_s
        has_ended = not self.clock.goes_on() and self.clock.elapsed_s > CHECKPOINT_EVERY_S
        return has_ended or since_s >= max(
            CHECKPOINT_EVERY_S, self._checkpoint_s / CHECKPOINT_SHARE
        )

    def _write_checkpoint(self, folder: Path) -> None:
        started_s = time.monotonic()
        tensors = {
            **_prefixed("recipe", self.recipe.state_dict()),
            **_prefixed("averaged", self.averaged.state_dict()),
            **_prefixed("best", self.best),
            **_prefixed("optimizer", optimizer_tensors(self.optimizer)),
            "generator": self.generator.get_state(),
            "order": self.batches.order,
        }
        numbers = {
            "step": self.clock.step,
            "planned_steps": self.clock.planned_steps,
            "elapsed_s": self.clock.elapsed_s,
            "best_separation": self.best_separation,
            "best_loss": self.best_loss,
            "best_step": self.best_step,
            "looks_since_best": self.looks_since_best,
            "last_look_step": self._last_look_step,
            "curve": [asdict(point) for point in self.curve],
        }
        write_checkpoint(folder, tensors, numbers)
        self._checkpoint_end_s = time.monotonic()
        self._checkpoint_s = self._checkpoint_end_s - started_s

    def _resume(self) -> None:
        found = read_checkpoint(self.folder) if self.folder is not None else None
        if found is None:
            return
        tensors, numbers = found
        self.recipe.load_state_dict(_with_prefix("recipe", tensors))
        self.averaged.load_state_dict(_with_prefix("averaged", tensors))
        self.best = _with_prefix("best", tensors)
        restore_optimizer(self.optimizer, _with_prefix("optimizer", tensors))
        self.generator.set_state(tensors["generator"])
        self.batches.order = tensors["order"]
        self.best_separation = numbers["best_separation"]
        self.best_loss = numbers["best_loss"]
        self.best_step = numbers["best_step"]
        self.looks_since_best = numbers["looks_since_best"]
        self._last_look_step = numbers["last_look_step"]
        self.resumed_step = numbers["step"]
        self.curve = [Progress(**point) for point in numbers["curve"]]
        self.clock = Clock(
            self.clock.wished_steps,
            self.clock.budget_s,
            numbers["planned_steps"],
            numbers["step"],
            numbers["elapsed_s"],
        )


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }


def _average_weights(
    averaged: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int
) -> None:
    """Running average over about the last tenth of the steps, and ten more."""
    decay = 1 - 1 / (10 + 0.1 * int(updates))
    decay = min(decay, (1 + int(updates)) / (10 + int(updates)))  # forget the untrained weights
    torch.optim.swa_utils.get_ema_multi_avg_fn(decay)(averaged, current, updates)


def _check_finite(what: str, value: float, step: int) -> None:
    if not math.isfinite(value):
        raise TrainingDivergedError(
            f"the {what} must stay a finite number; it is {value} at step {step}: "
            "lower learning_rate"
        )


def _has_bf16() -> bool:
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
