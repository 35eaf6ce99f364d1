"""What each command around a product takes: setting up, its nights, people, and the demo.

A class holds the arguments and options of a command, and its docstring is the command's help.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from flows.commands.option_types import (
    DEMO_STATE,
    NIGHT,
    Count,
    File,
    GivenNight,
    Json,
    Night,
    Product,
    Text,
    Texts,
    arg,
    opt,
    opt_count,
)
from flows.commands.parse import parse_number, parse_size

VERSION_HELP: Final = "a number, champion, previous_champion or challenger"


@dataclass(frozen=True, kw_only=True)
class InitOptions:
    """Look at a bucket and write reconad.toml: asks for what is not given, overwrites nothing."""

    bucket: Annotated[Text, opt("--bucket", "NAME", "where the pictures are")] = None
    endpoint_url: Annotated[
        Text,
        opt("--endpoint-url", "URL", "S3 service (default: AWS_ENDPOINT_URL_S3, or AWS)"),
    ] = None
    region: Annotated[str, opt("--region", "NAME", "of the bucket")] = "us-east-1"
    product: Annotated[Texts, opt("--product", "NAME ...", "(default: all that are found)")] = (
        field(default_factory=list)
    )
    timezone: Annotated[Text, opt("--timezone", "NAME", "such as Europe/Berlin")] = None
    at: Annotated[str, opt("--at", "HH:MM", "when the night before is run")] = "02:00"
    out: Annotated[Path, opt("--out", "FILE", "the file to write")] = Path("reconad.toml")
    yes: Annotated[bool, opt("--yes", None, "ask nothing and take what is proposed")] = False


@dataclass(frozen=True, kw_only=True)
class DeployOptions:
    """Bring Prefect to what reconad.toml says: deployments, schedules, automations, limits."""

    dry_run: Annotated[bool, opt("--dry-run", None, "say what would change")] = False
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Look at all that a night needs: each line is good, or says what to do."""

    limit: Annotated[
        float,
        opt("--limit", "SECONDS", "for all checks, which run side by side", parse_number),
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
    version: Annotated[Count, opt_count("--version", "becomes the challenger first")] = None
    night: GivenNight = None
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class RollbackOptions:
    """Put the version that served before back."""

    product: Product
    reason: Annotated[Text, opt("--reason", "TEXT", "what is wrong with the one that serves")] = (
        None
    )
    night: GivenNight = None
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class StatusOptions:
    """Show which version serves, and what became of the others; or how all products stand."""

    product: Annotated[Text, arg("[PRODUCT]", "of reconad.toml (default: all)")] = None
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class BackfillOptions:
    """Build a product's dashboard again from S3."""

    product: Product
    first: Annotated[Text, opt("--from", NIGHT, "(default: all)")] = None
    last: Annotated[Text, opt("--to", NIGHT, "(default: all)")] = None


@dataclass(frozen=True, kw_only=True)
class ReviewOptions:
    """List images that wait for a person, and decide."""

    product: Product
    night: Night
    normal: Annotated[
        Texts, opt("--normal", "KEY ...", "release for learning, or all that wait")
    ] = field(default_factory=list)
    defect: Annotated[Texts, opt("--defect", "KEY ...", "never learn from, or all that wait")] = (
        field(default_factory=list)
    )
    named: Annotated[str, opt("--named", "TEXT", "what the defect is called")] = ""
    by: Annotated[str, opt("--by", "NAME", "the person who decides")] = ""


@dataclass(frozen=True, kw_only=True)
class ReviewPageOptions:
    """Serve the page where people decide on images that wait, until Ctrl-C."""

    host: Annotated[str, opt("--host", "ADDRESS", "(default: this machine alone)")] = "127.0.0.1"
    port: Annotated[int, opt_count("--port", "of the page")] = 8008


@dataclass(frozen=True, kw_only=True)
class ResolveOptions:
    """End an alarm: what is seen is normal now."""

    product: Product
    night: Annotated[str, arg("NIGHT", f"{NIGHT}, the first night of the new normal")]
    note: Annotated[str, opt("--note", "TEXT", "what was found")] = ""


@dataclass(frozen=True, kw_only=True)
class RescoreOptions:
    """Say since when: what another version says of past nights."""

    product: Product
    version: Annotated[str, opt("--version", "N|ALIAS", VERSION_HELP)]
    nights: Annotated[str, opt("--nights", "FROM..TO", f"{NIGHT}..{NIGHT}, or one night")]
    out: Annotated[File, opt("--out", "DIR", "write a row a picture and a sheet a night")] = None
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class ThresholdOptions:
    """Try another threshold on the last nights and the known defects, or let it hold."""

    product: Product
    version: Annotated[str, opt("--version", "N|ALIAS", VERSION_HELP)] = "champion"
    try_: Annotated[
        float | None, opt("--try", "SCORE", "say what it would reject and miss", parse_size)
    ] = None
    set: Annotated[
        float | None, opt("--set", "SCORE", "let it hold, without a training", parse_size)
    ] = None
    calibrated: Annotated[bool, opt("--calibrated", None, "let the calibrated one hold again")] = (
        False
    )
    by: Annotated[Text, opt("--by", "NAME", "the person who sets it")] = None
    why: Annotated[Text, opt("--why", "TEXT", "the reason, kept with the version")] = None
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class LineageOptions:
    """Show what a version learnt from; or who scored an image, and which versions learnt it."""

    product: Product
    version: Annotated[Text, opt("--version", "N|ALIAS", f"of a version: {VERSION_HELP}")] = None
    image: Annotated[
        Text, opt("--image", "KEY|HASH|REFERENCE", "of an image, also as clients called it")
    ] = None
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions:
    """Train a version again from its manifests, and compare the weights; nothing is registered."""

    product: Product
    version: Annotated[str, arg("N|ALIAS", VERSION_HELP)]
    device: Annotated[Text, opt("--device", "NAME", "(default: as it was trained)")] = None
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class CleanOptions:
    """Remove what `keep` in reconad.toml lets go: drawings, weights, runs, cached pictures."""

    product: Annotated[Text, arg("[PRODUCT]", "of reconad.toml (default: all, and this disk)")] = (
        None
    )
    dry_run: Annotated[bool, opt("--dry-run", None, "say what would go, and what stays")] = False
    yes: Annotated[bool, opt("--yes", None, "do not ask")] = False
    json: Json = None


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Replay fourteen real nights on an embedded platform."""

    keep: Annotated[bool, opt("--keep", None, "leave the servers up until Ctrl-C")] = False
    short: Annotated[bool, opt("--short", None, "nine nights and a short first training")] = False
    state: Annotated[Path, opt("--state", "DIR", "servers' folder; emptied")] = DEMO_STATE
    report: Annotated[Path, opt("--report", "DIR", "folder of the report")] = Path("demo-report")


@dataclass(frozen=True, kw_only=True)
class PlatformOptions:
    """Bring the demo's servers up again, as it left them, until Ctrl-C."""

    state: Annotated[Path, opt("--state", "DIR", "servers' folder")] = DEMO_STATE


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """Measure ours and a peer by turns (from a checkout)."""

    name: Annotated[str, arg("NAME", "see benchmarks/README.md")]
    own: Annotated[Texts, arg("[-- OPTION ...]", "options of a benchmark without a peer")] = field(
        default_factory=list
    )
    peer_python: Annotated[File, opt("--peer-python", "PATH", "the peer's Python")] = None
    data: Annotated[
        File,
        opt("--data", "DIR", "train/good, test/...; triage and replay: with manifest.csv"),
    ] = None
    textures: Annotated[File, opt("--textures", "DIR", "pictures (default: the packaged ones)")] = (
        None
    )
    rounds: Annotated[int, opt_count("--rounds", "turns of each side")] = 3
    json: Json = None
