"""PyTorch as an engine: the network itself scores. Training and export know it as well."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reconad_plugin.detector.batch import NormalTensors, score_batch
from reconad_plugin.detector.detector import (
    BATCH_SIZE,
    TORCH,
    Detector,
    Scores,
    mask_of,
    normal_of,
)
from reconad_plugin.detector.normal_map import NormalMap
from reconad_plugin.detector.windows import Pictures
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.geometry import resize
from reconad_plugin.images.light import match_light
from reconad_plugin.images.light_reference import LightReference
from reconad_plugin.images.region import Mask
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.registry import model_spec

_BATCH_SIZE_ELSEWHERE = 32


@dataclass(frozen=True)
class TorchEngine:
    """A network that PyTorch runs on the processor."""

    network: AnomalyNetwork  # in eval mode
    window_px: int  # odd side of the smoothing window

    @property
    def name(self) -> str:
        """As it is asked for."""
        return TORCH

    @property
    def size_bytes(self) -> int:
        """Of its weights."""
        return sum(each.nbytes for each in self.network.state_dict().values())

    def weights(self) -> dict[str, NDArray[np.generic]]:
        """Return all that the network has learnt, by name."""
        state = self.network.state_dict()
        return {name: value.contiguous().numpy() for name, value in state.items()}

    def score(
        self,
        images: Pictures,
        light: LightReference | None = None,
        normal: NormalMap | Sequence[NormalMap] | None = None,
        inside: Mask | None = None,
    ) -> Scores:
        """Score (N, 3, S, S) images; see ``Engine.score``."""
        pictures = to_tensor(images)
        return score_images(
            self.network, pictures, self.window_px, light, normal=normal, inside=inside
        )


def to_tensor(images: Pictures) -> Tensor:
    """Return pictures as a tensor over the same memory, where that may be written to."""
    return torch.from_numpy(np.require(images, requirements=["C", "W"]))


def open_network(detector: Detector, weights: Mapping[str, NDArray[np.generic]]) -> TorchEngine:
    """Build the network of a saved detector, and put its weights in.

    Raises:
        RuntimeError: they are of another network.
        TypeError: its architecture has options that no builder knows.
    """
    spec = model_spec(detector.model)
    network = spec.build_network(detector.network_size_px, **detector.architecture)
    network.load_state_dict({name: torch.from_numpy(each) for name, each in weights.items()})
    ready = network.eval().to(memory_format=torch.channels_last)
    return TorchEngine(ready, detector.window_px)


def network_of(detector: Detector) -> AnomalyNetwork:
    """Return the network that scores.

    Raises:
        ConfigError: a graph scores in its place.
    """
    if not isinstance(detector.engine, TorchEngine):
        raise ConfigError(
            f"PyTorch must score here, and {detector.engine.name} does: load the version with the "
            f"engine {TORCH}"
        )
    return detector.engine.network


def count_parameters(detector: Detector) -> int:
    """Count the numbers that the network learns, and that of the witness where there is one.

    Raises:
        ConfigError: see ``network_of``.
    """
    own = sum(value.numel() for value in network_of(detector).parameters())
    return own + (count_parameters(detector.witness.detector) if detector.witness else 0)


def reconstruct(detector: Detector, images: Pictures) -> Iterator[Tensor]:
    """Return what the network rebuilds of (N, 3, S, S) images, batch by batch: (B, 3, S, S) float
    in [0, 1].

    Raises:
        ConfigError: see ``network_of``.
    """
    network = network_of(detector)
    with torch.inference_mode():
        for start in range(0, len(images), BATCH_SIZE):
            batch = resize(images[start : start + BATCH_SIZE], detector.network_size_px)
            yield network.reconstruct(to_tensor(batch).float() / 255)


def score_images(
    network: AnomalyNetwork,
    images: Tensor,
    window_px: int,
    light: LightReference | None = None,
    device: str = "cpu",
    normal: NormalMap | Sequence[NormalMap] | None = None,
    inside: Mask | None = None,
) -> Scores:
    """Score images in batches.

    Args:
        network: in eval mode.
        images: (N, 3, S, S) uint8 in [0, 255].
        window_px: odd side of the smoothing window.
        light: bring each image to this light first.
        device: where the network is.
        normal: what leaves the map before it scores, of all or of each of the N images, of a
            network whose score is its highest point.
        inside: (S, S), or (N, S, S) of each image, where to look; the map is 0 elsewhere.
    """
    maps = torch.empty((len(images), *images.shape[-2:]))
    scores = torch.empty(len(images))
    at_once = BATCH_SIZE if device == "cpu" else _BATCH_SIZE_ELSEWHERE
    with torch.inference_mode():
        for start in range(0, len(images), at_once):
            own = slice(start, start + at_once)
            batch = images[own].to(device).float() / 255
            if light is not None:
                batch = match_light(light, batch)
            batch = batch.contiguous(memory_format=torch.channels_last)
            taken = normal_of(normal, own)
            where = mask_of(inside, own)
            maps[own], scores[own] = score_batch(
                network,
                batch,
                window_px,
                None if taken is None else _tensors(taken, device),
                None if where is None else torch.from_numpy(where).to(device),
            )
    return Scores(scores.double().numpy(), maps.numpy())


def _tensors(normal: NormalMap, device: str) -> NormalTensors:
    mean, deviation = (torch.from_numpy(each) for each in (normal.mean, normal.deviation))
    return mean.to(device), deviation.to(device)
