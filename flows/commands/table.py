"""All commands by name: where each stands in the help, and what it takes.

The module of a command has its name, and its function ``run`` gets the options. It is imported
when the command runs and not before.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, cast

from flows.commands import options, options_by_hand

NIGHTLY: Final = "Nightly"
SETTING_UP: Final = "Setting up"
BY_HAND: Final = "By hand"
PEOPLE: Final = "People"
PLATFORM: Final = "Demo and platform"
BENCHMARKS: Final = "Benchmarks"


@dataclass(frozen=True)
class Command:
    """One command."""

    name: str  # as it is typed
    group: str  # its panel in the help
    options: type  # the class of what it takes

    @property
    def help(self) -> str:
        """What it does."""
        return self.options.__doc__ or ""

    @property
    def run(self) -> Callable[[Any], None]:
        """The function that runs it. Imports its module."""
        if self.group in (BY_HAND, PEOPLE, SETTING_UP):
            _quieten_mlflow()
        module = import_module(f"flows.commands.{self.name.replace('-', '_')}")
        return cast(Callable[[Any], None], module.run)


COMMANDS: Final = (
    Command("init", SETTING_UP, options.InitOptions),
    Command("deploy", SETTING_UP, options.DeployOptions),
    Command("doctor", SETTING_UP, options.DoctorOptions),
    Command("nightly", NIGHTLY, options.NightlyOptions),
    Command("promote", NIGHTLY, options.PromoteOptions),
    Command("rollback", NIGHTLY, options.RollbackOptions),
    Command("backfill", NIGHTLY, options.BackfillOptions),
    Command("clean", NIGHTLY, options.CleanOptions),
    Command("advise", BY_HAND, options_by_hand.AdviseOptions),
    Command("train", BY_HAND, options_by_hand.TrainOptions),
    Command("finetune", BY_HAND, options_by_hand.FinetuneOptions),
    Command("evaluate", BY_HAND, options_by_hand.EvaluateOptions),
    Command("predict", BY_HAND, options_by_hand.PredictOptions),
    Command("export", BY_HAND, options_by_hand.ExportOptions),
    Command("simulate", BY_HAND, options_by_hand.SimulateOptions),
    Command("regions", BY_HAND, options_by_hand.RegionsOptions),
    Command("pretrain-vq", BY_HAND, options_by_hand.PretrainOptions),
    Command("status", PEOPLE, options.StatusOptions),
    Command("review", PEOPLE, options.ReviewOptions),
    Command("review-page", PEOPLE, options.ReviewPageOptions),
    Command("resolve", PEOPLE, options.ResolveOptions),
    Command("rescore", PEOPLE, options.RescoreOptions),
    Command("threshold", PEOPLE, options.ThresholdOptions),
    Command("lineage", PEOPLE, options.LineageOptions),
    Command("reproduce", PEOPLE, options.ReproduceOptions),
    Command("demo", PLATFORM, options.DemoOptions),
    Command("platform", PLATFORM, options.PlatformOptions),
    Command("benchmark", BENCHMARKS, options.BenchmarkOptions),
)


def _quieten_mlflow() -> None:
    """Let MLflow say less where a person waits for a command; it reads this at its import."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
