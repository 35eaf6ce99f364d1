"""One training of a detector, from a job to a registered version."""

from typing import Final

from flows.jobs.progress import progress_bar
from flows.jobs.training_job import PICTURES, TrainingJob, TrainingRun
from mlflow_models.tracking import TrainingRecord, log_training
from reconad_plugin.detector.calibration import threshold_warning
from reconad_plugin.detector.detector import Detector
from reconad_plugin.plots.figures import plot_loss, plot_maps
from reconad_plugin.training.checkpoint import remove_checkpoint
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import RunOptions
from reconad_plugin.training.report import TrainingReport

_STEPS_OF: Final = ("train", "finetune")  # product settings that are logged as the training's own


def fit_and_log(job: TrainingJob, device: str = "cpu") -> TrainingRun[Detector, TrainingReport]:
    """Train a detector, or go on after a kill; log and register the version.

    Raises:
        NotEnoughImagesError: too few images.
        TrainingDivergedError: the loss is not a number.
        ConfigError: the device is not there, or the base is another model.
    """
    images = job.load()
    folder = job.checkpoint_folder
    with progress_bar(job.title) as on_progress:
        detector, report = fit_detector(
            images,
            job.settings,
            job.training,
            job.base.load() if job.base else None,
            job.foundation.network if job.foundation else None,
            RunOptions(device, checkpoint_folder=folder, on_progress=on_progress),
        )
    version = log_training(_record(job, images, detector, report), detector)
    remove_checkpoint(folder)  # not before: a kill while logging must not lose the training
    return TrainingRun(version, detector, report, threshold_warning(detector.calibration))


def _record(
    job: TrainingJob, images: NormalImages, detector: Detector, report: TrainingReport
) -> TrainingRecord:
    shown = images.calibration[:PICTURES]
    calibration = detector.calibration
    return job.record(
        params={
            **{name: value for name, value in job.settings if name not in _STEPS_OF},
            **dict(job.training),
            "geometric_augmentation": report.geometry,
            "planned_steps": report.planned_steps,
            "ended_by": report.ended_by,
            "images_train": len(images.train),
            "images_calibration": len(images.calibration),
            "base_version": job.base.name if job.base else "none",
            **{name.removeprefix("reconad."): tag for name, tag in job.foundation_tags.items()},
        },
        metrics={
            "elapsed_s": report.elapsed_s,
            "steps": report.steps,
            "best_step": report.best_step,
            "resumed_step": report.resumed_step,
            **{f"steps_{phase}": steps for phase, steps in report.phases.items()},
            "image_threshold": calibration.image_threshold,
            "supported_fpr": calibration.supported_fpr,
            "fpr_low": calibration.fpr_interval[0],
            "fpr_high": calibration.fpr_interval[1],
        },
        curve=report.curve,
        figures={
            "loss.png": plot_loss(report.curve, job.title),
            "maps.png": plot_maps(
                detector, shown, ["held-out normal"] * len(shown), "Held-out normal images"
            ),
        },
        tags={},
    )
