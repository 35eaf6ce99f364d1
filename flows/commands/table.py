"""All commands by name: where each stands in the help, and what it takes.

The module of a command has its name, and its function ``run`` gets the options. It is imported
when the command runs and not before.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, cast

from flows.commands import options

NIGHTLY: Final = "Nightly"
BY_HAND: Final = "By hand"
PEOPLE: Final = "People"
PLATFORM: Final = "Demo and platform"
BENCHMARKS: Final = "Benchmarks"


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: as it is typed.
        group: its panel in the help.
        options: the class of what it takes.
        help: what it does.
    """

    name: str
    group: str
    options: type
    help: str

    @property
    def run(self) -> Callable[[Any], None]:
        """The function that runs it. Imports its module."""
        module = import_module(f"flows.commands.{self.name.replace('-', '_')}")
        return cast(Callable[[Any], None], module.run)


COMMANDS: Final = (
    Command("nightly", NIGHTLY, options.NightlyOptions, "Run one night of a product."),
    Command(
        "promote",
        NIGHTLY,
        options.PromoteOptions,
        "Judge the challenger, and let it serve when it is proven better.",
    ),
    Command(
        "rollback", NIGHTLY, options.RollbackOptions, "Put the version that served before back."
    ),
    Command(
        "backfill", NIGHTLY, options.BackfillOptions, "Build a product's dashboard again from S3."
    ),
    Command("train", BY_HAND, options.TrainOptions, "Train on a folder of normal images."),
    Command(
        "finetune",
        BY_HAND,
        options.FinetuneOptions,
        "Go on training a version on new images, and on those it learnt before.",
    ),
    Command(
        "evaluate",
        BY_HAND,
        options.EvaluateOptions,
        "Measure a version on test/good and test/<defect>.",
    ),
    Command("predict", BY_HAND, options.PredictOptions, "Score and label picture files."),
    Command(
        "simulate",
        BY_HAND,
        options.SimulateOptions,
        "Draw a sheet of simulated anomalies, to judge before spending a night.",
    ),
    Command(
        "pretrain-vq", BY_HAND, options.PretrainOptions, "Train what dsr stands on, for its --vq."
    ),
    Command(
        "status",
        PEOPLE,
        options.StatusOptions,
        "Show which version serves, and what became of the others.",
    ),
    Command(
        "review", PEOPLE, options.ReviewOptions, "List images that wait for a person, and decide."
    ),
    Command("resolve", PEOPLE, options.ResolveOptions, "End an alarm: what is seen is normal now."),
    Command(
        "demo",
        PLATFORM,
        options.DemoOptions,
        "Replay fourteen real nights on an embedded platform.",
    ),
    Command(
        "platform",
        PLATFORM,
        options.PlatformOptions,
        "Bring the demo's servers up again, as it left them, until Ctrl-C.",
    ),
    Command(
        "benchmark",
        BENCHMARKS,
        options.BenchmarkOptions,
        "Measure ours and a peer by turns (from a checkout).",
    ),
)
