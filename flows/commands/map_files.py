"""A file for each picture that was predicted: its map, or itself with its map laid over it."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from flows.commands.result_folder import holds_any, make_folder
from reconad_plugin.detector.answer import Prediction, decode_base64
from reconad_plugin.errors import DISK_ERRORS, ConfigError, InvalidImageError, PlatformError
from reconad_plugin.images.names import read_file

MAPS: Final = "--maps"
OVERLAYS: Final = "--overlays"
_MOST_NAME_BYTES: Final = 255  # of a file

Failure = OSError | InvalidImageError
Folders = Mapping[str, Path]  # option -> folder


def make_folders(folders: Folders, images: Sequence[Path]) -> None:
    """Make the folders that are asked for, before the work.

    Raises:
        ConfigError: one holds a picture, may not be written, or is the other.
    """
    for option, folder in folders.items():
        if holds_any(folder, images):
            raise ConfigError(
                f"{option} must be a folder that holds none of the pictures; got {folder}: "
                "give another folder"
            )
        make_folder(folder)
    if len({os.path.realpath(folder) for folder in folders.values()}) < len(folders):
        raise ConfigError(
            f"{' and '.join(folders)} must be two folders, since files have the same names there"
        )


def write_files(
    folders: Folders, images: Sequence[Path], predictions: Sequence[Prediction]
) -> Mapping[str, list[Failure]]:
    """Write one PNG file a picture to each folder, see ``map_names``; return, by option, why some
    could not be written."""
    return {
        option: _write(folder, images, predictions, _DRAWN[option])
        for option, folder in folders.items()
    }


def check_written(failed: Mapping[str, list[Failure]]) -> None:
    """Check what ``write_files`` returned.

    Raises:
        ConfigError: a file could not be written; all others are.
        PlatformError: the same, where the disk is full or fails.
    """
    for option, failures in failed.items():
        if not failures:
            continue
        first, is_of_disk = failures[0], False
        why = str(first)
        if isinstance(first, OSError):
            is_of_disk = first.errno in DISK_ERRORS
            why = f"{first.filename or 'the disk'}: {first.strerror}"
        raise (PlatformError if is_of_disk else ConfigError)(
            f"{option} must be a folder that takes each map; {len(failures)} failed, such as "
            f"{why}. All else is done"
        )


def _write(
    folder: Path,
    images: Sequence[Path],
    predictions: Sequence[Prediction],
    draw: Callable[[Path, bytes], bytes],
) -> list[Failure]:
    failed: list[Failure] = []
    for name, image, prediction in zip(map_names(images), images, predictions, strict=True):
        if prediction.anomaly_map is not None:
            try:
                content = draw(image, decode_base64(prediction.anomaly_map, "a map"))
                (folder / name).unlink(missing_ok=True)  # a link may lead to a picture
                (folder / name).write_bytes(content)
            except (OSError, InvalidImageError) as error:
                failed.append(error)
    return failed


def _map_alone(image: Path, anomaly_map: bytes) -> bytes:
    return anomaly_map


def _overlay(image: Path, anomaly_map: bytes) -> bytes:
    from reconad_plugin.plots.overlays import draw_overlay  # with scipy, where it is asked for

    return draw_overlay(read_file(image), anomaly_map)


_DRAWN: Final = {MAPS: _map_alone, OVERLAYS: _overlay}


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
