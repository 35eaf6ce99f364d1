"""The models by name: one line a model, nothing imported until it is asked for.

A model is a network that can say where a picture is anomalous (``networks.base``) and a recipe
that trains it. Serving loads the first and never the second.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from reconad_plugin.errors import ConfigError

if TYPE_CHECKING:  # torch must not be imported to know which models there are
    from reconad_plugin.networks.base import AnomalyNetwork
    from reconad_plugin.training.recipe import Recipe


@dataclass(frozen=True)
class ModelSpec:
    """Where the parts of one model are, as ``module:attribute``.

    ``score_window`` is the side of the window over which the map is averaged before its
    maximum becomes the image's score, as a share of the image's side.
    """

    title: str
    network: str
    recipe: str
    score_window: float

    def build_network(self, image_size_px: int, **sizes: int) -> "AnomalyNetwork":
        """The untrained network for square images of this side."""
        return cast("AnomalyNetwork", _load(self.network)(image_size_px, **sizes))

    def build_recipe(self, network: "AnomalyNetwork") -> "Recipe":
        """The training recipe around a network. Imports the training code."""
        return cast("Recipe", _load(self.recipe)(network))

    def score_window_px(self, image_size_px: int) -> int:
        """The window's side in pixels, odd."""
        return max(1, round(self.score_window * image_size_px)) // 2 * 2 + 1


MODELS: dict[str, ModelSpec] = {
    "ae": ModelSpec(
        title="Convolutional autoencoder",
        network="reconad_plugin.networks.autoencoder:build_autoencoder",
        recipe="reconad_plugin.training.autoencoder:AutoencoderRecipe",
        score_window=0.04,
    ),
}


def model_spec(name: str) -> ModelSpec:
    """The parts of a model.

    Raises:
        ConfigError: no model has this name.
    """
    if name not in MODELS:
        raise ConfigError(f"model must be one of {', '.join(sorted(MODELS))}; got {name!r}")
    return MODELS[name]


def _load(target: str) -> Any:
    module, attribute = target.split(":")
    return getattr(import_module(module), attribute)
