"""A recipe of twelve weights that notes what it learns, for the tests of the training loop."""

import torch
from torch import nn

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.training.recipe import Recipe, Simulation


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


class Noted(Recipe):
    """Squared error and a little chance, with a note of every batch that is learnt."""

    learning_rate = 1e-3
    batch_size = 4

    def __init__(self, spoil=lambda step: 0.0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            super().__init__(Pixelwise(), Simulation())
        self.batches = []
        self._spoil = spoil

    def losses(self, image, generator):
        if self.training:
            self.batches.append(image.detach().clone())
        seen = image + 0.01 * torch.randn(image.shape, generator=generator)
        error = (self.network.reconstruct(seen).float() - image).square().mean()
        return {"total": error + self._spoil(len(self.batches))}


def numbered(count):
    """Images that are flat in their own number, (count, 3, 8, 8)."""
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).clone()


def weights_of(module):
    """All that a module has learnt as one vector."""
    return torch.cat([value.flatten().double() for value in module.state_dict().values()])


def steps(count, **others):
    """Settings of a training of some steps that does not stop early."""
    return TrainingSettings(steps=count, early_stopping=False, **others)
