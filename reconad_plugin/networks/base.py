"""What every network of ours is: a module that can say where a picture is anomalous."""

import hashlib
from abc import ABC, abstractmethod

from torch import Tensor, nn


class AnomalyNetwork(nn.Module, ABC):
    """A module that rebuilds pictures and maps their anomalies."""

    # whether the map that people see is averaged over the score window, as that of a plain
    # difference of pixels should be
    smooths_map = True
    # whether windows at the border take what lies beyond as a map of 0; else it does not count
    border_is_normal = False

    @abstractmethod
    def reconstruct(self, image: Tensor) -> Tensor:
        """Reconstruct an image: (B, 3, H, W) float in [0, 1] -> same shape."""

    def anomaly_map(self, image: Tensor) -> Tensor:
        """Map an image: (B, 3, H, W) float in [0, 1] -> (B, H, W), higher is more anomalous.

        The absolute error of the reconstruction, summed over the colours, unless a network knows
        better.
        """
        return (self.reconstruct(image).float() - image).abs().sum(1)

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return, for an image (B, 3, H, W) in [0, 1], the map (B, H, W) that people see, and the
        one that the score comes from; one and the same unless a network knows better."""
        anomaly_map = self.anomaly_map(image)
        return anomaly_map, anomaly_map

    def image_score(self, image: Tensor, smoothed_map: Tensor) -> Tensor:
        """Score an image (B, 3, H, W) and the map of its score (B, H, W), averaged over the score
        window -> (B,).

        The highest point of the map, unless a network knows better.
        """
        del image
        return smoothed_map.amax((-2, -1))  # (B, H, W) -> (B,)


class FoundationNetwork(AnomalyNetwork):
    """A network that others may stand on: it is trained before them, for many products."""

    sizes: dict[str, int]  # arguments of its builder by name


def hash_weights(network: nn.Module) -> str:
    """Return the SHA-256 of all that a network has learnt."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
