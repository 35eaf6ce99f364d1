"""A version with engines in it: what it needs of images, and where it goes."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flows.jobs.by_hand import registered_product
from flows.jobs.learnt_images import fetch_image
from flows.jobs.product import open_product
from mlflow_models import flavor, registry, version_tags
from mlflow_models.tracking import read_training_images, run_of, tags_of
from mlflow_models.version_names import number_of
from reconad_plugin.config.settings import load_settings, settings_path
from reconad_plugin.detector.detector import TORCH, Detector
from reconad_plugin.detector.engine import engine_kind
from reconad_plugin.detector.engine_export import (
    MOST_LEARNT,
    EngineFigures,
    ExportImages,
    compare,
    export_engine,
)
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.gate.golden import GoldenSet, read_golden, simulated_golden_set
from reconad_plugin.gate.limits import LIMITS
from reconad_plugin.images.folder import ImageFolder
from reconad_plugin.ledger.splits import CALIBRATION, TRAIN
from reconad_plugin.store.golden_images import read_golden_images
from reconad_plugin.store.mirror import hash_file, load_files, open_source

SIMULATED_ON_IMAGES: Final = 100  # held-out ones, where there are no labelled defects


@dataclass(frozen=True)
class ExportJob:
    """What is asked for."""

    model_uri: str
    engines: Sequence[str]  # by name
    data: str | None = None  # address of labelled images, and of normal ones that are gone
    out: Path | None = None  # where the model goes as a folder
    registers: bool = False  # whether it becomes a new version


@dataclass(frozen=True)
class Export:
    """What came of it."""

    figures: tuple[EngineFigures, ...]  # of each engine
    anomalies: str  # what the figures are of: ``labelled``, ``golden`` or ``simulated``
    model_uri: str | None  # of the new version, if it was asked for


def export(job: ExportJob) -> Export:
    """Export a version to engines, and compare each with PyTorch.

    Raises:
        ConfigError: there is no such engine, it may not serve, or this machine cannot make it.
        NotEnoughImagesError: images that the version learnt from are gone.
    """
    kinds = [engine_kind(name) for name in dict.fromkeys(job.engines)]
    product = registered_product(job.model_uri)
    if job.registers and product is None:
        raise ConfigError(
            "--register needs a registered version, such as models:/reconad-screw/3; got "
            f"{job.model_uri}: give --out in its place"
        )
    if job.out is not None and job.out.exists() and (job.out.is_file() or any(job.out.iterdir())):
        raise ConfigError(f"--out must be a folder that is empty or not there; got {job.out}")
    detector = flavor.load_calibrated(job.model_uri, engine=TORCH)
    folder = None if job.data is None else open_source(job.data)
    images, anomalies = _load_images(detector, job.model_uri, folder)
    figures = []
    with tempfile.TemporaryDirectory() as name:
        for kind in kinds:
            engined = export_engine(detector, kind, images, Path(name))
            figures.append(compare(detector, engined, images, time.process_time))
            if refusal := figures[-1].refusal:
                raise ConfigError(f"{kind.name} may not serve: {refusal}; nothing was written")
        uri = _save(job, detector, Path(name), product)
    return Export(tuple(figures), anomalies, uri)


def _save(job: ExportJob, detector: Detector, engines: Path, product: str | None) -> str | None:
    """Write the model with its engines where it is asked for; return the new version's address."""
    tags = version_tags.export_tags(tags_of(job.model_uri), job.engines)
    if job.out is not None:
        flavor.save_model(detector, str(job.out), metadata=tags, engines=engines)
    if not job.registers or product is None:
        return None
    tags |= version_tags.exported_from_tags(number_of(job.model_uri))
    run_id = run_of(job.model_uri)  # its list of images is that of the new version too
    info = flavor.log_model(detector, metadata=tags, engines=engines, run_id=run_id)
    return registry.register(product, info, tags).uri


def _load_images(
    detector: Detector, model_uri: str, folder: ImageFolder | None
) -> tuple[ExportImages, str]:
    """Load what an export needs, and say what its anomalies are."""
    learnt = read_training_images(model_uri)
    here = {} if folder is None else {hash_file(path): path for path in folder.train}
    train, held_out = (learnt[learnt["split"] == split] for split in (TRAIN, CALIBRATION))
    train = train.iloc[:: -(-len(train) // MOST_LEARNT)]

    def load(paths: Sequence[Path]) -> NDArray[np.uint8]:
        return load_files(list(paths), detector.image_size_px, detector.limits)

    normal = load(_find(held_out, here))
    labelled = [] if folder is None else list(folder.test)
    good = load([file.path for file in labelled if file.is_normal])
    if folder is not None and _has_defects(folder):
        anomalies, bad = "labelled", load([file.path for file in labelled if not file.is_normal])
    elif golden := _read_golden(registered_product(model_uri), set(learnt["sha256"]), detector):
        anomalies, bad = "golden", golden.anomalous
        good = np.concatenate([good, golden.normal])
    else:
        chosen = normal[:: -(-len(normal) // SIMULATED_ON_IMAGES)]
        names = [str(number) for number in range(len(chosen))]
        simulated = simulated_golden_set(chosen, names, [""] * len(names), 0, detector.region)
        anomalies, bad = "simulated", simulated.anomalous
    return ExportImages(load(_find(train, here)), normal, good, bad), anomalies


def _read_golden(product: str | None, learnt: set[str], detector: Detector) -> GoldenSet | None:
    """Read the golden set of a version's product; None where the settings do not know the product,
    or it has too few defects."""
    if product is None or not settings_path().exists() or product not in load_settings().products:
        return None
    opened = open_product(product)
    images = read_golden_images(opened.store, opened.cache, opened.layout, opened.limits)
    golden = read_golden(images, detector.image_size_px, opened.intake_limits, fitted_to=learnt)
    if golden is None or len(golden.anomalous) < LIMITS.fewest_followed:
        return None
    return golden


def _has_defects(folder: ImageFolder) -> bool:
    return any(not file.is_normal for file in folder.test)


def _find(learnt: pd.DataFrame, here: dict[str, Path]) -> list[Path]:
    """Find images that a version learnt from.

    Raises:
        NotEnoughImagesError: some are gone.
    """
    names = zip(learnt["uri"], learnt["sha256"], strict=True)
    found = [here.get(sha256) or fetch_image(uri, sha256) for uri, sha256 in names]
    paths = [path for path in found if path is not None]
    if len(paths) < len(found):
        raise NotEnoughImagesError(
            "an export scores the normal images that the version's thresholds rest on; "
            f"{len(found) - len(paths)} of {len(found)} are gone or changed: give a folder that "
            "has them with --data"
        )
    return paths
