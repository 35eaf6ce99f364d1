"""What commands by hand take from the command line, print, and write as JSON."""

import argparse
import logging
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from flows.commands.json_file import check_writable, write_json
from flows.jobs import by_hand
from flows.jobs.training_job import Fitted
from reconad_plugin.config import FinetuneSettings, ProductSettings, TrainingSettings, in_one_line
from reconad_plugin.errors import ConfigError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
FINETUNE_BUDGET_S = 300.0


os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)


def run_train(options: argparse.Namespace) -> None:
    """``reconad train``."""
    check_writable(options.json)
    settings = _checked(
        ProductSettings,
        model=options.model,
        width=options.width,
        options=dict(_option(text) for text in options.option),
        image_size_px=options.image_size,
        seed=options.seed,
        vq=options.vq,
        train=_checked(TrainingSettings, **_training(options)),
    )
    _report(by_hand.train(options.data, options.product, settings, options.device), options.json)


def run_finetune(options: argparse.Namespace) -> None:
    """``reconad finetune``."""
    check_writable(options.json)
    asked = _training(options)
    if asked["steps"] is None and asked["budget_s"] is None:
        asked["budget_s"] = FINETUNE_BUDGET_S
    training = _checked(FinetuneSettings, **asked)
    fitted = by_hand.finetune(
        options.model_uri, options.data, options.product, training, options.seed, options.device
    )
    _report(fitted, options.json)


def run_evaluate(options: argparse.Namespace) -> None:
    """``reconad evaluate``."""
    check_writable(options.json)
    evaluation = by_hand.evaluate(options.model_uri, options.data, options.protocol)
    figures = asdict(evaluation)
    table = Table("figure", "value", title=escape(f"{options.model_uri} on {options.data}"))
    table.add_row("protocol", evaluation.protocol)
    for name, value in figures.items():
        if isinstance(value, float):
            table.add_row(name, f"{value:.4f}")
        elif isinstance(value, tuple):
            table.add_row(name, " to ".join(f"{limit:.4f}" for limit in value))
        elif value is None:
            table.add_row(name, "no masks")
    by_defect = Table("defect", "images", "image_AUROC", "recall")
    for label, defect in evaluation.defects.items():
        by_defect.add_row(
            escape(label), str(defect.images), f"{defect.image_AUROC:.4f}", f"{defect.recall:.3f}"
        )
    console = Console()
    console.print(table)
    console.print(by_defect)
    console.print(evaluation.threshold_check, highlight=False)
    write_json({"model_uri": options.model_uri, "data": options.data, **figures}, options.json)


def run_predict(options: argparse.Namespace) -> None:
    """``reconad predict``."""
    check_writable(options.json)
    predictions = by_hand.predict(options.model_uri, options.images, options.maps)
    rows = [
        {"image": str(path), **asdict(prediction), "anomaly_map": None}
        for path, prediction in zip(options.images, predictions, strict=True)
    ]
    for row in rows:
        del row["anomaly_map"]
    image = Column("image", overflow="fold")  # a name is never cut
    table = Table(image, "pred_score", "label", "p_value")
    for row in rows:
        if row["error"] is not None:
            table.add_row(escape(str(row["image"])), "-", escape(str(row["error"])), "-")
            continue
        label = "anomalous" if row["pred_label"] else "normal"
        score, p_value = f"{row['pred_score']:.4f}", f"{row['p_value']:.4f}"
        table.add_row(escape(str(row["image"])), score, label, p_value)
    Console().print(table)
    write_json({"model_uri": options.model_uri, "predictions": rows}, options.json)


def parse_budget(text: str) -> float:
    """``90s``, ``15m``, ``1h`` or plain seconds -> seconds.

    Raises:
        ConfigError: it is none of these, or not above 0.

    Example:
        >>> parse_budget("15m"), parse_budget("90")
        (900.0, 90.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    seconds = float(found.group(1)) * _UNITS[found.group(2)] if found else 0.0
    if not seconds > 0:
        raise ConfigError(f"a budget must be a time above 0, such as 90s, 15m or 1h; got {text!r}")
    return seconds


def _training(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "steps": options.steps,
        "budget_s": None if options.budget is None else parse_budget(options.budget),
        "learning_rate": options.learning_rate,
        "batch_size": options.batch_size,
        "light_augmentation": options.vary_light,
        "geometric_augmentation": options.geometry,
        "preset": options.preset,
        "textures": options.textures,
    }


def _option(text: str) -> tuple[str, bool | float]:
    name, _, value = text.partition("=")
    if value in ("true", "false"):
        return name, value == "true"
    try:
        return name, float(value)
    except ValueError:
        raise ConfigError(
            f"an option must be NAME=VALUE with true, false or a number; got {text!r}"
        ) from None


def _checked(settings: Any, **values: Any) -> Any:
    try:
        return settings(**values)
    except ValidationError as error:
        raise ConfigError(in_one_line(error)) from None


def _report(fitted: Fitted, file: Path | None) -> None:
    report, calibration = fitted.report, fitted.detector.calibration
    result = {
        "model_uri": fitted.version.uri,
        "run_id": fitted.version.run_id,
        "model": fitted.detector.model,
        "architecture": fitted.detector.architecture,
        "parameters": sum(value.numel() for value in fitted.detector.network.parameters()),
        "image_size_px": fitted.detector.image_size_px,
        "steps": report.steps,
        "planned_steps": report.planned_steps,
        "best_step": report.best_step,
        "resumed_step": report.resumed_step,
        "ended_by": report.ended_by,
        "geometry": report.geometry,
        "phases": report.phases,
        "elapsed_s": report.elapsed_s,
        "images_calibration": len(calibration.normal_scores),
        "image_threshold": calibration.image_threshold,
        "supported_fpr": calibration.supported_fpr,
        "fpr_interval": calibration.fpr_interval,
        "pixel_threshold": calibration.pixel_threshold,
    }
    if report.resumed_step:
        print(f"went on from step {report.resumed_step}")
    if report.geometry != "none":
        print(f"pictures were varied too: {report.geometry} (--geometry none leaves that out)")
    print(f"{report.steps} steps in {report.elapsed_s:.0f} s, ended by {report.ended_by}")
    print(fitted.version.uri)
    write_json(result, file)  # last: should the disk be full, the version's name has been said
