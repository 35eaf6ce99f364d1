"""How a half-trained network does on images it does not learn: normal ones, and the same with
simulated anomalies. Labelled test images have no part in this."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Generator, Tensor

from reconad_plugin.detector.torch_engine import score_images
from reconad_plugin.metrics.image import image_auroc
from reconad_plugin.metrics.pixel import PixelCurves
from reconad_plugin.simulation.anomalies import simulate_anomalies
from reconad_plugin.training.recipe import Recipe

MAX_IMAGES: Final = 32  # of each kind; a validation costs little
_SEED: Final = 20_210_817  # of the simulated anomalies: the same each time


@dataclass(frozen=True)
class Validation:
    """What one validation on the held-out images found."""

    loss: float | None  # the recipe's loss on the normal ones; None where there are no images
    # mean of image_AUROC and pixel_AUROC of simulated anomalies against normal; the weights that do
    # best here are kept
    separation: float


class HeldOut:
    """Held-out normal images, (M, 3, S, S) uint8, at least one, with their simulated counterparts,
    made once. ``MAX_IMAGES`` of them count, spread evenly."""

    def __init__(self, images: Tensor, recipe: Recipe, window_px: int, device: str) -> None:
        chosen = torch.linspace(0, len(images) - 1, min(len(images), MAX_IMAGES))
        self._normal = images[chosen.round().long()]  # old and new nights alike
        generator, simulation = Generator().manual_seed(_SEED), recipe.simulation
        simulated = simulate_anomalies(
            self._normal, generator, simulation.preset, simulation.textures, simulation.inside
        )
        self._anomalous = simulated.pixels
        self._mask = torch.cat([torch.zeros_like(simulated.mask), simulated.mask]).numpy()
        self._window_px, self._device = window_px, device
        self._inside = None if simulation.inside is None else simulation.inside.numpy()

    def validate(self, recipe: Recipe) -> Validation:
        """Measure a recipe's network in eval mode; it is left in training mode."""
        recipe.eval()
        with torch.inference_mode():
            generator = Generator().manual_seed(_SEED)
            batches = self._normal.split(recipe.batch_size)
            loss = sum(
                float(recipe.losses(batch.to(self._device).float() / 255, generator)["total"])
                * len(batch)
                for batch in batches
            )
        both = torch.cat([self._normal, self._anomalous])
        scores = score_images(
            recipe.network, both, self._window_px, device=self._device, inside=self._inside
        )
        recipe.train()
        if not np.isfinite([loss, *scores.pred_score]).all():
            return Validation(math.nan, -math.inf)  # the loop says what to do
        normal, anomalous = np.split(scores.pred_score, 2)
        by_image = image_auroc(normal, anomalous)
        pixels = PixelCurves()
        pixels.update(scores.anomaly_map, self._mask, self._inside)
        return Validation(loss / len(self._normal), (by_image + pixels.auroc()) / 2)
