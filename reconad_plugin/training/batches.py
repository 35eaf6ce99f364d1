"""Batches of normal images without end, varied as the product allows."""

import torch
from torch import Generator, Tensor

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.training.augment import vary_geometry, vary_light


class Batches:
    """Round after round in random order; what fills no batch goes into the next round."""

    def __init__(
        self,
        images: Tensor,
        batch_size: int,
        settings: TrainingSettings,
        generator: Generator,
        device: str,
    ) -> None:
        self._images = images  # (N, 3, H, W) uint8; may be a memory-mapped file
        self._size = batch_size  # images
        self._settings = settings  # which variations
        self._generator = generator  # of the CPU; the only source of randomness
        self._device = device  # where batches go
        self.order = torch.empty(0, dtype=torch.long)  # what is left of the rounds

    def draw(self) -> Tensor:
        """Draw the next (B, 3, H, W) float batch in [0, 1]."""
        while len(self.order) < self._size:
            round_ = torch.randperm(len(self._images), generator=self._generator)
            self.order = torch.cat([self.order, round_])
        chosen, self.order = self.order[: self._size], self.order[self._size :]
        batch = self._images.index_select(0, chosen).to(self._device).float() / 255
        batch = vary_geometry(batch, self._settings.geometric_augmentation, self._generator)
        if self._settings.light_augmentation:
            batch = vary_light(batch, self._generator)
        return batch.contiguous(memory_format=torch.channels_last)
