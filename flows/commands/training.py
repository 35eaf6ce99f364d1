"""What ``train`` and ``finetune`` share: checked settings, and what is said of a training."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from flows.commands.json_file import write_json
from flows.jobs.training_job import TrainingRun
from reconad_plugin.config import in_one_line
from reconad_plugin.detector.detector import Detector
from reconad_plugin.errors import ConfigError
from reconad_plugin.training.report import TrainingReport

Settings = TypeVar("Settings", bound=BaseModel)


def checked(settings: type[Settings], values: dict[str, object]) -> Settings:
    """Build settings of what was typed.

    Raises:
        ConfigError: a rule is broken.
    """
    try:
        return settings(**values)
    except ValidationError as error:
        raise ConfigError(in_one_line(error)) from None


def report_training(run: TrainingRun[Detector, TrainingReport], file: Path | None) -> None:
    """Print what came of a training, and write it as JSON where a file is given."""
    report, detector = run.report, run.model
    calibration = detector.calibration
    result = {
        "model_uri": run.version.uri,
        "run_id": run.version.run_id,
        "model": detector.model,
        "architecture": detector.architecture,
        "parameters": sum(value.numel() for value in detector.network.parameters()),
        "image_size_px": detector.image_size_px,
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
    print(run.version.uri)
    write_json(result, file)  # last: should the disk be full, the version's name has been said
