"""What each command takes from the command line; each option is declared once.

A class holds the arguments and options of a command. Nothing heavy is imported here, so that the
help is there at once.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from flows.commands.parse import parse_budget, parse_count, parse_number
from reconad_plugin.networks.registry import MODELS
from reconad_plugin.simulation.presets import PRESETS

DEMO_STATE: Final = Path(".reconad/demo")
DEMO_REPORT: Final = Path("demo-report")

NIGHT_METAVAR: Final = "YYYY-MM-DD"
ADDRESS_METAVAR: Final = "DIR|s3://.."

Product = Annotated[str, typer.Argument(metavar="PRODUCT", help="of reconad.toml")]
Night = Annotated[str, typer.Argument(metavar="NIGHT", help=NIGHT_METAVAR)]
ModelUri = Annotated[
    str, typer.Argument(metavar="MODEL_URI", help="such as models:/reconad-screw/3")
]
Data = Annotated[str, typer.Option("--data", metavar=ADDRESS_METAVAR, help="train/good, or flat")]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="write one JSON object there")
]
ImageSize = Annotated[
    int, typer.Option("--image-size", metavar="PX", parser=parse_count, help="of the network")
]
Preset = Annotated[
    str,
    typer.Option(
        "--preset", metavar="NAME", help=f"look of simulated anomalies: {', '.join(PRESETS)}"
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps", metavar="N", parser=parse_count, help="end after so many steps at the latest"
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", metavar="N", parser=parse_count, help="of all that is drawn")
]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="cpu, cuda, cuda:1")]
GivenNight = Annotated[
    str | None,
    typer.Option("--night", metavar=NIGHT_METAVAR, help="(default: the last one taken in)"),
]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What a training and a fine-tuning share."""

    data: Data
    product: Annotated[
        str | None, typer.Option("--product", metavar="NAME", help="name of the registered model")
    ] = None
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="TIME",
            help="wall-clock time, such as 90s, 15m or 1h (finetune without --steps: 5m)",
        ),
    ] = None
    steps: Steps = None
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", metavar="N", parser=parse_count, help="images (default: the model's)"
        ),
    ] = None
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            metavar="X",
            parser=parse_number,
            help="(default: the model's; half of it to fine-tune)",
        ),
    ] = None
    preset: Preset = "general"
    textures: Annotated[
        str | None,
        typer.Option(
            "--textures", metavar=ADDRESS_METAVAR, help="pictures for simulated anomalies"
        ),
    ] = None
    geometry: Annotated[
        str,
        typer.Option(
            "--geometry",
            metavar="NAME",
            help="how parts may lie: none (always alike), mirror, rotate, or auto: the pictures "
            "tell none from mirror",
        ),
    ] = "auto"
    vary_light: Annotated[bool, typer.Option("--vary-light", help="learn under changing lamps")] = (
        False
    )
    seed: Seed = 0
    device: Device = "cpu"
    json: Json = None

    @property
    def training(self) -> dict[str, Any]:
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
    """Of ``reconad train``."""

    model: Annotated[str, typer.Option("--model", metavar="NAME", help=", ".join(MODELS))] = "draem"
    image_size: ImageSize = 128
    width: Annotated[
        str | None,
        typer.Option("--width", metavar="NAME", help="size of the network (default: the least)"),
    ] = None
    option: Annotated[
        list[str], typer.Option("--option", metavar="NAME=VALUE", help="such as sspcab=true")
    ] = field(default_factory=list)
    vq: Annotated[
        str | None,
        typer.Option(
            "--vq",
            metavar="NAME|URI|FILE",
            help="what dsr stands on (default: it learns its own)",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(TrainingOptions):
    """Of ``reconad finetune``."""

    model_uri: ModelUri


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """Of ``reconad pretrain-vq``."""

    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar=f"{ADDRESS_METAVAR} ...",
            help="normal images of one or more products: train/good, or flat",
        ),
    ]
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="of reconad-vq-<name> (default: the first folder's)"
        ),
    ] = None
    textures: Annotated[
        str | None,
        typer.Option("--textures", metavar=ADDRESS_METAVAR, help="pictures of anything else"),
    ] = None
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="TIME", help="wall-clock time, such as 90s or 15m"),
    ] = None
    steps: Steps = None
    image_size: ImageSize = 256
    width: Annotated[
        str | None, typer.Option("--width", metavar="NAME", help="of dsr (default: the least)")
    ] = None
    seed: Seed = 0
    device: Device = "cpu"
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Of ``reconad evaluate``."""

    model_uri: ModelUri
    data: Annotated[
        str,
        typer.Option("--data", metavar=ADDRESS_METAVAR, help="test/good and test/<defect>"),
    ]
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            metavar="NAME",
            help="what pixel figures count: whole, or centre-crop as DSR's authors do",
        ),
    ] = "whole"
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Of ``reconad predict``."""

    model_uri: ModelUri
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="picture files")]
    maps: Annotated[
        Path | None, typer.Option("--maps", metavar="DIR", help="write anomaly maps there")
    ] = None
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """Of ``reconad simulate``."""

    data: Data
    preset: Preset = "general"
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="folder of the sheet")]
    image_size: ImageSize = 128
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class NightlyOptions:
    """Of ``reconad nightly``."""

    product: Product
    night: Night


@dataclass(frozen=True, kw_only=True)
class PromoteOptions:
    """Of ``reconad promote``."""

    product: Product
    version: Annotated[
        int | None,
        typer.Option(
            "--version", metavar="N", parser=parse_count, help="becomes the challenger first"
        ),
    ] = None
    night: GivenNight = None
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class RollbackOptions:
    """Of ``reconad rollback``."""

    product: Product
    reason: Annotated[
        str | None,
        typer.Option("--reason", metavar="TEXT", help="what is wrong with the one that serves"),
    ] = None
    night: GivenNight = None
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class StatusOptions:
    """Of ``reconad status``."""

    product: Product
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class BackfillOptions:
    """Of ``reconad backfill``."""

    product: Product
    first: Annotated[
        str | None, typer.Option("--from", metavar=NIGHT_METAVAR, help="(default: all)")
    ] = None
    last: Annotated[
        str | None, typer.Option("--to", metavar=NIGHT_METAVAR, help="(default: all)")
    ] = None


@dataclass(frozen=True, kw_only=True)
class ReviewOptions:
    """Of ``reconad review``."""

    product: Product
    night: Night
    normal: Annotated[
        list[str],
        typer.Option("--normal", metavar="KEY ...", help="release for learning, or all"),
    ] = field(default_factory=list)
    defect: Annotated[
        list[str],
        typer.Option("--defect", metavar="KEY ...", help="never learn from, or all"),
    ] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ResolveOptions:
    """Of ``reconad resolve``."""

    product: Product
    night: Annotated[
        str,
        typer.Argument(metavar="NIGHT", help=f"{NIGHT_METAVAR}, the first night of the new normal"),
    ]
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="what was found")] = ""


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Of ``reconad demo``."""

    keep: Annotated[bool, typer.Option("--keep", help="leave the servers up until Ctrl-C")] = False
    short: Annotated[
        bool, typer.Option("--short", help="nine nights and a short first training")
    ] = False
    state: Annotated[
        Path, typer.Option("--state", metavar="DIR", help="servers' folder; emptied")
    ] = DEMO_STATE
    report: Annotated[
        Path, typer.Option("--report", metavar="DIR", help="folder of the report")
    ] = DEMO_REPORT


@dataclass(frozen=True, kw_only=True)
class PlatformOptions:
    """Of ``reconad platform``."""

    state: Annotated[Path, typer.Option("--state", metavar="DIR", help="servers' folder")] = (
        DEMO_STATE
    )


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """Of ``reconad benchmark``."""

    name: Annotated[str, typer.Argument(metavar="NAME", help="see benchmarks/README.md")]
    peer_python: Annotated[
        Path | None, typer.Option("--peer-python", metavar="PATH", help="the peer's Python")
    ] = None
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="train/good, test/...; triage and replay: with manifest.csv",
        ),
    ] = None
    textures: Annotated[
        Path | None,
        typer.Option("--textures", metavar="DIR", help="pictures (default: the packaged ones)"),
    ] = None
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", parser=parse_count, help="turns of each side")
    ] = 3
    json: Json = None
