"""``reconad predict``: with a version that is loaded here, or by a running server."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from flows.commands.json_file import check_writable, write_json
from flows.commands.map_files import MAPS, OVERLAYS, check_written, make_folders, write_files
from flows.commands.options_by_hand import PredictOptions
from flows.jobs.progress import warn
from reconad_plugin.detector.answer import MAP_COLUMN, Prediction
from reconad_plugin.errors import ConfigError, PlatformError
from reconad_plugin.images.folder import expand_folders
from reconad_plugin.images.names import printable


def run(options: PredictOptions) -> None:
    """Score and label picture files.

    Raises:
        ConfigError: there is nothing to predict; or a map cannot be written, and all else is done.
        PlatformError: the same, where the disk is full or fails; or the server does not answer any
            more. What it has answered stands in the table, the JSON and the maps.
    """
    images = expand_folders(options.pictures)
    if not images:
        raise ConfigError("a prediction needs pictures; got none: see reconad predict --help")
    check_writable(options.json, images)
    given = {MAPS: options.maps, OVERLAYS: options.overlays}
    folders = {option: folder for option, folder in given.items() if folder is not None}
    make_folders(folders, images)
    predictions = list[Prediction]()
    cut_off: ConfigError | PlatformError | None = None
    try:
        for prediction in _predict(options, images, bool(folders)):
            predictions.append(prediction)
    except (ConfigError, PlatformError) as error:
        if not predictions:
            raise
        answered = f"what was answered before stands above: {len(predictions)} of {len(images)}"
        cut_off = type(error)(f"{error}; {answered}")
    images = images[: len(predictions)]
    rows = [
        {"image": str(path)}
        | {name: value for name, value in asdict(prediction).items() if name != MAP_COLUMN}
        for path, prediction in zip(images, predictions, strict=True)
    ]
    failed = write_files(folders, images, predictions)
    source = {"model_uri": options.model_uri} if options.url is None else {"url": options.url}
    try:
        write_json({**source, "predictions": rows}, options.json)
    finally:
        _show(rows, with_versions=options.url is not None)
    if cut_off is not None:
        raise cut_off
    check_written(failed)


def _predict(
    options: PredictOptions, images: Sequence[Path], with_map: bool
) -> Iterable[Prediction]:
    """Choose who predicts; each imports what it needs."""
    if options.url is None:
        from flows.jobs.predict_here import predict_here

        return predict_here(options.model_uri or "", images, with_map, options.max_image_pixels)
    from flows.jobs.predict_by_url import predict_by_url
    from flows.jobs.scoring_client import TOKEN_VARIABLE, ScoringClient

    if options.max_image_pixels is not None:
        raise ConfigError(
            "how large a picture may be is a rule of the version that is served; got "
            "--max-image-pixels with --url: leave one out"
        )
    client = ScoringClient(options.url, os.environ.get(TOKEN_VARIABLE))
    return predict_by_url(client, images, with_map)


def _show(rows: Sequence[Mapping[str, object]], with_versions: bool) -> None:
    image = Column("image", overflow="fold")  # a name is never cut
    table = Table(image, "pred_score", "label", "p_value", *(["version"] if with_versions else []))
    for row in rows:
        name = escape(printable(str(row["image"])))
        cells = "-", escape(printable(str(row["error"]))), "-"
        if row["error"] is None:
            label = "anomalous" if row["pred_label"] else "normal"
            cells = f"{row['pred_score']:.4f}", label, f"{row['p_value']:.4f}"
        version = [escape(printable(str(row["model_version"])))] if with_versions else []
        table.add_row(name, *cells, *version)
    Console().print(table)
    versions = list(dict.fromkeys(str(row["model_version"]) for row in rows))
    if len(versions) > 1:
        warn(
            f"versions {' and '.join(versions)} answered, since the server changed in between: "
            "their scores do not compare"
        )
