"""One training from pixels to a registered version, whoever asked for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

from flows.jobs.progress import progress_bar
from mlflow_models import registry
from mlflow_models.foundation import vq_tags
from mlflow_models.tracking import TrainingRecord, log_training
from reconad_plugin.config import ProductSettings, TrainingSettings
from reconad_plugin.detector.calibration import threshold_warning
from reconad_plugin.detector.detector import Detector
from reconad_plugin.networks.vq import VqAutoencoder
from reconad_plugin.plots.figures import plot_loss, plot_maps
from reconad_plugin.training.checkpoint import remove_checkpoint
from reconad_plugin.training.fit import NormalImages, fit_detector
from reconad_plugin.training.loop import TrainingReport

PICTURES: Final = 6  # in the plot of maps
CHECKPOINTS: Final = Path(".reconad/checkpoints")
_STEPS_OF: Final = ("train", "finetune")  # product settings that are logged as the training's own


@dataclass(frozen=True)
class Fitting:
    """What a training needs and what is noted about it.

    Attributes:
        product: whose model it becomes.
        settings: of the product.
        training: steps, budget, rate, variations.
        images: pixels by what they are for.
        request: hash of everything that decides the weights; the name of its checkpoint.
        purpose: ``train`` or ``finetune``.
        run_name: as the list of runs shows it.
        base: the detector to start from, or None.
        base_version: its name, or ``none``.
        sources: address -> table of images there; the run's dataset inputs.
        learnt: ``uri``, ``sha256`` and ``split`` of every image, so that a fine-tuning can
            rehearse them.
        tags: of the run and of the version.
        vq: what DSR is to stand on, where it is given.
    """

    product: str
    settings: ProductSettings
    training: TrainingSettings
    images: NormalImages
    request: str
    purpose: str
    run_name: str
    base: Detector | None
    base_version: str
    sources: Mapping[str, pd.DataFrame]
    learnt: pd.DataFrame
    tags: Mapping[str, str] = field(default_factory=dict)
    vq: VqAutoencoder | None = None


@dataclass(frozen=True)
class Fitted:
    """A registered version with what led to it."""

    version: registry.Version
    detector: Detector
    report: TrainingReport


def fit_and_log(job: Fitting, device: str = "cpu", checkpoints: Path = CHECKPOINTS) -> Fitted:
    """Train, or go on with the same training after a kill; log and register the version."""
    folder = checkpoints / job.request[:16]
    title = f"{job.purpose} {job.product}"
    with progress_bar(title) as on_progress:
        detector, report = fit_detector(
            job.images,
            job.settings,
            job.training,
            job.base,
            device,
            checkpoint_folder=folder,
            on_progress=on_progress,
            vq=job.vq,
        )
    shown = job.images.calibration[:PICTURES]
    calibration = detector.calibration
    record = TrainingRecord(
        product=job.product,
        run_name=job.run_name,
        params={
            **{name: value for name, value in job.settings if name not in _STEPS_OF},
            **dict(job.training),
            "geometric_augmentation": report.geometry,
            "purpose": job.purpose,
            "planned_steps": report.planned_steps,
            "ended_by": report.ended_by,
            "images_train": len(job.images.train),
            "images_calibration": len(job.images.calibration),
            "base_version": job.base_version,
            **{name.removeprefix("reconad."): value for name, value in vq_tags(job.tags).items()},
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
        sources=job.sources,
        learnt=job.learnt,
        figures={
            "loss.png": plot_loss(report.curve, title),
            "maps.png": plot_maps(
                detector, shown, ["held-out normal"] * len(shown), "Held-out normal images"
            ),
        },
        tags={
            registry.REQUEST_TAG: job.request,
            registry.PURPOSE_TAG: job.purpose,
            **job.tags,
        },
    )
    version = log_training(record, detector)
    remove_checkpoint(folder)  # not before: a kill while logging must not lose the training
    return Fitted(version, detector, report)


def warning_of(detector: Detector) -> str | None:
    """What to tell whoever trains, where the threshold is worth less than was asked for."""
    return threshold_warning(detector.calibration)
