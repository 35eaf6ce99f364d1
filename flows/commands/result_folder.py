"""Folders that results go to."""

import os
from collections.abc import Sequence
from pathlib import Path

from reconad_plugin.errors import ConfigError


def make_folder(folder: Path) -> None:
    """Make a folder that results go to, before the work.

    Raises:
        ConfigError: it cannot be made, or may not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"results go to a folder; {folder} cannot be one: {error.strerror}"
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"results go to a folder that may be written; {folder} may not")


def holds_any(folder: Path, files: Sequence[Path]) -> bool:
    """Tell whether a file lies in a folder, as it is named or as its link leads."""
    homes = {os.path.realpath(file.parent) for file in files}
    homes |= {str(Path(os.path.realpath(file)).parent) for file in files}
    return os.path.realpath(folder) in homes
