"""The ``reconad`` command. Nothing heavy is imported before it is needed."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import reconad_plugin.telemetry  # noqa: F401  first: switches off reporting of what follows
from flows.command import run_command

DEMO_STATE = Path(".reconad/demo")
DEMO_REPORT = Path("demo-report")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run one command; its exit code."""
    options = build_parser().parse_args(arguments)
    return run_command(lambda: options.run(options))


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog="reconad",
        description="Nightly retraining and guarding of visual inspection, on MLflow and Prefect.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="replay fourteen real nights on an embedded platform")
    demo.add_argument("--keep", action="store_true", help="leave the servers up until Ctrl-C")
    demo.add_argument("--short", action="store_true", help="nine nights and short trainings")
    demo.add_argument("--state", type=Path, default=DEMO_STATE, help="servers' folder; emptied")
    demo.add_argument("--report", type=Path, default=DEMO_REPORT, help="folder of the report")
    demo.set_defaults(run=_demo)

    platform = commands.add_parser(
        "platform", help="bring the demo's servers up again, as it left them, until Ctrl-C"
    )
    platform.add_argument("--state", type=Path, default=DEMO_STATE, help="servers' folder")
    platform.set_defaults(run=_platform)

    nightly = commands.add_parser("nightly", help="run one night of a product")
    nightly.add_argument("product", help="a product of reconad.toml")
    nightly.add_argument("night", help="YYYY-MM-DD")
    nightly.set_defaults(run=_nightly)

    status = commands.add_parser("status", help="which version serves, and what became of others")
    status.add_argument("product", help="a product of reconad.toml")
    status.set_defaults(run=_status)

    review = commands.add_parser("review", help="list images that wait for a person, and decide")
    review.add_argument("product", help="a product of reconad.toml")
    review.add_argument("night", help="YYYY-MM-DD")
    decision = review.add_mutually_exclusive_group()
    decision.add_argument("--normal", nargs="+", metavar="KEY", help="release for learning, or all")
    decision.add_argument("--defect", nargs="+", metavar="KEY", help="never learn from, or all")
    review.set_defaults(run=_review)
    return parser


def _demo(options: argparse.Namespace) -> None:
    from flows.demo_show import show_demo

    show_demo(options.state, options.report, options.short, options.keep)


def _platform(options: argparse.Namespace) -> None:
    from flows.demo_show import show_platform

    show_platform(options.state)


def _nightly(options: argparse.Namespace) -> None:
    from flows.nightly import nightly, print_night
    from reconad_plugin.config import parse_night

    print_night(nightly(options.product, parse_night(options.night)))


def _status(options: argparse.Namespace) -> None:
    from flows.status import print_status

    print_status(options.product)


def _review(options: argparse.Namespace) -> None:
    from flows.review import review_night
    from reconad_plugin.config import parse_night

    review_night(options.product, parse_night(options.night), options.normal, options.defect)


if __name__ == "__main__":
    sys.exit(main())
