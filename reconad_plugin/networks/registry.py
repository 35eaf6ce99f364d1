"""The models by name: one entry a model, nothing imported until it is asked for.

A model is a network that can say where a picture is anomalous (``networks.base``) and a recipe
that trains it. Serving loads the first and never the second.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from reconad_plugin.errors import ConfigError

if TYPE_CHECKING:  # torch must not be imported to know which models there are
    from reconad_plugin.networks.base import AnomalyNetwork
    from reconad_plugin.training.recipe import Recipe, Simulation


@dataclass(frozen=True)
class ModelSpec:
    """Where the parts of one model are, and what can be chosen about it.

    Attributes:
        title: its name in sentences.
        network: builder of the network, as ``module:attribute``.
        recipe: class of the recipe, as ``module:attribute``.
        score_window: side of the window over which the map is averaged before its maximum
            becomes the image's score, as a share of the image's side.
        widths: name -> arguments of the builder; the first is the default on a CPU.
        network_options: names and types of further arguments of the builder.
        recipe_options: names and types of arguments of the recipe.
        warning: what to tell whoever trains it.
    """

    title: str
    network: str
    recipe: str
    score_window: float
    widths: Mapping[str, Mapping[str, int]]
    network_options: Mapping[str, type] = field(default_factory=dict)
    recipe_options: Mapping[str, type] = field(default_factory=dict)
    warning: str = ""

    @property
    def default_width(self) -> str:
        """The width where none is asked for."""
        return next(iter(self.widths))

    def architecture(self, width: str | None, options: Mapping[str, float]) -> dict[str, float]:
        """All arguments of the builder besides the image size."""
        chosen = {name: options[name] for name in self.network_options if options.get(name)}
        return {**self.widths[width or self.default_width], **chosen}

    def build_network(self, image_size_px: int, **architecture: float) -> "AnomalyNetwork":
        """The untrained network for square images of this side."""
        return cast("AnomalyNetwork", _load(self.network)(image_size_px, **architecture))

    def build_recipe(
        self,
        network: "AnomalyNetwork",
        simulation: "Simulation",
        options: Mapping[str, float],
    ) -> "Recipe":
        """The training recipe around a network. Imports the training code."""
        chosen = {name: options[name] for name in self.recipe_options if name in options}
        return cast("Recipe", _load(self.recipe)(network, simulation, **chosen))

    def score_window_px(self, image_size_px: int) -> int:
        """The window's side in pixels, odd."""
        return max(1, round(self.score_window * image_size_px)) // 2 * 2 + 1


MODELS: dict[str, ModelSpec] = {
    "ae": ModelSpec(
        title="Convolutional autoencoder",
        network="reconad_plugin.networks.autoencoder:build_autoencoder",
        recipe="reconad_plugin.training.autoencoder:AutoencoderRecipe",
        score_window=0.04,
        widths={"small": {"width": 32}, "large": {"width": 64, "latent_dim": 256}},
        recipe_options={"denoising": float, "sparsity": float},
    ),
    "vae": ModelSpec(
        title="Variational autoencoder",
        network="reconad_plugin.networks.vae:build_vae",
        recipe="reconad_plugin.training.vae:VaeRecipe",
        score_window=0.04,
        widths={"small": {"width": 32}, "large": {"width": 64, "latent_dim": 256}},
    ),
    "ganomaly": ModelSpec(
        title="GANomaly",
        network="reconad_plugin.networks.ganomaly:build_ganomaly",
        recipe="reconad_plugin.training.ganomaly:GanomalyRecipe",
        score_window=0.04,
        widths={"paper": {"width": 64, "latent_dim": 100}},
        warning="GANomaly is a baseline to compare with; draem finds more on the same images",
    ),
    "draem": ModelSpec(
        title="DRAEM",
        network="reconad_plugin.networks.draem:build_draem",
        recipe="reconad_plugin.training.draem:DraemRecipe",
        score_window=21 / 256,  # of the paper
        widths={
            "tiny": {"reconstructor_width": 32, "segmenter_width": 16},  # 6.1 M parameters
            "small": {"reconstructor_width": 64, "segmenter_width": 32},  # 24.4 M
            "paper": {"reconstructor_width": 128, "segmenter_width": 64},  # 97.4 M
        },
        network_options={"sspcab": bool},
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
