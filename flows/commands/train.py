"""``reconad train``, and what ``reconad finetune`` shares with it."""

from pathlib import Path
from typing import Final

from flows.commands.json_file import check_writable, write_json
from flows.commands.options_by_hand import TrainOptions
from flows.commands.parse import parse_option
from flows.jobs import by_hand
from flows.jobs.training_job import TrainingRun, checked
from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.torch_engine import count_parameters
from reconad_plugin.training.report import TrainingReport

_OF_THE_REPORT: Final = (
    "steps planned_steps best_step resumed_step ended_by geometry phases elapsed_s"
)


def run(options: TrainOptions) -> None:
    """Train on a folder of normal images."""
    check_writable(options.json)
    asked = {
        "model": options.model,
        "width": options.width,
        "options": dict(parse_option(text) for text in options.option),
        "image_size_px": options.image_size,
        "windows": options.windows,
        "seed": options.seed,
        "vq": options.vq,
        "features": options.features,
        "witness": options.witness,
        "witness_image_size_px": options.witness_image_size,
        "lens": options.lens,
        "part_pattern": options.part_pattern,
        "position_pattern": options.position_pattern,
        "contexts": options.position_pattern is not None,
        "split_by": "time",  # a folder has an order, and nobody says what else tells its parts
        "train": checked(TrainingSettings, options.training),
        **options.limits,
    }
    settings = checked(ProductSettings, asked)
    trained = by_hand.train(options.data, options.product, settings, options.device, options.region)
    report_training(trained, options.json)


def report_training(run: TrainingRun[Detector, TrainingReport], file: Path | None) -> None:
    """Print what came of a training, and write it as JSON where a file is given."""
    report, detector = run.report, run.model
    calibration = detector.calibration
    result = {
        "model_uri": run.version.uri,
        "run_id": run.version.run_id,
        "model": detector.model,
        "architecture": detector.architecture,
        "witness": None if detector.witness is None else detector.witness.detector.model,
        "parameters": count_parameters(detector),
        "image_size_px": detector.network_size_px.setting,
        **{name: getattr(report, name) for name in _OF_THE_REPORT.split()},
        "images_calibration": len(calibration.normal_scores),
        "image_threshold": calibration.image_threshold,
        "supported_fpr": calibration.supported_fpr,
        "fpr_interval": calibration.fpr_interval,
        "pixel_threshold": calibration.pixel_threshold,
    }
    try:
        write_json(result, file)
    finally:  # should the disk be full, the version's name is said all the same
        if report.resumed_step:
            print(f"went on from step {report.resumed_step}")
        if report.geometry != "none":
            print(f"pictures were varied too: {report.geometry} (--geometry none leaves that out)")
        print(f"{report.steps} steps in {report.elapsed_s:.0f} s, ended by {report.ended_by}")
        print(run.version.uri)
