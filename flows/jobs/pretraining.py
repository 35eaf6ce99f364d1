"""One pretraining of a foundation, from images to a registered version, whoever asked."""

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from flows.jobs.progress import progress_bar
from flows.jobs.training_job import PICTURES, TrainingJob, TrainingRun
from mlflow_models import registry
from mlflow_models.foundation import HASH_TAG, log_foundation
from mlflow_models.tracking import TrainingRecord
from reconad_plugin.config import ProductSettings, TrainingSettings, in_one_line
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.networks.base import FoundationNetwork, hash_weights
from reconad_plugin.networks.registry import model_spec
from reconad_plugin.plots.figures import plot_loss, plot_reconstructions
from reconad_plugin.training.checkpoint import remove_checkpoint
from reconad_plugin.training.fit import check_device, textures_of
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import RunOptions
from reconad_plugin.training.report import FoundationReport

MODEL: Final = "dsr"  # whose foundation is trained, and whose widths count


def pretraining_settings(
    width: str | None, image_size_px: int, seed: int, training: Mapping[str, object]
) -> ProductSettings:
    """Validate what is asked for.

    Args:
        width: of the model that is to stand on it; its least where None.
        image_size_px: side of the square.
        seed: of first weights, order, variation and patterns.
        training: fields of ``TrainingSettings``.

    Raises:
        ConfigError: a rule is broken.
    """
    try:
        return ProductSettings(
            model=MODEL,
            width=width,
            image_size_px=image_size_px,
            seed=seed,
            train=TrainingSettings.model_validate(training),
        )
    except ValidationError as error:
        raise ConfigError(in_one_line(error)) from None


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
        raise ConfigError(f"a foundation is pretrained for a model that has one; got {MODEL}")
    if len(job.images) < settings.min_training_images:
        raise NotEnoughImagesError(
            f"pretraining needs at least {settings.min_training_images} normal images; got "
            f"{len(job.images)}: bring more, of this or of other products"
        )
    registry.versions(job.product)  # MLflow must answer before the training and not after it
    folder = job.checkpoint_folder
    images = job.load()
    with progress_bar(job.title) as on_progress:
        network, report = spec.foundation.pretrain(
            images.train,
            images.calibration,
            textures_of(job.training, settings.image_size_px),
            job.training,
            settings.seed,
            spec.foundation_sizes(settings.width),
            RunOptions(device, checkpoint_folder=folder, on_progress=on_progress),
        )
    version = log_foundation(_record(job, images, network, report), network)
    remove_checkpoint(folder)  # not before: a kill while logging must not lose the training
    return TrainingRun(version, network, report)


def _record(
    job: TrainingJob,
    images: NormalImages,
    network: FoundationNetwork,
    report: FoundationReport,
) -> TrainingRecord:
    training, settings, figures = report.training, job.settings, _figures(report)
    shown = images.calibration if len(images.calibration) else images.train
    normal = shown[:PICTURES].float() / 255
    every = max(1, len(report.unrelated) // len(normal))
    return job.record(
        params={
            **dict(job.training),
            **network.sizes,
            "width": settings.width,
            "image_size_px": settings.image_size_px,
            "seed": settings.seed,
            "planned_steps": training.planned_steps,
            "ended_by": training.ended_by,
            "images_train": len(images.train),
            "images_held_out": len(images.calibration),
        },
        metrics={
            "elapsed_s": training.elapsed_s,
            "steps": training.steps,
            "resumed_step": training.resumed_step,
            **figures,
        },
        curve=training.curve,
        figures={
            "loss.png": plot_loss(training.curve, job.title),
            "reconstructions.png": plot_reconstructions(
                network, normal, report.unrelated[::every][: len(normal)], job.title
            ),
        },
        tags={
            HASH_TAG: hash_weights(network),
            **{f"reconad.{name}": f"{value:.4g}" for name, value in figures.items()},
        },
    )


def _figures(report: FoundationReport) -> dict[str, float]:
    figures = {"psnr_db": report.psnr_db, "ssim": report.ssim}
    for level, use in report.codebooks.items():
        figures[f"{level}_perplexity"] = use.perplexity
        figures[f"{level}_usage"] = use.used / use.size
    return figures
