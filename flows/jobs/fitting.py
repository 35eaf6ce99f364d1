"""One training, or one pretraining of a foundation: from a job to a registered version."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from flows.jobs.engine_beside import engine_beside
from flows.jobs.progress import progress_bar
from flows.jobs.training_job import PICTURES, TrainingJob, TrainingRun, checked
from mlflow_models import version_tags
from mlflow_models.foundation import log_foundation, weights_tag
from mlflow_models.tracking import TrainingRecord, check_ready, log_training
from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.calibration import threshold_warning
from reconad_plugin.detector.detector import Detector
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.networks.base import FoundationNetwork
from reconad_plugin.networks.registry import founded_model, model_spec
from reconad_plugin.plots.figures import plot_loss, plot_maps, plot_reconstructions
from reconad_plugin.store.mirror import local_folder
from reconad_plugin.training.checkpoint import remove_checkpoint
from reconad_plugin.training.environment import describe_environment
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import RunOptions
from reconad_plugin.training.network_fit import check_device, textures_of
from reconad_plugin.training.report import FoundationReport, TrainingReport

# product settings that are logged as the training's own, as the share of the picture that they
# cover, or by the hash of their file
_LOGGED_APART: Final = ("train", "finetune", "regions", "lens")


def fit_and_log(job: TrainingJob, device: str = "cpu") -> TrainingRun[Detector, TrainingReport]:
    """Train a detector, or go on after a kill; log and register the version.

    Raises:
        NotEnoughImagesError: too few images.
        StorageError: the bucket of the textures cannot be read.
        TrainingDivergedError: the loss is not a number.
        ConfigError: the device is not there, or the base is another model.
    """
    check_ready(job.product)  # before the training and not after it
    images = replace(job.load(), lens=job.lens)
    with progress_bar(job.title) as on_progress:
        detector, report = fit_detector(
            images,
            job.settled,
            with_local_textures(job.training),
            job.base.load() if job.base else None,
            job.foundation.network if job.foundation else None,
            RunOptions(device, checkpoint_folder=job.checkpoint_folder, on_progress=on_progress),
            job.region,
        )
    record = _record(job, images, detector, report, device)
    with engine_beside(detector, images, job.settings.engine) as engines:
        if engines is not None:
            tags = version_tags.engine_tags([job.settings.engine])
            record = replace(record, tags={**record.tags, **tags})
        version = log_training(record, detector, engines)
    remove_checkpoint(job.checkpoint_folder)  # not before: a kill while logging must lose nothing
    return TrainingRun(version, detector, report, threshold_warning(detector.calibration))


def pretraining_settings(
    width: str | None,
    image_size_px: int | str,
    seed: int,
    training: Mapping[str, object],
    limits: Mapping[str, object] | None = None,
) -> ProductSettings:
    """Validate what is asked for: the width of the model that is to stand on it, its least where
    None, fields of ``TrainingSettings``, and fields of ``ProductSettings`` on sizes of pictures.

    Raises:
        ConfigError: a rule is broken.
    """
    asked = {"width": width, "image_size_px": image_size_px, "seed": seed}
    train = checked(TrainingSettings, training)
    return checked(
        ProductSettings, {"model": founded_model(), **asked, "train": train, **(limits or {})}
    )


def pretrain_and_log(
    job: TrainingJob, device: str = "cpu"
) -> TrainingRun[FoundationNetwork, FoundationReport]:
    """Pretrain, or go on with the same pretraining after a kill; log and register the version.

    Raises:
        NotEnoughImagesError: fewer images than a product needs.
        CodebookCollapsedError: a codebook is hardly used.
    """
    check_device(device)
    settings, spec = job.settings, model_spec(job.settings.model)
    if spec.foundation is None:
        raise ConfigError(f"the model must be one that stands on another; got {settings.model}")
    if len(job.images) < settings.min_training_images:
        raise NotEnoughImagesError(
            f"pretraining needs at least {settings.min_training_images} normal images; got "
            f"{len(job.images)}: bring more, of this or of other products"
        )
    check_ready(job.product)
    images = job.load()
    training = with_local_textures(job.training)
    with progress_bar(job.title) as on_progress:
        network, report = spec.foundation.pretrain(
            images.train,
            images.calibration,
            textures_of(training, job.settled.image_size),
            training,
            settings.seed,
            spec.foundation_sizes(settings.width),
            RunOptions(device, checkpoint_folder=job.checkpoint_folder, on_progress=on_progress),
        )
    version = log_foundation(_foundation_record(job, images, network, report), network)
    remove_checkpoint(job.checkpoint_folder)  # not before, as above
    return TrainingRun(version, network, report)


def with_local_textures(training: TrainingSettings) -> TrainingSettings:
    """Name the folder of this machine that an address of textures is copied to."""
    if training.textures is None:
        return training
    return training.model_copy(update={"textures": str(local_folder(training.textures))})


def _record(
    job: TrainingJob,
    images: NormalImages,
    detector: Detector,
    report: TrainingReport,
    device: str,
) -> TrainingRecord:
    shown = images.calibration[:PICTURES]
    titles = ["held-out normal"] * len(shown)
    calibration, contexts = detector.calibration, detector.known_contexts
    return job.record(
        params={
            **{name: value for name, value in job.settings if name not in _LOGGED_APART},
            "image_size_px": job.settled.image_size.setting,
            **dict(job.training),
            "geometric_augmentation": report.geometry,
            "planned_steps": report.planned_steps,
            "ended_by": report.ended_by,
            "images_train": len(images.train),
            "images_calibration": len(images.calibration),
            "base_version": job.base.name if job.base else "none",
            **({"base_run": job.base.run_id} if job.base else {}),
            **({"images_filling": len(job.fillings)} if len(job.fillings) else {}),
            **({"region_share": job.region.share} if job.region else {}),
            **({"lens_sha256": job.lens.sha256} if job.lens else {}),
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
            "maps.png": plot_maps(detector, shown.numpy(), titles, "Held-out normal images"),
        },
        tags=version_tags.result_tags(
            describe_environment(device), None if contexts is None else contexts.false_alarms
        ),
    )


def _foundation_record(
    job: TrainingJob, images: NormalImages, network: FoundationNetwork, report: FoundationReport
) -> TrainingRecord:
    training, settings = job.training, job.settings
    figures = {"psnr_db": report.psnr_db, "ssim": report.ssim}
    for level, use in report.codebooks.items():
        figures[f"{level}_perplexity"] = use.perplexity
        figures[f"{level}_usage"] = use.used / use.size
    shown = images.calibration if len(images.calibration) else images.train
    normal = shown[:PICTURES].float() / 255
    unrelated = report.unrelated[:: max(1, len(report.unrelated) // len(normal))][: len(normal)]
    return job.record(
        params={
            **dict(training),
            **network.sizes,
            "width": settings.width,
            "image_size_px": job.settled.image_size.setting,
            "seed": settings.seed,
            "planned_steps": report.training.planned_steps,
            "ended_by": report.training.ended_by,
            "images_train": len(images.train),
            "images_held_out": len(images.calibration),
        },
        metrics={
            "elapsed_s": report.training.elapsed_s,
            "steps": report.training.steps,
            "resumed_step": report.training.resumed_step,
            **figures,
        },
        curve=report.training.curve,
        figures={
            "loss.png": plot_loss(report.training.curve, job.title),
            "reconstructions.png": plot_reconstructions(network, normal, unrelated, job.title),
        },
        tags={
            **weights_tag(network),
            **{f"reconad.{name}": f"{value:.4g}" for name, value in figures.items()},
        },
    )
