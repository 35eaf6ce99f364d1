"""What a model brings to the training loop."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Generator, Tensor, nn

from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.simulation.presets import DEFAULT_PRESET, PRESETS, Preset
from reconad_plugin.simulation.textures import Textures


@dataclass(frozen=True)
class Simulation:
    """How anomalies are simulated while training, and where."""

    preset: Preset = PRESETS[DEFAULT_PRESET]  # shapes, fillings and blending
    textures: Textures | None = None  # pictures to fill shapes with; the packaged ones where None
    inside: Tensor | None = None  # (S, S) bool on the CPU, where to look; everywhere where None


class Recipe(nn.Module, ABC):
    """A network, whatever else learns beside it, and the losses they learn by.

    A submodule that only training needs, such as a discriminator, is a member of the recipe and
    not of the network: it learns with it and is not served.

    Attributes:
        network: what is served.
        simulation: how anomalies are simulated, for the recipes that learn from them.
        learning_rate: the model's usual one.
        betas: of Adam.
        batch_size: the model's usual one, images.
    """

    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    batch_size: int

    def __init__(self, network: AnomalyNetwork, simulation: Simulation) -> None:
        super().__init__()
        self.network = network
        self.simulation = simulation

    def inside(self, values: Tensor) -> Tensor:
        """Return of (..., S, S) the pixels that count, (..., P), so that nothing outside the region
        raises a loss; all as they are where there is none."""
        if self.simulation.inside is None:
            return values
        return values[..., self.simulation.inside.to(values.device)]

    def check(self) -> None:
        """Raise where nothing can stand on what was learnt; called at the end of a phase."""

    @abstractmethod
    def losses(self, image: Tensor, generator: Generator) -> dict[str, Tensor]:
        """Compute losses of a (B, 3, S, S) float batch in [0, 1] by name; ``total`` is descended.

        Called under autocast; losses themselves are float32.
        """
