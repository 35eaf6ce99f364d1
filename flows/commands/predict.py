"""``reconad predict``."""

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from flows.commands.json_file import check_writable, write_json
from flows.commands.options import PredictOptions
from flows.commands.result_folder import holds_any, make_folder
from mlflow_models import flavor
from reconad_plugin.detector.prediction import Prediction, predict_contents
from reconad_plugin.errors import DISK_ERRORS, ConfigError, PlatformError
from reconad_plugin.images.names import printable, read_file
from reconad_plugin.ledger.manifest import camera_position

_MOST_NAME_BYTES: Final = 255  # of a file


def run(options: PredictOptions) -> None:
    """Score and label picture files.

    Raises:
        ConfigError: a map cannot be written; all else is done.
        PlatformError: the same, where the disk is full or fails.
    """
    check_writable(options.json, options.images)
    predictions = predict(options.model_uri, options.images, options.maps, options.max_image_pixels)
    rows = [
        {"image": str(path)}
        | {name: value for name, value in asdict(prediction).items() if name != "anomaly_map"}
        for path, prediction in zip(options.images, predictions, strict=True)
    ]
    failed = [] if options.maps is None else write_maps(options.images, predictions, options.maps)
    try:
        write_json({"model_uri": options.model_uri, "predictions": rows}, options.json)
    finally:
        _show(rows)
    if failed:
        kind = PlatformError if failed[0].errno in DISK_ERRORS else ConfigError
        why = f"{failed[0].filename or 'the disk'}: {failed[0].strerror}. All else is done"
        raise kind(
            f"--maps must be a folder that takes each map; {len(failed)} failed, such as {why}"
        )


def _show(rows: Sequence[Mapping[str, object]]) -> None:
    image = Column("image", overflow="fold")  # a name is never cut
    table = Table(image, "pred_score", "label", "p_value")
    for row in rows:
        name = escape(printable(str(row["image"])))
        if row["error"] is not None:
            table.add_row(name, "-", escape(str(row["error"])), "-")
            continue
        label = "anomalous" if row["pred_label"] else "normal"
        table.add_row(name, f"{row['pred_score']:.4f}", label, f"{row['p_value']:.4f}")
    Console().print(table)


def predict(
    model_uri: str, images: Sequence[Path], maps: Path | None, max_pixels: int | None = None
) -> list[Prediction]:
    """Predict picture files, with what was found in them, and with their maps where there is a
    folder ``maps`` for them.

    Raises:
        ConfigError: ``maps`` holds a picture, or may not be written.
    """
    if maps is not None:
        if holds_any(maps, images):
            raise ConfigError(
                f"--maps must be a folder that holds none of the pictures; got {maps}: "
                "give another folder"
            )
        make_folder(maps)
    contents = [partial(read_file, path) for path in images]
    detector = flavor.load_model(model_uri).taking(max_pixels)
    known = detector.known_contexts
    told = None
    if known is not None and known.pattern is not None:
        told = [camera_position(path.name, known.pattern) for path in images]
    return predict_contents(
        detector, contents, model_uri, with_map=maps is not None, with_regions=True, contexts=told
    )


def write_maps(
    images: Sequence[Path], predictions: Sequence[Prediction], folder: Path
) -> list[OSError]:
    """Write one PNG file a picture, see ``map_names``; return why some could not be written."""
    failed = []
    for name, prediction in zip(map_names(images), predictions, strict=True):
        if prediction.anomaly_map is not None:
            try:
                (folder / name).unlink(missing_ok=True)  # a link may lead to a picture
                (folder / name).write_bytes(base64.b64decode(prediction.anomaly_map))
            except OSError as error:
                failed.append(error)
    return failed


def map_names(images: Sequence[Path]) -> list[str]:
    """Name each picture's map ``<stem>.png``, or ``<folder>_<stem>.png`` where two have one stem;
    where that is taken too, numbered from the second on. What is too long for a file's name is cut.

    Example:
        >>> map_names([Path("a/good/0.png"), Path("b/good/0.png"), Path("b/bad/0.png")])
        ['good_0.png', 'good_0-2.png', 'bad_0.png']
    """
    is_unique = len({path.stem for path in images}) == len(images)
    names: dict[str, None] = {}  # in order
    for path in images:
        stem = path.stem if is_unique else f"{Path(os.path.realpath(path)).parent.name}_{path.stem}"
        name, number = _name_with(stem, ".png"), 2
        while name in names:
            name, number = _name_with(stem, f"-{number}.png"), number + 1
        names[name] = None
    return list(names)


def _name_with(stem: str, end: str) -> str:
    """Put an end to a name, and cut its stem where both are too long."""
    while len(os.fsencode(stem + end)) > _MOST_NAME_BYTES:
        stem = stem[:-1]
    return stem + end
