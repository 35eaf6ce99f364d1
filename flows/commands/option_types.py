"""Options that several commands take, each declared once, and how an option is declared.

Nothing heavy is imported here, so that the help is there at once.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from flows.commands.parse import parse_count, parse_seed
from reconad_plugin.simulation.presets import PRESETS


def opt(
    name: str, metavar: str | None, help: str, parser: Callable[[Any], object] | None = None
) -> Any:
    """Declare an option; a switch has no metavar. Whoever reads a file says why it cannot be."""
    return typer.Option(name, metavar=metavar, help=help, parser=parser, readable=False)


def opt_count(name: str, help: str, parser: Callable[[Any], int] = parse_count) -> Any:
    """Declare an option that is a number."""
    return opt(name, "N", help, parser)


def arg(metavar: str, help: str) -> Any:
    """Declare what stands without a name."""
    return typer.Argument(metavar=metavar, help=help, readable=False)


DEMO_STATE: Final = Path(".reconad/demo")
NIGHT: Final = "YYYY-MM-DD"
ADDRESS: Final = "DIR|s3://.."
SIZE: Final = "PX|HxW"
SIZE_HELP: Final = "pixels the network sees: as many as a square of this side, or height x width"
PRESET_HELP: Final = f"kind of simulated anomalies: {', '.join(PRESETS)}"
REGION_HELP: Final = "PNG that is black where nothing counts (default: all of the picture counts)"
LENS_HELP: Final = "OpenCV's calibration of the camera: the lens's distortion is taken out"
MODEL_URI_HELP: Final = "such as models:/reconad-screw/3"

Text = str | None
Texts = list[str]
Count = int | None
File = Path | None

Product = Annotated[str, arg("PRODUCT", "of reconad.toml")]
Night = Annotated[str, arg("NIGHT", NIGHT)]
ModelUri = Annotated[str, arg("MODEL_URI", MODEL_URI_HELP)]
Data = Annotated[str, opt("--data", ADDRESS, "train/good, or flat")]
Json = Annotated[File, opt("--json", "FILE", "write one JSON object there")]
ImageSize = Annotated[str, opt("--image-size", SIZE, SIZE_HELP)]
Preset = Annotated[str, opt("--preset", "NAME", PRESET_HELP)]
Steps = Annotated[Count, opt_count("--steps", "end after so many steps at the latest")]
Seed = Annotated[int, opt_count("--seed", "of all that is drawn", parse_seed)]
Device = Annotated[str, opt("--device", "NAME", "cpu, cuda, cuda:1")]
GivenNight = Annotated[Text, opt("--night", NIGHT, "(default: the last one taken in)")]
GivenLens = Annotated[Text, opt("--lens", "FILE|s3://..", LENS_HELP)]
GivenRegion = Annotated[File, opt("--region", "FILE", REGION_HELP)]
Textures = Annotated[Text, opt("--textures", ADDRESS, "pictures for simulated anomalies")]
