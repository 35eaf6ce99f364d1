"""The training job of a version of nights, made again from what was noted of it.

The fingerprint shows whether it is the same job: it is a hash of all that decides the weights.
"""

from ast import literal_eval
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Final

import pandas as pd
from pydantic import BaseModel

from flows.jobs import training_job as jobs
from flows.jobs.defect_fillings import Fillings, choose_fillings
from flows.jobs.learnt_objects import fetch_objects, learnt_objects
from flows.jobs.ledger import see_history
from flows.jobs.nightly_training import (
    SizedTrainingSet,
    TrainingSet,
    load_pixels,
    with_textures,
)
from flows.jobs.product import Product
from mlflow_models import flavor, registry, version_tags
from mlflow_models.recorded import RecordedTraining
from mlflow_models.version_names import check_weights
from reconad_plugin.config.product import FinetuneSettings, ProductSettings, TrainingSettings
from reconad_plugin.detector.detector import TORCH, Detector
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.ledger.ledger import read_ledger
from reconad_plugin.ledger.manifest import camera_position
from reconad_plugin.ledger.splits import FILLING
from reconad_plugin.store.golden_images import read_golden_images
from reconad_plugin.watch.cause import NONE

_TABLES: Final = ("options",)  # settings that stand in a run as Python writes a table
_AS_NOW: Final = ("regions", "train", "finetune")  # settings that no run has


@dataclass(frozen=True)
class RecordedJob:
    """A training job as it was noted."""

    job: jobs.TrainingJob
    is_proven: bool  # whether its fingerprint is the one that the version has


def recorded_job(
    product: Product, version: registry.Version, recorded: RecordedTraining, learnt: Detector
) -> RecordedJob:
    """Make the job of a version again: its images by their hashes, its settings as they were.

    Args:
        product: as its settings are now; a place of this machine, such as that of textures, counts
            as it is now.
        version: of nights.
        recorded: what was noted of its training.
        learnt: the version, loaded.

    Raises:
        ConfigError: it was trained by hand, its base is gone, or a setting is not known any more.
        NotEnoughImagesError: images that it learnt from cannot be had any more.
    """
    if not version.night:
        raise ConfigError(
            f"a version is trained again from the manifests of its nights; {version.uri} was "
            "trained by hand: give `reconad train` the same folder again"
        )
    product = replace(product, settings=_settings_of(product.settings, recorded.params))
    base = _base_of(product.name, recorded)
    cause = NONE if base is None else version.cause
    chosen = _chosen(product, date.fromisoformat(version.night), recorded)
    training = _training_of(product, recorded.params, base is not None)
    training, textures = with_textures(product, training)
    whole = version_tags.picture_size_of(version.tags)
    size = version_tags.image_size_of(version.tags) or product.settings.image_size
    load = partial(
        load_pixels, SizedTrainingSet(chosen, whole or size), base is not None, cause, learnt.region
    )
    job = jobs.TrainingJob(
        product=product.name,
        purpose=version.purpose,
        run_name=f"{version.purpose} {version.night} again",
        settings=product.settings,
        training=training,
        images=chosen.rows,
        sources={},
        load=load,
        textures=textures,
        fillings=_all_fillings(chosen, recorded),
        base=base,
        foundation=jobs.named_foundation(product.settings) if base is None else None,
        cause=cause,
        region=learnt.region,
        lens=learnt.lens,
        image_size=size,
        picture_size=whole,
    )
    return _proven(job, version_tags.fingerprint_of(version.tags))


def _proven(job: jobs.TrainingJob, fingerprint: str) -> RecordedJob:
    """Find the job that a fingerprint is of: a run shows which way pictures were turned, also where
    the settings left that open."""
    auto = job.training.model_copy(update={"geometric_augmentation": "auto"})
    for each in (job, replace(job, training=auto)):
        if fingerprint in (each.fingerprint, each.square_fingerprint):
            return RecordedJob(each, is_proven=True)
    return RecordedJob(job, is_proven=False)


def _chosen(product: Product, night: date, recorded: RecordedTraining) -> TrainingSet:
    """Return the images of a version as its training saw them.

    Raises:
        NotEnoughImagesError: some cannot be had any more.
    """
    objects = learnt_objects(product, recorded.images)
    if gone := fetch_objects(product, objects):
        raise NotEnoughImagesError(
            f"a version is trained again from all images that it learnt from; {len(gone)} of "
            f"{len(objects)} are gone, such as {gone[0]}: put them back as they were"
        )
    pattern, layout = product.settings.position_pattern, product.layout
    rows = objects.assign(
        uri=objects["key"].map(product.store.uri),
        position=[camera_position(layout.name_of(key), pattern) for key in objects["key"]],
    )
    is_filling = rows["split"] == FILLING
    fillings = _fillings(product, night) if is_filling.any() else Fillings.none()
    rows = product.with_parts(rows[~is_filling].reset_index(drop=True))
    return TrainingSet(product, night, rows, {}, fillings)


def _all_fillings(chosen: TrainingSet, recorded: RecordedTraining) -> pd.DataFrame:
    """Return the defects that a training was filled from, with those that its base knew."""
    noted = recorded.images[recorded.images["split"] == FILLING]
    if noted.empty:
        return pd.DataFrame()
    return pd.concat([chosen.fillings.defects, noted]).drop_duplicates("sha256")


def _fillings(product: Product, night: date) -> Fillings:
    """Choose the confirmed defects up to a night anew: a version does not note what each was held
    against. Nothing is written."""
    golden = read_golden_images(product.store, product.cache, product.layout, product.limits)
    history, hashes = see_history(product), frozenset(golden.hashes)
    ledger = read_ledger(product.store, product.layout, product.records, history, hashes)
    return choose_fillings(product, ledger.as_of(night))


def _base_of(product: str, recorded: RecordedTraining) -> jobs.BaseVersion | None:
    """Find the version that a training started from.

    Raises:
        ConfigError: it is gone, or has no weights any more.
    """
    if recorded.base is None:
        return None
    found = next(filter(recorded.is_base, registry.versions(product)), None)
    if found is None:
        raise ConfigError(
            f"a fine-tuned version is trained again from the one that it started from; version "
            f"{recorded.base} of {registry.model_name(product)} is gone: nothing can stand for it"
        )
    base = check_weights(found)
    load = partial(flavor.load_calibrated, base.uri, engine=TORCH)
    return jobs.BaseVersion(base.number, base.run_id, base.tags, load)


def _settings_of(now: ProductSettings, params: Mapping[str, str]) -> ProductSettings:
    """Return a product's settings as a run has them; what it does not have is as it is now."""
    values = {name: value for name, value in now if name in _AS_NOW}
    return jobs.checked(ProductSettings, {**values, **_noted(ProductSettings, params)})


def _training_of(
    product: Product, params: Mapping[str, str], is_finetuning: bool
) -> TrainingSettings:
    """Return the settings of a training as its run has them, with the textures' place as it is
    now."""
    settings = product.settings
    kind = FinetuneSettings if is_finetuning else TrainingSettings
    now = settings.finetune if is_finetuning else settings.train
    return jobs.checked(kind, {**_noted(kind, params), "textures": now.textures})


def _noted(kind: type[BaseModel], params: Mapping[str, str]) -> dict[str, object]:
    """Return those parameters of a run, which are texts, that are settings of a kind."""
    return {name: _value(name, params[name]) for name in kind.model_fields if name in params}


def _value(name: str, text: str) -> object:
    if text == "None":
        return None
    return literal_eval(text) if name in _TABLES else text
