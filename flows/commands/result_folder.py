"""Folders that results go to."""

from collections.abc import Sequence
from pathlib import Path

from reconad_plugin.errors import ConfigError


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


def holds_any(folder: Path, files: Sequence[Path]) -> bool:
    """Tell whether a file lies in a folder, as it is named or as its link leads."""
    homes = {home for file in files for home in (file.parent.resolve(), file.resolve().parent)}
    return folder.resolve() in homes
