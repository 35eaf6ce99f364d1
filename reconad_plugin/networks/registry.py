"""The models by name: one entry a model, nothing imported until it is asked for.

A model is a network that can say where a picture is anomalous (``networks.base``) and the phases
that train it. Serving loads the first and never the second.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from reconad_plugin.errors import ConfigError
from reconad_plugin.images.size import ImageSize

if TYPE_CHECKING:  # torch must not be imported to know which models there are
    from reconad_plugin.networks.base import AnomalyNetwork, FoundationNetwork


RANDOM_FEATURES: Final = "random"  # in place of weights

Option = bool | float | str  # the value of an option of a model
Choices = type[bool] | type[float] | tuple[str, ...]  # what it can be


@dataclass(frozen=True)
class Phase:
    """A stretch of a training that has losses of its own."""

    name: str  # its name
    recipe: str  # class of the recipe, as ``module:attribute``
    share: float  # of the time or the steps of a training
    # whether it learns what the others stand on. Nothing validates it, and where its result is
    # there already it is left out.
    is_foundation: bool = False


@dataclass(frozen=True)
class FoundationSpec:
    """Where the parts of a foundation are: what a network stands on, its own or a given one."""

    part: str  # the submodule of the network that it is
    # arguments of the network's builder that follow from it -> their names there
    sizes: Mapping[str, str]
    reader: str  # reads one from a file of weights, as ``module:attribute``
    pretraining: str  # trains one alone, as ``module:attribute``

    def read(self, file: Path) -> "FoundationNetwork":
        """Read one from a file of weights.

        Raises:
            ModelFormatError: the file cannot be read, or holds something else.
        """
        return cast("FoundationNetwork", _load(self.reader)(file))

    @property
    def pretrain(self) -> Callable[..., Any]:
        """What trains one alone; see ``training.vq.pretrain_vq``. Imports the training code."""
        return cast(Callable[..., Any], _load(self.pretraining))


@dataclass(frozen=True)
class ModelSpec:
    """Where the parts of one model are, and what can be chosen about it."""

    title: str  # its name in sentences
    network: str  # builder of the network, as ``module:attribute``
    phases: tuple[Phase, ...]  # what trains it, one after the other
    # side of the window over which the map is averaged before its maximum becomes the image's
    # score, as a share of the image's mean side
    score_window: float
    # name -> arguments of the builder; the first is the default on a CPU
    widths: Mapping[str, Mapping[str, int]]
    # further arguments of the builder by name
    network_options: Mapping[str, Choices] = field(default_factory=dict)
    # those of them that a new training has where nothing is asked for
    usual_options: Mapping[str, Option] = field(default_factory=dict)
    # arguments of the recipe by name
    recipe_options: Mapping[str, Choices] = field(default_factory=dict)
    foundation: FoundationSpec | None = None  # what it stands on, if it stands on anything
    # puts weights of other pictures into the untrained network, as ``module:attribute``
    pretrained: str = ""
    image_size_px: int = 128  # budget of pixels, as the side of a square, where none is asked for
    # whether what each pixel of its map shows on normal images leaves the map before it scores
    has_normal_map: bool = False
    is_cross_fitted: bool = (
        False  # whether few images that train are held out too: it takes seconds
    )
    is_of_whole_pictures: bool = False  # whether its score has no place, so that no region fits it
    can_witness: bool = False  # whether it may score beside another model in one version
    warning: str = ""  # what to tell whoever trains it

    @property
    def default_width(self) -> str:
        """The width where none is asked for."""
        return next(iter(self.widths))

    def architecture(
        self,
        width: str | None,
        options: Mapping[str, Option],
        base: Mapping[str, Option] | None = None,
    ) -> dict[str, Option]:
        """Return all arguments of the builder besides the image size; what the options leave open
        is as in the architecture of a base, if there is one."""
        left_open = self.usual_options if base is None else base
        asked = {name: options.get(name, left_open.get(name)) for name in self.network_options}
        chosen = {name: value for name, value in asked.items() if value}
        return {**self.widths[width or self.default_width], **chosen}

    def check_width(self, name: str, width: str | None) -> None:
        """Raise a ConfigError where the model, of this name, has no such width."""
        if width is not None and width not in self.widths:
            raise ConfigError(
                f"width of {name} must be one of {', '.join(self.widths)}; got {width!r}"
            )

    def check_options(self, name: str, options: Mapping[str, Option]) -> None:
        """Raise a ConfigError where the model, of this name, has not one of these options, or not
        with this value."""
        known = {**self.network_options, **self.recipe_options}
        for option, value in sorted(options.items(), key=lambda each: each[0] in known):
            if option not in known:
                raise ConfigError(
                    f"options of {name} are {', '.join(known) or 'none'}; got {option!r}"
                )
            if rule := _broken_rule(known[option], value):
                raise ConfigError(f"option {option} must be {rule}; got {value!r}")

    def build_network(self, size: ImageSize, **architecture: Option) -> "AnomalyNetwork":
        """Build the untrained network for images of this size."""
        return cast("AnomalyNetwork", _load(self.network)(size, **architecture))

    def build_recipe(
        self,
        network: "AnomalyNetwork",
        simulation: object,
        options: Mapping[str, Option],
        phase: Phase | None = None,
    ) -> Any:
        """Build the recipe of a phase, by default the first, around a network. Imports the training
        code (``training.recipe``), and settles which weights learn."""
        chosen = {name: options[name] for name in self.recipe_options if name in options}
        return _load((phase or self.phases[0]).recipe)(network, simulation, **chosen)

    def load_pretrained(self, network: "AnomalyNetwork", features: str | None) -> None:
        """Put the weights that a product's ``features`` mean into a network that takes some."""
        if self.pretrained:
            _load(self.pretrained)(network.get_submodule("features"), features)

    def foundation_sizes(self, width: str | None) -> dict[str, int]:
        """Return the sizes that the foundation of a width has, by their names there."""
        sizes = self.widths[width or self.default_width]
        shared = self.foundation.sizes if self.foundation else {}
        return {theirs: sizes[ours] for ours, theirs in shared.items()}

    def score_window_px(self, size: ImageSize) -> int:
        """Return the window's side in pixels, odd."""
        return max(1, round(self.score_window * size.mean_side_px)) // 2 * 2 + 1


def _dsr_widths(*widths: int) -> dict[str, int]:
    names = ("vq_width", "code_dim", "codes", "restriction_width", "unet_width")
    return dict(zip(names, widths, strict=True))


# light and colours of what the network sees: ``images.illumination``
_ILLUMINATION: Final = {
    "light": ("none", "standard", "balanced", "local"),
    "colours": ("rgb", "lab", "luminance"),
}


def _single(recipe: str) -> tuple[Phase, ...]:
    return (Phase("network", recipe, share=1),)


MODELS: dict[str, ModelSpec] = {
    "ae": ModelSpec(
        title="Convolutional autoencoder",
        network="reconad_plugin.networks.autoencoder:build_autoencoder",
        phases=_single("reconad_plugin.training.autoencoder:AutoencoderRecipe"),
        score_window=0.04,
        widths={"small": {"width": 32}, "large": {"width": 64, "latent_dim": 256}},
        network_options=_ILLUMINATION,
        usual_options={"light": "standard"},
        recipe_options={"denoising": float, "sparsity": float},
        has_normal_map=True,
    ),
    "vae": ModelSpec(
        title="Variational autoencoder",
        network="reconad_plugin.networks.vae:build_vae",
        phases=_single("reconad_plugin.training.vae:VaeRecipe"),
        score_window=0.04,
        widths={"small": {"width": 32}, "large": {"width": 64, "latent_dim": 256}},
        network_options=_ILLUMINATION,
        usual_options={"light": "standard"},
        has_normal_map=True,
    ),
    "ganomaly": ModelSpec(
        title="GANomaly",
        network="reconad_plugin.networks.ganomaly:build_ganomaly",
        phases=_single("reconad_plugin.training.ganomaly:GanomalyRecipe"),
        score_window=0.04,
        widths={"paper": {"width": 64, "latent_dim": 100}},
        warning="GANomaly is a baseline to compare with; draem finds more on the same images",
    ),
    "draem": ModelSpec(
        title="DRAEM",
        network="reconad_plugin.networks.draem:build_draem",
        phases=_single("reconad_plugin.training.draem:DraemRecipe"),
        score_window=21 / 256,  # of the paper
        widths={
            "tiny": {"reconstructor_width": 32, "segmenter_width": 16},  # 6.1 M parameters
            "small": {"reconstructor_width": 64, "segmenter_width": 32},  # 24.4 M
            "paper": {"reconstructor_width": 128, "segmenter_width": 64},  # 97.4 M
        },
        network_options={"sspcab": bool},
    ),
    "fre": ModelSpec(
        title="Frozen features",
        network="reconad_plugin.networks.fre:build_fre",
        phases=_single("reconad_plugin.training.fre:FeatureRecipe"),
        score_window=21 / 256,
        widths={"lite0": {}},
        pretrained="reconad_plugin.training.pretrained_features:load_weights",
        image_size_px=256,
        has_normal_map=True,
        is_cross_fitted=True,
        can_witness=True,
    ),
    "texture": ModelSpec(
        title="Texture of the whole picture",
        network="reconad_plugin.networks.texture:build_texture",
        phases=_single("reconad_plugin.training.texture:TextureRecipe"),
        score_window=21 / 256,
        widths={"lite0": {}},
        pretrained="reconad_plugin.training.pretrained_features:load_weights",
        image_size_px=256,
        is_cross_fitted=True,
        is_of_whole_pictures=True,
        can_witness=True,
    ),
    "dsr": ModelSpec(
        title="DSR",
        network="reconad_plugin.networks.dsr:build_dsr",
        phases=(
            Phase("vq", "reconad_plugin.training.dsr:CodesRecipe", 0.35, is_foundation=True),
            Phase("subspaces", "reconad_plugin.training.dsr:SubspacesRecipe", 0.5),
            Phase("upsampler", "reconad_plugin.training.dsr:UpsamplerRecipe", 0.15),
        ),
        score_window=21 / 256,  # of the paper
        widths={
            "tiny": _dsr_widths(32, 32, 512, 32, 16),
            "small": _dsr_widths(64, 64, 1024, 64, 32),
            "paper": _dsr_widths(128, 128, 4096, 128, 64),
        },
        foundation=FoundationSpec(
            part="subspaces.vq",
            sizes={"vq_width": "width", "code_dim": "code_dim", "codes": "codes"},
            reader="reconad_plugin.networks.vq_weights:read_vq",
            pretraining="reconad_plugin.training.vq:pretrain_vq",
        ),
    ),
}


def model_spec(name: str) -> ModelSpec:
    """Return the parts of a model.

    Raises:
        ConfigError: no model has this name.
    """
    if name not in MODELS:
        raise ConfigError(f"model must be one of {', '.join(sorted(MODELS))}; got {name!r}")
    return MODELS[name]


def founded_model() -> str:
    """Return the name of the model that stands on a foundation."""
    return next(name for name, spec in MODELS.items() if spec.foundation is not None)


def check_witness(model: str, witness: str) -> None:
    """Raise a ConfigError where a model cannot score beside another, of these names."""
    able = [name for name, spec in MODELS.items() if spec.can_witness]
    if witness == model:
        raise ConfigError(
            f"a witness must be another model than the first; got {witness} twice: leave it out"
        )
    if witness not in able:
        raise ConfigError(
            f"a witness must be a model that is trained in seconds, {' or '.join(able)}; "
            f"got {witness!r}"
        )


def backbone_of(features: str | None) -> str:
    """Return the network of torchvision that a product's ``features`` name, as ``resnet18`` or
    ``resnet18=weights.pth``; empty where they name none."""
    name = (features or "").partition("=")[0]
    is_named = re.fullmatch(r"[a-z][a-z0-9_]*", name) and name != RANDOM_FEATURES
    return name if is_named else ""


def _broken_rule(choices: Choices, value: Option) -> str:
    """Say what an option's value must be; nothing where it is."""
    if isinstance(choices, tuple):
        return "" if value in choices else f"one of {', '.join(choices)}"
    if choices is bool:
        return "" if isinstance(value, bool) else "true or false"
    is_number = isinstance(value, float) and 0 <= value < math.inf
    return "" if is_number else "a number of at least 0"


def _load(target: str) -> Any:
    module, attribute = target.split(":")
    return getattr(import_module(module), attribute)
