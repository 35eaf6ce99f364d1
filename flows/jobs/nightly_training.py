"""The training jobs that a product's nights lead to: which images, and their pixels."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from flows.jobs import training_job as jobs
from flows.jobs.advising import PictureFile, Settled, settle_as, settle_model
from flows.jobs.defect_fillings import Fillings, choose_fillings, cut_fillings
from flows.jobs.ledger import open_ledger_to_train
from flows.jobs.product import Product
from mlflow_models import flavor, registry, version_tags
from mlflow_models.foundation import registered_name
from mlflow_models.tracking import filled_from
from reconad_plugin.config.product import AUTO, ProductSettings, TrainingSettings
from reconad_plugin.detector.detector import TORCH
from reconad_plugin.detector.windows import describe_cost
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.images.lens import Lens
from reconad_plugin.images.limits import have_one_shape
from reconad_plugin.images.region import Region
from reconad_plugin.images.size import ImageSize, keep_size, settle_size
from reconad_plugin.ledger.splits import BORROWED_LIGHT, CALIBRATION, JUDGE, TRAIN
from reconad_plugin.simulation.textures import texture_files
from reconad_plugin.store.mirror import copy_prefix, hashes_of_textures
from reconad_plugin.training.images import NormalImages, oversample, parts_told, positions_told
from reconad_plugin.training.relight import PositionLights, position_lights, relight
from reconad_plugin.watch.cause import LIGHT

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSet:
    """The images of a product that a training may use, up to a night."""

    product: Product  # whose
    night: date  # the last one
    # of manifests, with ``uri``, and ``part`` where the settings tell parts; ``split`` says what
    # each is for
    rows: pd.DataFrame
    manifests: dict[str, pd.DataFrame]  # address -> manifest of each night
    fillings: Fillings = field(default_factory=Fillings.none)  # what fills simulated anomalies

    @classmethod
    def read(cls, product: Product, night: date, light_from: date | None = None) -> "TrainingSet":
        """Read what may be used up to a night, and of it what a training takes; see
        ``Ledger.training_images`` and ``Ledger.covering``."""
        ledger = open_ledger_to_train(product).as_of(night)
        rows = ledger.training_images(product.settings.target_fpr, light_from)
        uri, layout = product.store.uri, product.layout
        manifests = {uri(layout.manifest(day)): ledger.manifests[day] for day in ledger.manifests}
        there, settings = product.still_there(rows), product.settings
        rows = ledger.covering(there, settings.training_nights, settings.max_training_images)
        if len(rows) < len(there):
            _logger.info(
                "%s: %d of %d images that may be learnt are taken, evenly of nights and positions; "
                "see max_training_images and training_nights",
                product.name, len(rows), len(there),
            )  # fmt: skip
        rows = product.with_parts(rows.assign(uri=rows["key"].map(uri)))
        return cls(product, night, rows, manifests, choose_fillings(product, ledger))

    def of(self, split: str) -> pd.DataFrame:
        """Return the rows of one split."""
        return self.rows[self.rows["split"] == split]

    @property
    def picture_sizes(self) -> list[tuple[int, int]]:
        """Width and height of the pictures that train."""
        train = self.of(TRAIN)
        return list(zip(train["width_px"].tolist(), train["height_px"].tolist(), strict=True))


@dataclass(frozen=True)
class SizedTrainingSet:
    """The images of a training, and the size that it sees them at."""

    images: TrainingSet
    size: ImageSize

    def load(self, rows: pd.DataFrame) -> Tensor:
        """Load the pixels of some rows: (N, 3, H, W) uint8."""
        return torch.from_numpy(self.images.product.load_images(rows, self.size))


def training_job(
    product: Product,
    night: date,
    training: TrainingSettings,
    base: registry.Version | None = None,
    cause: str = "none",
) -> jobs.TrainingJob:
    """Choose the images of all nights up to this one to train on, or to fine-tune a base for it.

    Raises:
        NotEnoughImagesError: the night has no image that may be learnt from.
    """
    chosen = TrainingSet.read(product, night, night if cause == LIGHT else None)
    settled = _settle(chosen, base)
    product = replace(product, settings=settled.settings)
    lens = product.lens
    chosen = _of_shape(replace(chosen, product=product), lens)
    if cause == LIGHT:
        _check_light(product, night.isoformat(), chosen.rows)
    elif base is not None:
        _check_is_new(product, night.isoformat(), chosen.rows)
    training, textures = with_textures(product, training)
    purpose, start, asked = jobs.TRAINING, None, product.settings.image_size_px
    size, whole = None, None
    if base is None:
        size = settle_size(asked, chosen.picture_sizes)
        whole = product.settings.size_of_pictures(size, chosen.picture_sizes)
        if whole is not None and product.settings.windows:
            _logger.warning(describe_cost(whole, size))
    last = max(chosen.rows["night"], default=night.isoformat())  # that it learns from
    if base is not None:
        purpose, load = jobs.FINETUNING, partial(flavor.load_calibrated, base.uri, engine=TORCH)
        last = night.isoformat()
        start = jobs.BaseVersion(base.number, base.run_id, base.tags, load)
        if (of_base := version_tags.image_size_of(base.tags)) is not None:
            size = keep_size(asked, of_base)
        whole = version_tags.picture_size_of(base.tags)
    pictures = SizedTrainingSet(chosen, whole or size or product.settings.image_size)
    region = product.region(chosen.rows, pictures.size)
    return jobs.TrainingJob(
        product=product.name,
        purpose=purpose,
        run_name=f"{purpose} {night.isoformat()}",
        settings=product.settings,
        training=training,
        images=chosen.rows,
        sources=chosen.manifests,
        load=partial(load_pixels, pictures, base is not None, cause, region),
        lens=lens,
        textures=textures,
        fillings=_with_those_of(base, chosen.fillings.defects),
        base=start,
        foundation=jobs.named_foundation(product.settings) if base is None else None,
        cause=cause,
        region=region,
        image_size=size,
        picture_size=whole,
        tags={
            **version_tags.night_tags(last, cause, _summary_of(list(chosen.manifests))),
            **settled.tags,
        },
    )


def _settle(chosen: TrainingSet, base: registry.Version | None) -> Settled:
    """Settle ``model = "auto"``: the model of the base, else of the version that serves; where none
    serves yet, the one that is advised."""
    product, settings = chosen.product, chosen.product.settings
    if settings.model != AUTO:
        return Settled(settings)
    base = base or registry.version_by_alias(product.name, registry.CHAMPION)
    if base is not None:
        return Settled(settle_as(settings, flavor.load_calibrated(base.uri)))
    pictures = [
        PictureFile(key, position, partial(product.read_image, sha256, key))
        for key, position, sha256 in chosen.rows[["key", "position", "sha256"]].itertuples(
            index=False
        )
    ]
    settled = settle_model(settings, pictures)
    _logger.info("%s: %s", product.name, version_tags.advice_of(settled.tags))
    return settled


def _of_shape(chosen: TrainingSet, lens: Lens | None) -> TrainingSet:
    """Leave out, with a warning, pictures of another shape than a lens was calibrated at: they came
    before the setting did.

    Raises:
        ConfigError: all are.
    """
    if lens is None or chosen.rows.empty:
        return chosen
    sizes = list(zip(chosen.rows["width_px"], chosen.rows["height_px"], strict=True))
    fits = np.array([have_one_shape(size, lens.shape) for size in sizes])
    if fits.all():
        return chosen
    width, height = sizes[int(fits.argmin())]
    asked = f"{lens.width_px} x {lens.height_px}"
    if not fits.any():
        raise ConfigError(
            f"a lens must be calibrated at the shape of the pictures; that of "
            f"{chosen.product.name} is for {asked}, its pictures are {width} x {height}: calibrate "
            "the camera again, or leave the lens out"
        )
    _logger.warning(
        "%d of %d images of %s are not of the shape that the lens was calibrated at (%s), such as "
        "%d x %d: a training goes on without them",
        np.count_nonzero(~fits), len(fits), chosen.product.name, asked, width, height,
    )  # fmt: skip
    return replace(chosen, rows=chosen.rows[fits])


def newest_training_set(product: Product, night: date | None) -> TrainingSet:
    """Read what may be learnt of a product up to a night, or up to its last one.

    Raises:
        NotEnoughImagesError: it has no night.
    """
    night = night or max(product.known_nights(), default=None)
    if night is None:
        raise NotEnoughImagesError(
            f"a product to pretrain on must have a night with images; {product.name} has none: "
            f"take one in with nightly/{product.name}"
        )
    return TrainingSet.read(product, night)


def pretraining_job(
    name: str, settings: ProductSettings, sets: Sequence[TrainingSet]
) -> jobs.TrainingJob:
    """Join what may be learnt of some products to pretrain the foundation of this name on."""
    sizes = [size for each in sets for size in each.picture_sizes]
    size = settle_size(settings.image_size_px, sizes)

    def load(split: str) -> Tensor:
        pictures = [each.product.load_images(each.of(split), size) for each in sets]
        return torch.from_numpy(np.concatenate(pictures))

    def load_both() -> NormalImages:
        train = load(TRAIN)
        return NormalImages(train, load(CALIBRATION), judge=train[:0])

    return jobs.TrainingJob(
        product=registered_name(name),
        purpose=jobs.PRETRAINING,
        run_name=f"{jobs.PRETRAINING} {name}",
        settings=settings,
        training=settings.train,
        images=pd.concat([each.rows for each in sets], ignore_index=True),
        sources={uri: table for each in sets for uri, table in each.manifests.items()},
        load=load_both,
        textures=hashes_of_textures(settings.train.textures),
        image_size=size,
    )


def with_textures(
    product: Product, training: TrainingSettings
) -> tuple[TrainingSettings, dict[str, str]]:
    """Return the settings, with the textures of the product's bucket where they name none and it
    has some; and name -> ETag or SHA-256 of the pictures."""
    if training.textures is not None:
        return training, hashes_of_textures(training.textures)
    folder = product.cache.folder / "textures" / product.name
    textures = copy_prefix(product.store, product.layout.textures, folder)
    if texture_files(folder):  # what else lies there leaves the packaged ones
        training = training.model_copy(update={"textures": str(folder)})
    return training, textures


def _with_those_of(base: registry.Version | None, fillings: pd.DataFrame) -> pd.DataFrame:
    """Add the defects that a base knows from its own training, so that none ever judges it."""
    if base is None or (before := filled_from(base)).empty:
        return fillings
    return pd.concat([fillings, before]).drop_duplicates("sha256")


def _summary_of(manifests: list[str]) -> str:
    """Say which manifests a version was trained on, in a tag that does not grow with the nights;
    its run has each of them as a dataset input."""
    return json.dumps({"first": manifests[0], "last": manifests[-1], "count": len(manifests)})


def _check_is_new(product: Product, night: str, rows: pd.DataFrame) -> None:
    """Raise where nothing of a night that is to be learnt may be."""
    if not ((rows["night"] == night) & (rows["split"] == TRAIN)).any():
        raise NotEnoughImagesError(
            f"a night is learnt from at least one image of it that does not wait for a person; "
            f"{product.name} {night} has none: review its images first"
        )


def _check_light(product: Product, light_from: str, rows: pd.DataFrame) -> None:
    """Raise where nothing tells a night's light, or nothing can be brought to it."""
    is_tonight, split = rows["night"] == light_from, rows["split"]
    if not (is_tonight & split.isin([TRAIN, BORROWED_LIGHT])).any():
        raise NotEnoughImagesError(
            f"a change of light is learnt from at least one image of the night that does not wait "
            f"for a person; {product.name} {light_from} has none: review its images first"
        )
    if not (~is_tonight & (split == TRAIN)).any():
        raise NotEnoughImagesError(
            f"a change of light is learnt on earlier normal images; {product.name} has none before "
            f"{light_from}: release its images with `reconad review`, and train"
        )


def load_pixels(
    chosen: SizedTrainingSet, is_finetuning: bool, cause: str, region: Region | None
) -> NormalImages:
    """Load pixels by what they are for.

    A fine-tuning sees the new world as often as the old one: it is the new night's pictures, or,
    where the light changed, each earlier night's in the new light.
    """
    train, calibration = chosen.images.of(TRAIN), chosen.images.of(CALIBRATION)
    inside = None if region is None else region.union
    defects = cut_fillings(chosen.images.fillings, train, chosen.load, inside)
    parts, positions = parts_told(train), positions_told(train)
    if cause == LIGHT:
        pixels, parts = _load_in_both_lights(chosen, train), ()
        positions = positions and (*positions, *_in_new_light(chosen, train)["position"])
    else:
        if is_finetuning:
            is_new = train["night"] == chosen.images.night.isoformat()
            train = oversample(train[~is_new], train[is_new])
            parts, positions = parts_told(train), positions_told(train)
        pixels = chosen.load(train)
    return NormalImages(
        pixels,
        chosen.load(calibration),
        chosen.load(chosen.images.of(JUDGE)),
        parts,
        parts_told(calibration),
        positions,
        positions_told(calibration),
        defects,
    )


def _in_new_light(chosen: SizedTrainingSet, train: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are learnt in the new light as well, night by night."""
    earlier = train[train["night"] != chosen.images.night.isoformat()]
    return earlier.sort_values("night", kind="stable")


def _load_in_both_lights(chosen: SizedTrainingSet, train: pd.DataFrame) -> Tensor:
    """Load training pictures as they are, then those of earlier nights in the light of the new one:
    (N + M, 3, S, S) uint8."""

    def lights(night: str) -> PositionLights:
        rows = chosen.images.rows
        rows = rows[(rows["night"] == night) & (rows["split"] != JUDGE)]
        return position_lights(chosen.load(rows), rows["position"].tolist())

    tonight = chosen.images.night.isoformat()
    new_light = lights(tonight)
    earlier = _in_new_light(chosen, train)
    as_they_are = chosen.load(train)
    pixels = as_they_are.new_empty(len(train) + len(earlier), *as_they_are.shape[1:])
    pixels[: len(train)] = as_they_are
    end = len(train)
    for night, rows in earlier.groupby("night"):
        start, end = end, end + len(rows)
        pixels[start:end] = relight(chosen.load(rows), lights(str(night)), new_light)
    return pixels
