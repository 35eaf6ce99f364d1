"""The ``reconad`` command. Nothing heavy is imported before it is needed."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import reconad_plugin.telemetry  # noqa: F401  first: switches off reporting of what follows
from flows.commands.exit_codes import run_command
from reconad_plugin.networks.registry import MODELS
from reconad_plugin.simulation.presets import PRESETS

DEMO_STATE = Path(".reconad/demo")
_BUDGET_HELP = "wall-clock time, such as 90s, 15m or 1h (finetune without --steps: 5m)"
_RATE_HELP = "(default: the model's; half of it to fine-tune)"
_PRESETS_HELP = f"look of simulated anomalies: {', '.join(PRESETS)} (default: general)"
_BENCHMARK_DATA = "train/good, test/...; triage and replay: with manifest.csv"
DEMO_REPORT = Path("demo-report")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run one command; its exit code."""
    options = build_parser().parse_args(arguments)
    return run_command(lambda: options.run(options))


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = _Parser(
        prog="reconad",
        description="Nightly retraining and guarding of visual inspection, on MLflow and Prefect.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train on a folder of normal images")
    _add_data(train)
    train.add_argument("--model", default="draem", help=f"{', '.join(MODELS)} (default: draem)")
    train.add_argument("--product", help="name of the registered model (default: the folder's)")
    train.add_argument("--image-size", type=int, default=128, metavar="PX", help="(default: 128)")
    train.add_argument("--width", metavar="NAME", help="size of the network (default: the least)")
    train.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="such as sspcab=true"
    )
    train.add_argument(
        "--vq", metavar="NAME|URI|FILE", help="what dsr stands on (default: it learns its own)"
    )
    _add_training(train)
    _add_json(train)
    train.set_defaults(run=_train)

    pretrain = commands.add_parser("pretrain-vq", help="train what dsr stands on, for its --vq")
    pretrain.add_argument(
        "--data",
        required=True,
        nargs="+",
        metavar="DIR|s3://..",
        help="normal images of one or more products: train/good, or flat",
    )
    pretrain.add_argument("--name", help="of reconad-vq-<name> (default: the first folder's)")
    pretrain.add_argument("--textures", metavar="DIR|s3://..", help="pictures of anything else")
    pretrain.add_argument("--budget", metavar="TIME", help="wall-clock time, such as 90s or 15m")
    pretrain.add_argument("--steps", type=int, help="end after so many steps at the latest")
    pretrain.add_argument(
        "--image-size", type=int, default=256, metavar="PX", help="(default: 256)"
    )
    pretrain.add_argument("--width", metavar="NAME", help="of dsr (default: the least)")
    pretrain.add_argument("--seed", type=int, default=0)
    pretrain.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1")
    _add_json(pretrain)
    pretrain.set_defaults(run=_pretrain_vq)

    finetune = commands.add_parser(
        "finetune", help="go on training a version on new images, and rehearse the old ones"
    )
    finetune.add_argument("model_uri", metavar="MODEL_URI", help="such as models:/reconad-screw/3")
    _add_data(finetune)
    finetune.add_argument("--product", help="name of the registered model (default: the same)")
    _add_training(finetune)
    _add_json(finetune)
    finetune.set_defaults(run=_finetune)

    evaluate = commands.add_parser("evaluate", help="figures of a version on test/good, test/...")
    evaluate.add_argument("model_uri", metavar="MODEL_URI")
    _add_data(evaluate, "test/good and test/<defect>")
    evaluate.add_argument(
        "--protocol",
        default="whole",
        metavar="NAME",
        help="what pixel figures count: whole (default), or centre-crop as DSR's authors do",
    )
    _add_json(evaluate)
    evaluate.set_defaults(run=_evaluate)

    predict = commands.add_parser("predict", help="scores and labels of picture files")
    predict.add_argument("model_uri", metavar="MODEL_URI")
    predict.add_argument("images", metavar="IMAGE", nargs="+", type=Path)
    predict.add_argument("--maps", type=Path, metavar="DIR", help="write anomaly maps there")
    _add_json(predict)
    predict.set_defaults(run=_predict)

    simulate = commands.add_parser(
        "simulate", help="a sheet of simulated anomalies, to judge before spending a night"
    )
    _add_data(simulate)
    simulate.add_argument("--preset", default="general", metavar="NAME", help=_PRESETS_HELP)
    simulate.add_argument("--out", type=Path, required=True, metavar="DIR")
    simulate.add_argument(
        "--image-size", type=int, default=128, metavar="PX", help="of the training (default: 128)"
    )
    simulate.add_argument("--seed", type=int, default=0)
    simulate.set_defaults(run=_simulate)

    benchmark = commands.add_parser(
        "benchmark", help="measure ours and a peer by turns (from a checkout)"
    )
    benchmark.add_argument("name", metavar="NAME", help="see benchmarks/README.md")
    benchmark.add_argument("--peer-python", type=Path, metavar="PATH", help="the peer's Python")
    benchmark.add_argument("--data", type=Path, metavar="DIR", help=_BENCHMARK_DATA)
    benchmark.add_argument(
        "--textures", type=Path, metavar="DIR", help="pictures (default: the packaged ones)"
    )
    benchmark.add_argument("--rounds", type=int, default=3, metavar="N", help="(default: 3)")
    _add_json(benchmark)
    benchmark.set_defaults(run=_benchmark)

    demo = commands.add_parser("demo", help="replay fourteen real nights on an embedded platform")
    demo.add_argument("--keep", action="store_true", help="leave the servers up until Ctrl-C")
    demo.add_argument("--short", action="store_true", help="nine nights and a short first training")
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

    promote = commands.add_parser(
        "promote", help="judge the challenger, and let it serve when it is proven better"
    )
    promote.add_argument("product", help="a product of reconad.toml")
    promote.add_argument("--version", type=int, metavar="N", help="becomes the challenger first")
    _add_night(promote)
    _add_json(promote)
    promote.set_defaults(run=_promote)

    rollback = commands.add_parser("rollback", help="put the version that served before back")
    rollback.add_argument("product", help="a product of reconad.toml")
    rollback.add_argument("--reason", metavar="TEXT", help="what is wrong with the one that serves")
    _add_night(rollback)
    _add_json(rollback)
    rollback.set_defaults(run=_rollback)

    status = commands.add_parser("status", help="which version serves, and what became of others")
    status.add_argument("product", help="a product of reconad.toml")
    _add_json(status)
    status.set_defaults(run=_status)

    backfill = commands.add_parser("backfill", help="build a product's dashboard again from S3")
    backfill.add_argument("product", help="a product of reconad.toml")
    backfill.add_argument("--from", dest="first", metavar="YYYY-MM-DD", help="(default: all)")
    backfill.add_argument("--to", dest="last", metavar="YYYY-MM-DD", help="(default: all)")
    backfill.set_defaults(run=_backfill)

    review = commands.add_parser("review", help="list images that wait for a person, and decide")
    review.add_argument("product", help="a product of reconad.toml")
    review.add_argument("night", help="YYYY-MM-DD")
    decision = review.add_mutually_exclusive_group()
    decision.add_argument("--normal", nargs="+", metavar="KEY", help="release for learning, or all")
    decision.add_argument("--defect", nargs="+", metavar="KEY", help="never learn from, or all")
    review.set_defaults(run=_review)

    resolve = commands.add_parser("resolve", help="end an alarm: what is seen is normal now")
    resolve.add_argument("product", help="a product of reconad.toml")
    resolve.add_argument("night", help="YYYY-MM-DD, the first night of the new normal")
    resolve.add_argument("--note", metavar="TEXT", default="", help="what was found")
    resolve.set_defaults(run=_resolve)
    return parser


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"reconad: {message}: see {self.prog} --help\n")


def _add_data(parser: argparse.ArgumentParser, layout: str = "train/good, or flat") -> None:
    parser.add_argument("--data", required=True, metavar="DIR|s3://..", help=layout)


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--budget", metavar="TIME", help=_BUDGET_HELP)
    parser.add_argument("--steps", type=int, help="end after so many steps at the latest")
    parser.add_argument("--batch-size", type=int, help="images (default: the model's)")
    parser.add_argument("--learning-rate", type=float, help=_RATE_HELP)
    parser.add_argument("--preset", default="general", metavar="NAME", help=_PRESETS_HELP)
    parser.add_argument(
        "--textures", metavar="DIR|s3://..", help="pictures for simulated anomalies"
    )
    parser.add_argument(
        "--geometry",
        default="auto",
        metavar="NAME",
        help="how parts may lie: none (always alike), mirror, rotate, or auto (default): the "
        "pictures tell none from mirror",
    )
    parser.add_argument("--vary-light", action="store_true", help="learn under changing lamps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write one JSON object there")


def _add_night(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--night", metavar="YYYY-MM-DD", help="(default: the last one taken in)")


def _train(options: argparse.Namespace) -> None:
    from flows.commands.by_hand import run_train

    run_train(options)


def _pretrain_vq(options: argparse.Namespace) -> None:
    from flows.commands.pretrain_vq import run_pretrain_vq

    run_pretrain_vq(options)


def _finetune(options: argparse.Namespace) -> None:
    from flows.commands.by_hand import run_finetune

    run_finetune(options)


def _evaluate(options: argparse.Namespace) -> None:
    from flows.commands.by_hand import run_evaluate

    run_evaluate(options)


def _predict(options: argparse.Namespace) -> None:
    from flows.commands.by_hand import run_predict

    run_predict(options)


def _simulate(options: argparse.Namespace) -> None:
    from flows.jobs.by_hand import simulate

    print(simulate(options.data, options.preset, options.out, options.image_size, options.seed))


def _benchmark(options: argparse.Namespace) -> None:
    from flows.commands.benchmark import run_benchmark

    run_benchmark(options)


def _demo(options: argparse.Namespace) -> None:
    from flows.demo.show import show_demo

    show_demo(options.state, options.report, options.short, options.keep)


def _platform(options: argparse.Namespace) -> None:
    from flows.demo.show import show_platform

    show_platform(options.state)


def _nightly(options: argparse.Namespace) -> None:
    from flows.nightly import nightly, print_night
    from reconad_plugin.config import parse_night

    print_night(nightly(options.product, parse_night(options.night)))


def _promote(options: argparse.Namespace) -> None:
    from flows.commands.promote import run_promote

    run_promote(options)


def _rollback(options: argparse.Namespace) -> None:
    from flows.commands.promote import run_rollback

    run_rollback(options)


def _status(options: argparse.Namespace) -> None:
    from flows.commands.status import run_status

    run_status(options)


def _resolve(options: argparse.Namespace) -> None:
    from flows.commands.resolve import resolve_night
    from reconad_plugin.config import parse_night

    resolve_night(options.product, parse_night(options.night), options.note)


def _backfill(options: argparse.Namespace) -> None:
    from flows.jobs.backfill import backfill
    from reconad_plugin.config import parse_night

    limits = {
        name: parse_night(night)
        for name, night in (("first", options.first), ("last", options.last))
        if night is not None
    }
    print(f"nights put on the dashboard: {backfill(options.product, **limits)}")


def _review(options: argparse.Namespace) -> None:
    from flows.commands.review import review_night
    from reconad_plugin.config import parse_night

    review_night(options.product, parse_night(options.night), options.normal, options.defect)


if __name__ == "__main__":
    sys.exit(main())
