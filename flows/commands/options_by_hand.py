"""What each command by hand takes: trainings, scoring and pictures without a product.

A class holds the arguments and options of a command, and its docstring is the command's help.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from flows.commands.option_types import (
    ADDRESS,
    MODEL_URI_HELP,
    SIZE,
    SIZE_HELP,
    Count,
    Data,
    Device,
    File,
    GivenLens,
    GivenRegion,
    ImageSize,
    Json,
    ModelUri,
    Preset,
    Seed,
    Steps,
    Text,
    Texts,
    Textures,
    arg,
    opt,
    opt_count,
)
from flows.commands.parse import parse_budget, parse_number, parse_positive, parse_size
from reconad_plugin.networks.registry import MODELS

WINDOWS_HELP: Final = "see large pictures in windows of their own pixels too"
BUDGET_HELP: Final = "wall-clock time, such as 90s, 15m or 1h (finetune without --steps: 5m)"
MODEL_HELP: Final = f"{', '.join(MODELS)}, or auto: the one that `reconad advise` names"
DEFECT_HELP: Final = "smallest defect to be seen, in pixels of the pictures (default: by masks)"
POSITION_HELP: Final = "the camera's position in names, such as '_(left|right)_'"
RATE_HELP: Final = "(default: the model's; half of it to fine-tune)"
GEOMETRY_HELP: Final = (
    "how parts may lie: none (always alike), mirror, rotate, or auto: the pictures tell none from "
    "mirror"
)
FEATURES_HELP: Final = "weights for fre, also of a network of torchvision (default: the wheel's)"
PICTURES_HELP: Final = "normal images of one or more products: train/good, or flat"
PIXELS_HELP: Final = "most that a picture may have (default: 50,000,000, or the version's)"
PARTS_HELP: Final = (
    "its group tells the part in a file's name; pictures of one part train or calibrate together "
    "(default: stretches of files in their order do)"
)
SERVER_HELP: Final = "of a running `mlflow models serve`, such as http://127.0.0.1:5055"
ENGINE_HELP: Final = "openvino, openvino-bf16 or openvino-int8"
LABELLED_HELP: Final = (
    "test/good and test/<defect> to compare on (default: the product's golden set, else simulated "
    "anomalies)"
)
PROTOCOL_HELP: Final = "what pixel figures count: whole, or centre-crop as DSR's authors do"


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """What all that reads pictures by hand shares."""

    max_image_pixels: Annotated[
        Count, opt_count("--max-image-pixels", PIXELS_HELP, parse_positive)
    ] = None

    @property
    def limits(self) -> dict[str, object]:
        """Fields of ``ProductSettings`` on the size of pictures, where any was given."""
        given = self.max_image_pixels
        return {} if given is None else {"max_image_pixels": given}


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(PictureOptions):
    """What a training and a fine-tuning share."""

    data: Data
    product: Annotated[Text, opt("--product", "NAME", "name of the registered model")] = None
    budget: Annotated[Text, opt("--budget", "TIME", BUDGET_HELP)] = None
    steps: Steps = None
    batch_size: Annotated[Count, opt_count("--batch-size", "images (default: the model's)")] = None
    learning_rate: Annotated[float | None, opt("--learning-rate", "X", RATE_HELP, parse_number)] = (
        None
    )
    preset: Preset = "general"
    textures: Textures = None
    geometry: Annotated[str, opt("--geometry", "NAME", GEOMETRY_HELP)] = "auto"
    vary_light: Annotated[bool, opt("--vary-light", None, "learn under changing lamps")] = False
    seed: Seed = 0
    device: Device = "cpu"
    json: Json = None

    @property
    def training(self) -> dict[str, object]:
        """Fields of ``TrainingSettings``.

        Raises:
            ConfigError: the budget is no time.
        """
        return {
            "steps": self.steps,
            "budget_s": None if self.budget is None else parse_budget(self.budget),
            "learning_rate": self.learning_rate,
            "batch_size": self.batch_size,
            "light_augmentation": self.vary_light,
            "geometric_augmentation": self.geometry,
            "preset": self.preset,
            "textures": self.textures,
        }


@dataclass(frozen=True, kw_only=True)
class TrainOptions(TrainingOptions):
    """Train on a folder of normal images."""

    model: Annotated[str, opt("--model", "NAME", MODEL_HELP)] = "draem"
    image_size: Annotated[
        Text,
        opt("--image-size", SIZE, f"{SIZE_HELP} (default: the model's, mostly 128)"),
    ] = None
    windows: Annotated[bool, opt("--windows", None, WINDOWS_HELP)] = False
    width: Annotated[Text, opt("--width", "NAME", "size of the network (default: the least)")] = (
        None
    )
    option: Annotated[Texts, opt("--option", "NAME=VALUE", "such as sspcab=true")] = field(
        default_factory=list
    )
    vq: Annotated[
        Text,
        opt("--vq", "NAME|URI|FILE", "what dsr stands on (default: it learns its own)"),
    ] = None
    part_pattern: Annotated[Text, opt("--part-pattern", "REGEX", PARTS_HELP)] = None
    position_pattern: Annotated[Text, opt("--position-pattern", "REGEX", POSITION_HELP)] = None
    features: Annotated[Text, opt("--features", "FILE|random|NAME[=FILE]", FEATURES_HELP)] = None
    witness: Annotated[
        Text, opt("--witness", "NAME", "a second model in the version: fre, texture")
    ] = None
    witness_image_size: Annotated[
        Text,
        opt("--witness-image-size", "PX|HxW", "pixels it sees (default: as the model)"),
    ] = None
    region: GivenRegion = None
    lens: GivenLens = None


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(TrainingOptions):
    """Go on training a version on new images, and on those it learnt before."""

    model_uri: ModelUri


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(PictureOptions):
    """Train what dsr stands on, for its --vq."""

    data: Annotated[Texts, opt("--data", f"{ADDRESS} ...", PICTURES_HELP)]
    name: Annotated[
        Text, opt("--name", "NAME", "of reconad-vq-<name> (default: the first folder's)")
    ] = None
    textures: Annotated[Text, opt("--textures", ADDRESS, "pictures of anything else")] = None
    budget: Annotated[Text, opt("--budget", "TIME", "wall-clock time, such as 90s or 15m")] = None
    steps: Steps = None
    image_size: ImageSize = "256"
    width: Annotated[Text, opt("--width", "NAME", "of dsr (default: the least)")] = None
    seed: Seed = 0
    device: Device = "cpu"
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(PictureOptions):
    """Measure a version on test/good and test/<defect>."""

    model_uri: ModelUri
    data: Annotated[str, opt("--data", ADDRESS, "test/good and test/<defect>")]
    protocol: Annotated[str, opt("--protocol", "NAME", PROTOCOL_HELP)] = "whole"
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class PredictOptions(PictureOptions):
    """Score and label picture files, with a version here or with one that is served."""

    model_uri: Annotated[Text, arg("MODEL_URI", f"{MODEL_URI_HELP}; none with --url")] = None
    images: Annotated[list[Path] | None, arg("IMAGE...", "picture files, and folders of them")] = (
        None
    )
    url: Annotated[Text, opt("--url", "URL", SERVER_HELP)] = None
    maps: Annotated[File, opt("--maps", "DIR", "write anomaly maps there")] = None
    overlays: Annotated[
        File,
        opt("--overlays", "DIR", "write pictures with their maps laid over them there"),
    ] = None
    json: Json = None

    @property
    def pictures(self) -> list[Path]:
        """What is to be predicted; with ``url`` the first of it stands in the address's place."""
        first = [] if self.url is None or self.model_uri is None else [Path(self.model_uri)]
        return [*first, *(self.images or [])]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Export a version to engines that score faster than PyTorch, and compare each with it."""

    model_uri: ModelUri
    engine: Annotated[Texts, opt("--engine", "NAME ...", ENGINE_HELP)]
    data: Annotated[Text, opt("--data", ADDRESS, LABELLED_HELP)] = None
    out: Annotated[File, opt("--out", "DIR", "write the model with its engines there")] = None
    register: Annotated[bool, opt("--register", None, "make it a new version")] = False
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class AdviseOptions(PictureOptions):
    """Say which model, image size and minutes fit a folder, and why."""

    data: Annotated[str, opt("--data", ADDRESS, "train/good, or flat; test/<defect> too")]
    smallest_defect: Annotated[
        float | None, opt("--smallest-defect", "PX", DEFECT_HELP, parse_size)
    ] = None
    budget: Annotated[Text, opt("--budget", "TIME", "that a training may take")] = None
    position_pattern: Annotated[Text, opt("--position-pattern", "REGEX", POSITION_HELP)] = None
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class SimulateOptions(PictureOptions):
    """Draw a sheet of simulated anomalies, to judge before spending a night."""

    data: Data
    preset: Preset = "general"
    out: Annotated[Path, opt("--out", "DIR", "folder of the sheet")]
    image_size: ImageSize = "128"
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class RegionsOptions(PictureOptions):
    """Draw a sheet of how normal pictures are seen, and where: of a product or of a folder."""

    product: Annotated[Text, arg("[PRODUCT]", "of reconad.toml")] = None
    data: Annotated[
        Text, opt("--data", ADDRESS, "train/good, or flat; with --region or --lens")
    ] = None
    region: GivenRegion = None
    lens: GivenLens = None
    out: Annotated[Path, opt("--out", "DIR", "folder of the sheet")]
    image_size: Annotated[
        Text, opt("--image-size", SIZE, f"{SIZE_HELP} (default: the product's, or 128)")
    ] = None
