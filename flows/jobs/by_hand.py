"""Train, fine-tune, evaluate and predict by hand, on a folder or an S3 prefix: MLflow is needed,
Prefect and a product's settings are not."""

import base64
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
from torch import Generator, Tensor

from flows.jobs.training_job import Fitted, Fitting, fit_and_log, warning_of
from mlflow_models import flavor, registry
from mlflow_models.foundation import Vq, find_vq, vq_tags
from mlflow_models.tracking import read_learnt, run_of, tags_of
from reconad_plugin.config import (
    ProductSettings,
    TrainingSettings,
    check_image_size,
    check_product_name,
)
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.evaluation import Evaluation
from reconad_plugin.detector.evaluation import evaluate as evaluate_detector
from reconad_plugin.detector.prediction import Prediction, predict_contents
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.folder import ImageFolder
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.ledger.splits import CALIBRATION, LIGHT_ONLY, TRAIN, assign_splits
from reconad_plugin.networks.registry import model_spec
from reconad_plugin.plots.figures import plot_simulation
from reconad_plugin.simulation.anomalies import simulate_anomalies
from reconad_plugin.simulation.presets import preset as find_preset
from reconad_plugin.store.mirror import (
    CACHE,
    hash_file,
    hashes_of_textures,
    load_files,
    open_bucket,
    open_source,
    sizes_in_words,
    split_address,
)
from reconad_plugin.training.fit import NormalImages

FINETUNE: Final = "finetune"
SHEET_IMAGES: Final = 12


def train(data: str, product: str | None, settings: ProductSettings, device: str = "cpu") -> Fitted:
    """Train on the normal images of a folder, and register the version.

    Args:
        data: ``DIR`` or ``s3://bucket/prefix``.
        product: name of the registered model; the folder's where None.
        settings: model, size, training.
        device: where to train.
    """
    folder = open_source(data)
    say(sizes_in_words(folder.train, settings.image_size_px))
    vq = find_vq(settings.vq) if settings.vq is not None else None
    return _fit(
        data, product, settings, settings.train, table_of(folder), TRAIN, device=device, vq=vq
    )


def finetune(
    model_uri: str,
    data: str,
    product: str | None,
    training: TrainingSettings,
    seed: int = 0,
    device: str = "cpu",
) -> Fitted:
    """Go on training a version on new normal images, and on the images that it learnt before.

    The new images are repeated until they are about as many as the old ones, so that the new
    world is learnt and the old one is not forgotten.

    Raises:
        ModelFormatError: the version has no list of what it learnt from.
    """
    base = flavor.load_model(model_uri)
    learnt = read_learnt(model_uri)
    learnt = learnt[learnt["split"] != LIGHT_ONLY]
    new = table_of(open_source(data))
    old = _rehearsal(learnt, dict(zip(new["sha256"], new["path"], strict=True)))
    new = new[~new["sha256"].isin(learnt["sha256"])]  # an image never changes its side
    learnt_new = new[new["split"] == TRAIN]
    repeats = max(1, round((old["split"] == TRAIN).sum() / max(1, len(learnt_new))))
    table = pd.concat([old, new, *([learnt_new] * (repeats - 1))], ignore_index=True)
    settings = ProductSettings(
        model=base.model,
        **_choices_of(base),
        image_size_px=base.image_size_px,
        target_fpr=base.calibration.target_fpr,
        max_image_pixels=base.limits.max_pixels,
        min_image_side_px=base.limits.min_side_px,
        calibrate_by="light" if base.light_levels else "none",
        seed=seed,
    )
    name = product or _registered_product(model_uri)
    return _fit(data, name, settings, training, table, FINETUNE, base, model_uri, device)


def evaluate(model_uri: str, data: str, protocol: str = "whole") -> Evaluation:
    """Figures of a version on the test split of a folder."""
    return evaluate_detector(flavor.load_model(model_uri), open_source(data), protocol)


def predict(model_uri: str, images: Sequence[Path], maps: Path | None) -> list[Prediction]:
    """Predictions of picture files; their maps become PNG files in the folder ``maps``.

    Raises:
        ConfigError: a picture is not there, or ``maps`` holds one of them.
    """
    missing = [path for path in images if not path.is_file()]
    if missing:
        raise ConfigError(f"an image must be a file; got {missing[0]}: check the path")
    if maps is not None:
        if _holds_any(maps, images):
            raise ConfigError(
                f"--maps must be a folder that holds none of the pictures; got {maps}: "
                "give another folder"
            )
        make_folder(maps)
    contents = [path.read_bytes for path in images]
    detector = flavor.load_model(model_uri)
    predictions = predict_contents(detector, contents, model_uri, with_map=maps is not None)
    if maps is not None:
        _write_maps(images, predictions, maps)
    return predictions


def simulate(data: str, preset: str, out: Path, size_px: int, seed: int) -> Path:
    """Write a sheet of normal images, simulated masks and what comes of them, as a network of this
    image size sees them; its file.

    Raises:
        ConfigError: ``out`` is a folder that pictures are read from, or no folder.
    """
    check_image_size(size_px)
    folder = open_source(data)
    if _holds_any(out, _files_of(folder)):
        raise ConfigError(
            f"--out must be a folder that no pictures are read from; got {out}: give another folder"
        )
    make_folder(out)
    paths = list(folder.train)[:SHEET_IMAGES]
    say(sizes_in_words(paths, size_px))
    repeated = [paths[place % len(paths)] for place in range(SHEET_IMAGES)]
    images = load_files(repeated, size_px, ImageLimits())
    simulated = simulate_anomalies(images, Generator().manual_seed(seed), find_preset(preset))
    file = out / f"{preset}.png"
    plot_simulation(images, simulated.mask, simulated.pixels, f"preset {preset}").savefig(
        file, dpi=110
    )
    return file


def make_folder(folder: Path) -> None:
    """Make a folder that results go to, before the work.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"results go to a folder; {folder} cannot be one: {error.strerror}"
        ) from None


def _files_of(folder: ImageFolder) -> list[Path]:
    """All pictures and masks of a folder."""
    masks = [file.mask_path for file in folder.test if file.mask_path is not None]
    return [*folder.train, *(file.path for file in folder.test), *masks]


def _holds_any(folder: Path, files: Sequence[Path]) -> bool:
    """Whether a file lies in a folder, as it is named or as its link leads."""
    homes = {home for file in files for home in (file.parent.resolve(), file.resolve().parent)}
    return folder.resolve() in homes


def _write_maps(images: Sequence[Path], predictions: Sequence[Prediction], folder: Path) -> None:
    """One PNG file a picture; see ``map_names``."""
    for name, prediction in zip(map_names(images), predictions, strict=True):
        if prediction.anomaly_map is not None:
            (folder / name).write_bytes(base64.b64decode(prediction.anomaly_map))


def map_names(images: Sequence[Path]) -> list[str]:
    """``<stem>.png`` for each picture, or ``<folder>_<stem>.png`` where two have one stem; where
    that is taken too, numbered from the second on.

    Example:
        >>> map_names([Path("a/good/0.png"), Path("b/good/0.png"), Path("b/bad/0.png")])
        ['good_0.png', 'good_0-2.png', 'bad_0.png']
    """
    is_unique = len({path.stem for path in images}) == len(images)
    names: dict[str, None] = {}  # in order
    for path in images:
        stem = path.stem if is_unique else f"{path.resolve().parent.name}_{path.stem}"
        name, number = f"{stem}.png", 2
        while name in names:
            name, number = f"{stem}-{number}.png", number + 1
        names[name] = None
    return list(names)


def _fit(
    data: str,
    product: str | None,
    settings: ProductSettings,
    training: TrainingSettings,
    table: pd.DataFrame,
    purpose: str,
    base: Detector | None = None,
    base_version: str = "none",
    device: str = "cpu",
    vq: Vq | None = None,
) -> Fitted:
    name = check_product_name(product or name_of(data, "--product"))
    stands_on = vq.tags if vq else vq_tags(tags_of(base_version) if base is not None else {})
    content = {
        "product": name,
        "purpose": purpose,
        "images": sorted(table["sha256"]),
        "settings": settings.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "textures": hashes_of_textures(training.textures),
        "base": run_of(base_version) if base is not None else "none",  # an alias may move
        **stands_on,
    }
    registry.versions(name)  # MLflow must answer before the training and not after it

    def load(split: str) -> Tensor:
        paths = [Path(path) for path in table.loc[table["split"] == split, "path"]]
        return load_files(paths, settings.image_size_px, settings.limits)

    images = NormalImages(train=load(TRAIN), calibration=load(CALIBRATION), judge=load("judge"))
    fitted = fit_and_log(
        Fitting(
            product=name,
            settings=settings,
            training=training,
            images=images,
            request=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
            purpose=purpose,
            run_name=f"{purpose} {settings.model}",
            base=base,
            base_version=base_version,
            sources={data: table[["uri", "sha256", "split"]].drop_duplicates()},
            learnt=table.drop_duplicates("sha256"),
            tags=stands_on,
            vq=vq.network if vq else None,
        ),
        device,
    )
    say(warning_of(fitted.detector))
    return fitted


def say(remark: str | None) -> None:
    """A remark for whoever typed the command, if there is one."""
    if remark is not None:
        print(f"reconad: {remark}", file=sys.stderr)


def table_of(folder: ImageFolder) -> pd.DataFrame:
    """Normal images of a folder with their side: ``path``, ``uri``, ``sha256``, ``split``.

    No gate judges here, so its side trains as well: four of five images train, one calibrates.
    """
    paths = {hash_file(path): path for path in folder.train}  # equal files are one image
    splits = assign_splits(list(paths), already=0)
    return pd.DataFrame(
        [
            {
                "path": str(path),
                "uri": str(path.resolve()),
                "sha256": sha256,
                "split": CALIBRATION if splits[sha256] == CALIBRATION else TRAIN,
            }
            for sha256, path in paths.items()
        ]
    )


def _rehearsal(learnt: pd.DataFrame, here: dict[str, str]) -> pd.DataFrame:
    """Earlier images as they can still be had, from disk or from S3, with a word on the others."""
    names = zip(learnt["uri"], learnt["sha256"], strict=True)
    paths = [here.get(sha256) or _fetch(uri, sha256) for uri, sha256 in names]
    gone = paths.count(None)
    if gone:
        say(
            f"{gone} of {len(learnt)} images that the version learnt from are gone or changed; "
            "the others are rehearsed"
        )
    return learnt.assign(path=[str(path or "") for path in paths]).query("path != ''")


def _fetch(uri: str, sha256: str) -> Path | None:
    """A local file with these bytes, or None.

    Raises:
        StorageError: the bucket cannot be read, so that nobody knows what is gone.
    """
    path = Path(uri)
    if uri.startswith("s3://"):
        bucket, key = split_address(uri)
        path = CACHE / "s3" / bucket / key.lstrip("/")
        if not _holds(path, sha256):
            content = open_bucket(bucket).read_optional(key)
            if content is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    return path if _holds(path, sha256) else None


def _holds(path: Path, sha256: str) -> bool:
    return path.is_file() and hash_file(path) == sha256


def name_of(data: str, option: str) -> str:
    """A folder's name, or a bucket's, as a product's.

    Args:
        data: ``DIR`` or ``s3://bucket/prefix``.
        option: where a name can be given instead.

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
        last = Path(data).resolve().name
    name = re.sub(r"[^a-z0-9_-]+", "-", last.lower()).strip("-_")[:63]
    if not name:
        raise ConfigError(
            "a folder that gives the name must have a letter a to z or a digit in its own; "
            f"got {last!r}: give {option}"
        )
    return name


def _registered_product(model_uri: str) -> str | None:
    found = re.match(r"models:/reconad-([a-z0-9_-]+)[/@]", model_uri)
    return found.group(1) if found else None


def _choices_of(base: Detector) -> dict[str, Any]:
    """The width and options that a detector was built with."""
    spec = model_spec(base.model)
    sizes = base.architecture.items()
    own = {  # besides those of what it stands on, which may be of any size
        name: {pair for pair in of.items() if pair[0] not in spec.vq_sizes}
        for name, of in spec.widths.items()
    }
    width = next((name for name, of in own.items() if of <= sizes), None)
    options = {name: value for name, value in sizes if name in spec.network_options}
    return {"width": width, "options": options}
