"""The steps that training and fine-tuning share: choose, fit, log, register."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import pandas as pd
from prefect import get_run_logger
from torch import Tensor

from flows.jobs.ledger import open_ledger_to_train
from flows.jobs.product import Product
from flows.jobs.training_job import Fitting, fit_and_log, warning_of
from flows.runtime.steps import step
from mlflow_models import flavor, registry
from mlflow_models.foundation import Vq, find_vq, vq_tags
from reconad_plugin.config import TrainingSettings
from reconad_plugin.errors import NotEnoughImagesError
from reconad_plugin.ledger.eligibility import oversample_new
from reconad_plugin.ledger.manifest import (
    known_nights,
    manifest_digest,
    read_manifest,
)
from reconad_plugin.ledger.splits import CALIBRATION, JUDGE, LIGHT_ONLY, TRAIN
from reconad_plugin.store.images import load_images
from reconad_plugin.store.mirror import copy_prefix, hashes_of_textures
from reconad_plugin.training.fit import NormalImages
from reconad_plugin.training.relight import PositionLights, position_lights, relight
from reconad_plugin.watch.cause import LIGHT


@dataclass(frozen=True)
class Lesson:
    """What a training is to learn, and from what.

    Attributes:
        purpose: ``train`` or ``finetune``.
        night: the last night it learns from.
        rows: learnable rows of manifests.
        manifests: address -> manifest of each night.
        settings: steps, budget, rate, augmentation.
        textures: name -> ETag or SHA-256 of the textures that simulated anomalies have, where the
            product or its settings have some; none for the packaged ones.
        base: the version to start from, or None.
        cause: of the alarm that led here, or ``none``.
        vq: what DSR is to stand on, where the product names it; a base has its own.
    """

    purpose: str
    night: date
    rows: pd.DataFrame
    manifests: dict[str, pd.DataFrame]
    settings: TrainingSettings
    textures: dict[str, str]
    base: registry.Version | None
    cause: str
    vq: Vq | None = None

    @property
    def new_night(self) -> str | None:
        """The night whose images are new to the base version."""
        return self.night.isoformat() if self.base is not None else None

    def request(self, product: Product) -> str:
        """A hash of everything that decides the weights."""
        content = {
            "purpose": self.purpose,
            "images": (self.rows["sha256"] + self.rows["split"]).tolist(),
            "positions": self.rows["position"].tolist() if self.cause == LIGHT else [],
            "manifests": [manifest_digest(manifest) for manifest in self.manifests.values()],
            "settings": self.settings.model_dump(exclude={"textures"} if self.textures else None),
            "textures": self.textures,
            "model": product.settings.model,
            "width": product.settings.width,
            "options": product.settings.options,
            "image_size_px": product.settings.image_size_px,
            "target_fpr": product.settings.target_fpr,
            "calibrate_by": product.settings.calibrate_by,
            "seed": product.settings.seed,
            "base": self.base.number if self.base else None,
            "cause": self.cause,
            **({"vq": self.vq.sha256} if self.vq else {}),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@step()
def choose_lesson(
    product: Product,
    night: date,
    purpose: str,
    settings: TrainingSettings,
    base: registry.Version | None = None,
    cause: str = "none",
) -> Lesson:
    """Choose the learnable images of all nights up to this one."""
    manifests = read_manifests(product, night)
    lit_night = night.isoformat() if cause == LIGHT else None
    rows = learnable_rows(product, night, manifests, lit_night)
    if lit_night is not None:
        _check_light(product, lit_night, rows)
    elif base is not None:
        _check_is_new(product, night.isoformat(), rows)
    textures: dict[str, str] = {}
    if settings.textures is None:
        folder = product.cache.folder / "textures" / product.name
        textures = copy_prefix(product.store, product.layout.textures, folder)
        if textures:
            settings = settings.model_copy(update={"textures": str(folder)})
    else:
        textures = hashes_of_textures(settings.textures)
    named = product.settings.vq
    vq = find_vq(named) if named is not None and base is None else None
    return Lesson(purpose, night, rows, manifests, settings, textures, base, cause, vq)


@step()
def fit_and_register(product: Product, lesson: Lesson) -> registry.Version:
    """Train, log and register a version; where the same lesson was learnt before, take that one."""
    request = lesson.request(product)
    learnt = registry.find_by_request(product.name, request)
    if learnt is not None:
        return learnt
    job = Fitting(
        product=product.name,
        settings=product.settings,
        training=lesson.settings,
        images=load_lesson_images(product, lesson),
        request=request,
        purpose=lesson.purpose,
        run_name=f"{lesson.purpose} {lesson.night.isoformat()}",
        base=flavor.load_model(lesson.base.uri) if lesson.base else None,
        base_version=lesson.base.number if lesson.base else "none",
        sources=lesson.manifests,
        learnt=lesson.rows.assign(uri=lesson.rows["key"].map(product.store.uri)),
        tags={
            registry.NIGHT_TAG: lesson.night.isoformat(),
            registry.CAUSE_TAG: lesson.cause,
            registry.MANIFESTS_TAG: _in_short(list(lesson.manifests)),
            **(lesson.vq.tags if lesson.vq else vq_tags(lesson.base.tags if lesson.base else {})),
        },
        vq=lesson.vq.network if lesson.vq else None,
    )
    fitted = fit_and_log(job)
    warning = warning_of(fitted.detector)
    if warning is not None:
        get_run_logger().warning(warning)
    return fitted.version


def _in_short(manifests: list[str]) -> str:
    """Which manifests a version learnt from, in a tag whose length does not grow with the nights;
    its run has each of them as a dataset input."""
    return json.dumps({"first": manifests[0], "last": manifests[-1], "count": len(manifests)})


def _check_is_new(product: Product, night: str, rows: pd.DataFrame) -> None:
    """Raise where nothing of a night that is to be learnt may be."""
    if not ((rows["night"] == night) & (rows["split"] == TRAIN)).any():
        raise NotEnoughImagesError(
            f"a night is learnt from at least one image of it that does not wait for a person; "
            f"{product.name} {night} has none: review its images first"
        )


def _check_light(product: Product, lit_night: str, rows: pd.DataFrame) -> None:
    """Raise where nothing tells a night's light, or nothing can be brought to it."""
    is_tonight, split = rows["night"] == lit_night, rows["split"]
    if not (is_tonight & split.isin([TRAIN, LIGHT_ONLY])).any():
        raise NotEnoughImagesError(
            f"a change of light is learnt from at least one image of the night that does not wait "
            f"for a person; {product.name} {lit_night} has none: review its images first"
        )
    if not (~is_tonight & (split == TRAIN)).any():
        raise NotEnoughImagesError(
            f"a change of light is learnt on earlier normal images; {product.name} has none before "
            f"{lit_night}: release its images with `reconad review`, and train"
        )


def read_manifests(product: Product, night: date) -> dict[str, pd.DataFrame]:
    """Address -> manifest of every night up to this one, oldest first."""
    nights = [*known_nights(product.store, product.layout, before=night), night]
    found = {earlier: read_manifest(product.store, product.layout, earlier) for earlier in nights}
    return {
        product.store.uri(product.layout.manifest(earlier)): manifest
        for earlier, manifest in found.items()
        if manifest is not None
    }


def learnable_rows(
    product: Product,
    night: date,
    manifests: dict[str, pd.DataFrame],
    lit_night: str | None = None,
) -> pd.DataFrame:
    """Rows of the manifests that may be learnt from, and the few besides that calibrate and judge
    alone; see ``Ledger.training_images``."""
    lit = None if lit_night is None else date.fromisoformat(lit_night)
    ledger = open_ledger_to_train(product).as_of(night)
    return ledger.training_images(product.settings.target_fpr, lit)


def load_lesson_images(product: Product, lesson: Lesson) -> NormalImages:
    """Pixels of a lesson by what they are for.

    The new world is learnt as often as the old one: it is the new night's pictures, or, where the
    light changed, each earlier night's in the new light.
    """

    def load(rows: pd.DataFrame) -> Tensor:
        return load_images(
            product.store, product.cache, rows, product.settings.image_size_px, product.limits
        )

    train, calibration, judge = (
        lesson.rows[lesson.rows["split"] == split] for split in (TRAIN, CALIBRATION, JUDGE)
    )
    if lesson.cause == LIGHT:
        pixels = _load_in_both_lights(lesson, train, load)
    else:
        pixels = load(oversample_new(train, lesson.new_night))
    return NormalImages(pixels, load(calibration), load(judge))


def _load_in_both_lights(
    lesson: Lesson, train: pd.DataFrame, load: Callable[[pd.DataFrame], Tensor]
) -> Tensor:
    """Training pictures as they are, then those of earlier nights in the light of the new one:
    (N + M, 3, S, S) uint8."""

    def lights(night: str) -> PositionLights:
        rows = lesson.rows[lesson.rows["night"] == night]
        rows = rows[rows["split"] != JUDGE]  # it has no part in what is learnt
        return position_lights(load(rows), rows["position"].tolist())

    new_light = lights(lesson.night.isoformat())
    earlier = train[train["night"] != lesson.night.isoformat()]
    as_they_are = load(train)
    pixels = as_they_are.new_empty(len(train) + len(earlier), *as_they_are.shape[1:])
    pixels[: len(train)] = as_they_are
    end = len(train)
    for night, rows in earlier.groupby("night"):
        start, end = end, end + len(rows)
        pixels[start:end] = relight(load(rows), lights(str(night)), new_light)
    return pixels
