"""Trainings in which nothing descends: the batches are seen, and what is learnt follows."""

import math
import time
from abc import abstractmethod
from typing import Final

import torch
from torch import Generator, Tensor

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.errors import NotEnoughImagesError
from reconad_plugin.training.augment import choose_geometry
from reconad_plugin.training.batches import Batches
from reconad_plugin.training.loop import RunOptions
from reconad_plugin.training.recipe import Recipe
from reconad_plugin.training.report import Progress, TrainingReport

LEAST_PICTURES: Final = 64  # that are seen; few images come again, varied as the settings allow


class ClosedForm(Recipe):
    """A recipe that learns from what it has seen, without gradients."""

    learning_rate = 0.0  # nothing descends

    @abstractmethod
    def accumulate(self, image: Tensor) -> None:
        """Take in a (B, 3, H, W) float batch in [0, 1]."""

    @abstractmethod
    def solve(self) -> None:
        """Put what follows from all that was seen into the network."""


def fit_closed_form(
    recipe: ClosedForm, images: Tensor, settings: TrainingSettings, seed: int, options: RunOptions
) -> TrainingReport:
    """Show (N, 3, H, W) uint8 images to a recipe, each once and few of them more often, and solve.

    A limit of steps or seconds ends the showing early; what was seen counts then.

    Raises:
        NotEnoughImagesError: no image.
    """
    if len(images) == 0:
        raise NotEnoughImagesError("training needs at least one image; got none")
    if settings.geometric_augmentation == "auto":
        chosen = choose_geometry(images)
        settings = settings.model_copy(update={"geometric_augmentation": chosen})
    size = min(settings.batch_size or recipe.batch_size, len(images))
    generator = Generator().manual_seed(seed)
    batches = Batches(images, size, settings, generator, options.device)
    planned = math.ceil(max(len(images), LEAST_PICTURES) / size)
    planned, begin = min(planned, settings.steps or planned), time.monotonic()
    recipe.to(options.device).eval()
    step, ended_by = 0, "steps"
    while step < planned:
        with torch.inference_mode():
            recipe.accumulate(batches.draw())
        step, elapsed_s = step + 1, time.monotonic() - begin
        options.on_progress(Progress(step, planned, elapsed_s, math.nan))
        if settings.budget_s is not None and elapsed_s >= settings.budget_s and step < planned:
            ended_by = "budget"
            break
    recipe.solve()
    elapsed_s = time.monotonic() - begin
    kind = settings.geometric_augmentation
    return TrainingReport(step, planned, elapsed_s, ended_by, step, 0, [], geometry=kind)
