"""What a model brings to the training loop."""

from typing import Protocol

from torch import Tensor

from reconad_plugin.networks.base import AnomalyNetwork


class Recipe(Protocol):
    """A network and the losses it learns by."""

    network: AnomalyNetwork

    def losses(self, image: Tensor) -> dict[str, Tensor]:
        """Losses of a (B, 3, S, S) float batch by name; ``total`` is descended."""
        ...
