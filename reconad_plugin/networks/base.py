"""What every network of ours is: a module that can say where a picture is anomalous."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class AnomalyNetwork(nn.Module, ABC):
    """A module that rebuilds pictures and maps their anomalies."""

    @abstractmethod
    def reconstruct(self, image: Tensor) -> Tensor:
        """Image (B, 3, S, S) float in [0, 1] -> what the network rebuilds, same shape."""

    @abstractmethod
    def anomaly_map(self, image: Tensor) -> Tensor:
        """Image (B, 3, S, S) float in [0, 1] -> map (B, S, S), higher is more anomalous."""
