"""The training jobs of a folder or an S3 prefix: MLflow is needed, Prefect and a product's settings
are not."""

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from flows.jobs import training_job as jobs
from flows.jobs.advising import Settled, choices_of, files_of, settle_model
from flows.jobs.fitting import fit_and_log, pretrain_and_log
from flows.jobs.learnt_images import fetch_image
from flows.jobs.progress import warn
from mlflow_models import flavor
from mlflow_models.foundation import registered_name
from mlflow_models.tracking import IMAGES_COLUMNS, read_training_images, run_of, tags_of
from mlflow_models.version_tags import advice_of, part_pattern_of
from reconad_plugin.config.names import check_product_name
from reconad_plugin.config.product import AUTO, ProductSettings, TrainingSettings
from reconad_plugin.detector.detector import TORCH, Detector
from reconad_plugin.detector.windows import describe_cost
from reconad_plugin.errors import ConfigError, InvalidImageError
from reconad_plugin.images.folder import ImageFolder
from reconad_plugin.images.lens import limits_with
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.names import as_text, path_of, read_file, uri_of
from reconad_plugin.images.region import PRODUCT, Region, read_region
from reconad_plugin.images.size import ImageSize, settle_size
from reconad_plugin.ledger.manifest import camera_position
from reconad_plugin.ledger.splits import (
    BORROWED_LIGHT,
    CALIBRATION,
    FILLING,
    JUDGE,
    SINGLY,
    TRAIN,
    SplitRules,
    assign_splits,
    deal_together,
    first_group,
)
from reconad_plugin.networks.base import FoundationNetwork
from reconad_plugin.store import mirror
from reconad_plugin.store.lens import read_lens
from reconad_plugin.store.objects import split_address
from reconad_plugin.training.images import (
    NormalImages,
    oversample,
    parts_told,
    positions_told,
)
from reconad_plugin.training.report import FoundationReport, TrainingReport


def train(
    data: str,
    product: str | None,
    settings: ProductSettings,
    device: str = "cpu",
    region: Path | None = None,
) -> jobs.TrainingRun[Detector, TrainingReport]:
    """Train on the normal images of ``DIR`` or ``s3://bucket/prefix``, and register the version
    of this product; of the folder's name where it is None. ``region`` is a mask of where to look.
    """
    folder = mirror.open_source(data)
    name = check_product_name(product or name_of(data, "--product"))
    settled = Settled(settings)
    if settings.model == AUTO:
        settled = settle_model(settings, files_of(folder, settings), device)
        settings = settled.settings
        warn(advice_of(settled.tags))
    rules = SplitRules(settings.part_pattern, settings.split_by)
    table = _with_positions(table_of(folder, rules), settings.position_pattern)
    check_parts(table, rules)
    size, lens = _settle_size(settings, table), read_lens(settings.lens)
    whole = settings.size_of_pictures(size, mirror.picture_sizes(folder.train))
    if settings.windows:
        warn(describe_cost(whole or size, size))
    else:
        warn(mirror.describe_sizes(folder.train, size))
    job = jobs.TrainingJob(
        product=name,
        purpose=jobs.TRAINING,
        run_name=f"{jobs.TRAINING} {settings.model}",
        settings=settings,
        training=settings.train,
        images=table,
        sources={as_text(data): table[IMAGES_COLUMNS]},
        load=partial(_load, table, whole or size, limits_with(lens, settings.limits)),
        lens=lens,
        textures=mirror.hashes_of_textures(settings.train.textures),
        foundation=jobs.named_foundation(settings),
        image_size=size,
        picture_size=whole,
        tags=settled.tags,
        region=region_of(region, folder, whole or size),
    )
    return _fit(job, device)


def finetune(
    model_uri: str,
    data: str,
    product: str | None,
    training: TrainingSettings,
    seed: int = 0,
    device: str = "cpu",
    max_pixels: int | None = None,
) -> jobs.TrainingRun[Detector, TrainingReport]:
    """Go on training a version on new normal images, and on the images that it learnt before;
    ``max_pixels`` of a picture in place of its own limit.

    Raises:
        ModelFormatError: the version has no list of what it learnt from.
    """
    base = flavor.load_calibrated(model_uri, engine=TORCH).taking(max_pixels)
    learnt = read_training_images(model_uri)
    fillings = learnt[learnt["split"] == FILLING]
    learnt = learnt[~learnt["split"].isin([BORROWED_LIGHT, FILLING])]
    tags = tags_of(model_uri)
    dealt = [
        (path_of(uri).name, split)
        for uri, split in zip(learnt["uri"], learnt["split"], strict=True)
    ]
    rules = SplitRules(part_pattern_of(tags))
    given = table_of(mirror.open_source(data), rules, dealt)
    old = _still_there(learnt, dict(zip(given["sha256"], given["path"], strict=True)))
    new = given[~given["sha256"].isin(learnt["sha256"])]  # an image never changes its side
    old_train, new_train = (table[table["split"] == TRAIN] for table in (old, new))
    rest = [table[table["split"] != TRAIN] for table in (old, new)]
    table = pd.concat([oversample(old_train, new_train), *rest], ignore_index=True)
    settings = _settings_of(base, rules.part_pattern, seed)
    table = _with_positions(_with_parts(table, rules), settings.position_pattern)
    name = product or registered_product(model_uri) or name_of(data, "--product")
    job = jobs.TrainingJob(
        product=check_product_name(name),
        purpose=jobs.FINETUNING,
        run_name=f"{jobs.FINETUNING} {settings.model}",
        settings=settings,
        training=training,
        images=table,
        sources={as_text(data): table[IMAGES_COLUMNS].drop_duplicates()},
        load=partial(_load, table, base.image_size_px, base.limits),
        lens=base.lens,
        textures=mirror.hashes_of_textures(training.textures),
        fillings=fillings,
        base=jobs.BaseVersion(model_uri, run_of(model_uri), tags, lambda: base),
        picture_size=base.image_size_px if base.windows or base.shrunk_to else None,
        region=base.region,
    )
    return _fit(job, device)


def _settings_of(base: Detector, part_pattern: str | None, seed: int) -> ProductSettings:
    """Return the settings that a version was trained by, as far as a fine-tuning goes by them."""
    width, options = choices_of(base)
    known = base.known_contexts
    return ProductSettings(
        model=base.model,
        width=width,
        options=options,
        image_size_px=base.network_size_px,
        windows=base.windows is not None,
        witness=None if base.witness is None else base.witness.detector.model,
        witness_image_size_px=base.image_size_px if base.shrunk_to else None,
        target_fpr=base.calibration.target_fpr,
        max_image_pixels=base.limits.max_pixels,
        min_image_side_px=base.limits.min_side_px,
        part_pattern=part_pattern,
        position_pattern=None if known is None else known.pattern,
        contexts=known is not None,
        seed=seed,
    )


def pretrain(
    data: Sequence[str], name: str | None, settings: ProductSettings, device: str
) -> jobs.TrainingRun[FoundationNetwork, FoundationReport]:
    """Pretrain a foundation on the normal images of some folders, each ``DIR`` or
    ``s3://bucket/prefix``, and register it under this name; the first folder's where it is None.
    """
    name = check_product_name(name or name_of(data[0], "--name"))
    folders = {address: mirror.open_source(address) for address in data}
    tables = {address: table_of(folder) for address, folder in folders.items()}
    table = pd.concat(tables.values(), ignore_index=True).drop_duplicates("sha256")
    size = _settle_size(settings, table)
    warn(mirror.describe_sizes(table["path"].tolist(), size))
    job = jobs.TrainingJob(
        product=registered_name(name),
        purpose=jobs.PRETRAINING,
        run_name=f"{jobs.PRETRAINING} {name}",
        settings=settings,
        training=settings.train,
        images=table,
        sources={as_text(address): each[IMAGES_COLUMNS] for address, each in tables.items()},
        load=partial(_load, table, size, settings.limits),
        textures=mirror.hashes_of_textures(settings.train.textures),
        image_size=size,
    )
    return pretrain_and_log(job, device)


def _fit(job: jobs.TrainingJob, device: str) -> jobs.TrainingRun[Detector, TrainingReport]:
    run = fit_and_log(job, device)
    warn(run.warning)
    return run


def _settle_size(settings: ProductSettings, table: pd.DataFrame) -> ImageSize:
    """Settle the size that a training sees pictures at; see ``settle_size``."""
    train = table.loc[table["split"] == TRAIN, "path"].tolist()
    return settle_size(settings.image_size_px, mirror.picture_sizes(train))


def _load(table: pd.DataFrame, size: ImageSize, limits: ImageLimits) -> NormalImages:
    rows = {split: table[table["split"] == split] for split in (TRAIN, CALIBRATION, JUDGE)}

    def of(split: str) -> Tensor:
        return torch.from_numpy(mirror.load_files(rows[split]["path"].tolist(), size, limits))

    train, calibration = rows[TRAIN], rows[CALIBRATION]
    return NormalImages(
        of(TRAIN),
        of(CALIBRATION),
        of(JUDGE),
        parts_told(train),
        parts_told(calibration),
        positions_told(train),
        positions_told(calibration),
    )


def region_of(file: Path | None, folder: ImageFolder, size: ImageSize) -> Region | None:
    """Read a mask of where to look in the normal pictures of a folder; None where there is none.

    Raises:
        InvalidImageError: it cannot be read, or see ``read_region``.
        ConfigError: it covers no pixel of the network.
    """
    if file is None:
        return None
    try:
        content = read_file(file)
    except InvalidImageError as error:
        raise InvalidImageError(error.reason, f"region {file}: {error}") from None
    return read_region({PRODUCT: content}, size, set(mirror.picture_sizes(folder.train)))


def table_of(
    folder: ImageFolder,
    rules: SplitRules = SINGLY,
    dealt: Sequence[tuple[str, str]] = (),
) -> pd.DataFrame:
    """List the normal images of a folder with their side: ``path``, ``uri``, ``sha256``, ``split``,
    and ``part`` where the rules tell parts. ``dealt`` has name and side of images that a version
    learnt before.

    No gate judges here, so its side trains as well: four of five images train, one calibrates.
    """
    paths = {mirror.hash_file(path): path for path in folder.train}  # equal files are one image
    if rules.are_single:
        sides = list(map(assign_splits(list(paths), already=0).__getitem__, paths))
    else:
        sides = deal_together([path.name for path in paths.values()], dealt, rules)
    table = pd.DataFrame(
        {
            "path": list(paths.values()),  # no strings: a name need not be text
            "uri": [uri_of(path) for path in paths.values()],
            "sha256": list(paths),
            "split": [CALIBRATION if side == CALIBRATION else TRAIN for side in sides],
        }
    )
    return _with_parts(table, rules)


def _with_parts(table: pd.DataFrame, rules: SplitRules) -> pd.DataFrame:
    """Add the ``part`` that each image shows, where the rules tell parts."""
    if rules.part_pattern is None:
        return table
    told = [first_group(rules.part_pattern, path.name) for path in table["path"]]
    return table.assign(part=[part or uri for part, uri in zip(told, table["uri"], strict=True)])


def _with_positions(table: pd.DataFrame, pattern: str | None) -> pd.DataFrame:
    """Add the camera ``position`` that each image came from, where a pattern tells it."""
    if pattern is None:
        return table
    return table.assign(position=[camera_position(path.name, pattern) for path in table["path"]])


def check_parts(table: pd.DataFrame, rules: SplitRules) -> None:
    """Check that names tell parts, and that these leave some to train on and some to calibrate on.

    Raises:
        ConfigError: no name tells a part, or all images are of one part.
    """
    if not parts_told(table):
        return
    untold = table[table["part"] == table["uri"]]
    such = as_text(untold["path"].iloc[0].name) if len(untold) else ""
    if len(untold) == len(table):
        raise ConfigError(
            f"part_pattern must find the part in a picture's name; {rules.part_pattern!r} finds "
            f"none in {len(table)} images, such as {such}: correct it, or leave it out"
        )
    if len(untold):
        warn(
            f"part_pattern finds no part in {len(untold)} of {len(table)} images, such as {such}: "
            "each of them counts as a part of its own"
        )
    if table["split"].nunique() < 2:
        raise ConfigError(
            "parts must be two at least, one to train on and one that sets the threshold; "
            f"part_pattern finds {table['part'].nunique()} in {len(table)} images: give a pattern "
            "whose group tells parts apart, or bring other parts"
        )


def _still_there(learnt: pd.DataFrame, here: dict[str, Path]) -> pd.DataFrame:
    """Find earlier images that can still be had, on disk or in S3, and warn of the others."""
    names = zip(learnt["uri"], learnt["sha256"], strict=True)
    paths = [here.get(sha256) or fetch_image(uri, sha256) for uri, sha256 in names]
    gone = paths.count(None)
    if gone:
        others = "the others are rehearsed"
        if gone == len(learnt):
            others = "none is rehearsed, so the new version may forget what they show"
        warn(
            f"{gone} of {len(learnt)} images that the version learnt from are gone or changed; "
            f"{others}"
        )
    found = learnt.assign(path=pd.Series(paths, index=learnt.index, dtype=object))
    return found[found["path"].notna()]


def name_of(data: str, option: str) -> str:
    """Make a product's name of a folder's, or of a bucket's; ``option`` gives another.

    Raises:
        ConfigError: it has no letter or digit that a product's name may have.

    Example:
        >>> name_of("s3://factory/Lot #2/", "--product")
        'lot-2'
    """
    if data.startswith("s3://"):
        bucket, key = split_address(data)
        last = key.strip("/").rpartition("/")[2] or bucket
    else:
        last = Path(os.path.realpath(data)).name
    name = re.sub(r"[^a-z0-9_-]+", "-", last.lower()).strip("-_")[:63]
    if not name:
        raise ConfigError(
            "a folder that gives the name must have a letter a to z or a digit in its own; "
            f"got {last!r}: give {option}"
        )
    return name


def registered_product(model_uri: str) -> str | None:
    """Return the product whose version a model URI leads to; None where it says none."""
    found = re.match(r"models:/reconad-([a-z0-9_-]+)[/@]", model_uri)
    return found.group(1) if found else None
