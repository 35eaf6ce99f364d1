"""The state of a training: one record that is saved and loaded whole."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import torch
from torch import Generator, Tensor
from torch.optim.swa_utils import AveragedModel

from reconad_plugin.training import checkpoint
from reconad_plugin.training.batches import Batches
from reconad_plugin.training.held_out import Validation
from reconad_plugin.training.recipe import Recipe
from reconad_plugin.training.report import Progress
from reconad_plugin.training.schedule import Clock

LEAST_GAIN: Final = 1e-3  # of the separation, that counts as better
LEAST_FALL: Final = 0.01  # of the held-out loss, as a share, that counts as better
FORMAT: Final = 2  # of the state on disk; another is as none


@dataclass
class Validations:
    """What the validations of a training have found so far."""

    best_separation: float = -math.inf  # the highest one
    best_loss: float = math.inf  # the lowest held-out loss that counted as better
    best_step: int = 0  # the last step whose averaged weights were as good as the best
    since_best: int = 0  # validations since anything was better
    last_step: int = 0  # the step of the last one
    curve: list[Progress] = field(default_factory=list)  # a point for each

    def note(self, found: Validation, step: int) -> bool:
        """Note a validation; whether its weights are as good as the best: later is better then."""
        is_better = found.separation > self.best_separation + LEAST_GAIN
        if found.loss is not None and found.loss < self.best_loss * (1 - LEAST_FALL):
            self.best_loss, is_better = found.loss, True
        self.since_best = 0 if is_better else self.since_best + 1
        self.last_step = step
        is_as_good = found.separation >= self.best_separation - LEAST_GAIN
        if is_as_good:
            self.best_step = step
        self.best_separation = max(self.best_separation, found.separation)
        return is_as_good


@dataclass
class TrainingState:
    """All of a training that changes from step to step."""

    recipe: Recipe  # the network and whatever else learns
    averaged: AveragedModel  # running average of the network
    optimizer: torch.optim.Optimizer  # with its memory
    generator: Generator  # of all that is drawn
    batches: Batches  # the images that are left of the round
    clock: Clock  # steps and seconds
    # the averaged weights to keep; empty before the first validation
    best: dict[str, Tensor] = field(default_factory=dict)
    validations: Validations = field(default_factory=Validations)  # what they found

    def save(self, folder: Path) -> None:
        """Write the whole state in place of the one before."""
        parts = {
            "recipe": self.recipe.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": checkpoint.optimizer_tensors(self.optimizer),
            "best": self.best,
            "drawn": {"generator": self.generator.get_state(), "order": self.batches.order},
        }
        tensors = {
            f"{part}/{name}": tensor for part, of in parts.items() for name, tensor in of.items()
        }
        found = asdict(self.validations)
        numbers = {"format": FORMAT, "clock": self.clock.counts(), "validations": found}
        checkpoint.write_checkpoint(folder, tensors, numbers)

    def load(self, folder: Path) -> bool:
        """Go on from the state in a folder; False where there is none that can be read."""
        found = checkpoint.read_checkpoint(folder)
        if found is None or found[1].get("format") != FORMAT:
            return False
        parts: dict[str, dict[str, Tensor]] = {"best": {}, "optimizer": {}}
        for key, tensor in found[0].items():
            part, name = key.split("/", 1)
            parts.setdefault(part, {})[name] = tensor
        self.recipe.load_state_dict(parts["recipe"])
        self.averaged.load_state_dict(parts["averaged"])
        checkpoint.restore_optimizer(self.optimizer, parts["optimizer"])
        self.generator.set_state(parts["drawn"]["generator"])
        self.batches.order = parts["drawn"]["order"]
        self.best = parts["best"]
        self.clock = self.clock.resumed(**found[1]["clock"])
        self.validations = Validations(**found[1]["validations"])
        self.validations.curve = [Progress(**point) for point in found[1]["validations"]["curve"]]
        return True
