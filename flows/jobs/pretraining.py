"""One pretraining of what DSR stands on, from pixels to a registered version, whoever asked."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd
from pydantic import ValidationError
from torch import Generator, Tensor

from flows.jobs.progress import progress_bar
from flows.jobs.training_job import CHECKPOINTS
from mlflow_models import registry
from mlflow_models.foundation import VQ_HASH_TAG, log_vq, registered_name
from mlflow_models.tracking import TrainingRecord
from reconad_plugin.config import ProductSettings, TrainingSettings, in_one_line
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.ledger.splits import CALIBRATION, TRAIN
from reconad_plugin.networks.quantiser import CodebookUse
from reconad_plugin.networks.registry import model_spec
from reconad_plugin.networks.vq import VqAutoencoder
from reconad_plugin.plots.figures import plot_loss, plot_reconstructions
from reconad_plugin.store.mirror import hashes_of_textures
from reconad_plugin.training.checkpoint import remove_checkpoint
from reconad_plugin.training.fit import check_device, textures_of
from reconad_plugin.training.pretrain import VqReport, hash_vq, pretrain_vq
from reconad_plugin.training.vq import draw_imagery

MODEL: Final = "dsr"  # whose widths count
PURPOSE: Final = "pretrain"
PICTURES: Final = 6  # of each kind, in the plot


@dataclass(frozen=True)
class Pretraining:
    """What a pretraining needs and what is noted about it.

    Attributes:
        name: the registered model is ``reconad-vq-<name>``.
        settings: image size, width, seed and training; see ``pretraining_settings``.
        table: ``uri``, ``sha256`` and ``split`` of every image.
        load: split -> its pixels, (N, 3, S, S) uint8.
        sources: address -> table of images there; the run's dataset inputs.
    """

    name: str
    settings: ProductSettings
    table: pd.DataFrame
    load: Callable[[str], Tensor]
    sources: Mapping[str, pd.DataFrame]

    @property
    def request(self) -> str:
        """A hash of everything that decides the weights; the name of the checkpoint."""
        content = {
            "purpose": PURPOSE,
            "name": self.name,
            "images": sorted(self.table["sha256"] + self.table["split"]),
            "settings": self.settings.model_dump(mode="json"),
            "textures": hashes_of_textures(self.settings.train.textures),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Pretrained:
    """A registered version with what led to it."""

    version: registry.Version
    network: VqAutoencoder
    report: VqReport
    sha256: str


def pretraining_settings(
    width: str | None, image_size_px: int, seed: int, training: Mapping[str, object]
) -> ProductSettings:
    """Validate what is asked for.

    Args:
        width: of DSR; its least where None.
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


def pretrain_and_log(job: Pretraining, device: str = "cpu") -> Pretrained:
    """Pretrain, or go on with the same pretraining after a kill; log and register the version.

    Raises:
        NotEnoughImagesError: fewer images than a product needs.
        CodebookCollapsedError: a codebook is hardly used.
    """
    check_device(device)
    settings = job.settings
    product = registered_name(job.name)
    if len(job.table) < settings.min_training_images:
        raise NotEnoughImagesError(
            f"pretraining needs at least {settings.min_training_images} normal images; got "
            f"{len(job.table)}: bring more, of this or of other products"
        )
    registry.versions(product)  # MLflow must answer before the training and not after it
    folder = CHECKPOINTS / job.request[:16]
    textures = textures_of(settings.train, settings.image_size_px)
    images, held_out = job.load(TRAIN), job.load(CALIBRATION)
    sizes = model_spec(MODEL).foundation_sizes(settings.width)
    title = f"{PURPOSE} {job.name}"
    with progress_bar(title) as on_progress:
        network, report = pretrain_vq(
            images,
            held_out,
            textures,
            settings.train,
            settings.seed,
            sizes,
            device,
            checkpoint_folder=folder,
            on_progress=on_progress,
        )
    sha256 = hash_vq(network)
    shown = (held_out if len(held_out) else images)[:PICTURES].float() / 255
    imagery = draw_imagery(len(shown), textures, Generator().manual_seed(settings.seed))
    version = log_vq(
        TrainingRecord(
            product=product,
            run_name=title,
            params={
                **dict(settings.train),
                **sizes,
                "width": settings.width,
                "image_size_px": settings.image_size_px,
                "seed": settings.seed,
                "purpose": PURPOSE,
                "planned_steps": report.training.planned_steps,
                "ended_by": report.training.ended_by,
                "images_train": len(images),
                "images_held_out": len(held_out),
            },
            metrics={
                "elapsed_s": report.training.elapsed_s,
                "steps": report.training.steps,
                "resumed_step": report.training.resumed_step,
                **_figures(report),
            },
            curve=report.training.curve,
            sources=job.sources,
            learnt=job.table,
            figures={
                "loss.png": plot_loss(report.training.curve, title),
                "reconstructions.png": plot_reconstructions(network, shown, imagery, title),
            },
            tags={
                registry.REQUEST_TAG: job.request,
                registry.PURPOSE_TAG: PURPOSE,
                VQ_HASH_TAG: sha256,
                **{f"reconad.{name}": f"{value:.4g}" for name, value in _figures(report).items()},
            },
        ),
        network,
    )
    remove_checkpoint(folder)  # not before: a kill while logging must not lose the training
    return Pretrained(version, network, report, sha256)


def _figures(report: VqReport) -> dict[str, float]:
    def of(level: str, use: CodebookUse) -> dict[str, float]:
        return {f"{level}_perplexity": use.perplexity, f"{level}_usage": use.used / use.size}

    figures = {"psnr_db": report.psnr_db, "ssim": report.ssim}
    return {**of("coarse", report.coarse), **of("fine", report.fine), **figures}
