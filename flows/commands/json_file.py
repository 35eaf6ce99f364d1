"""What ``--json FILE`` gets: one object."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from reconad_plugin.errors import DISK_ERRORS, ConfigError, PlatformError
from reconad_plugin.images.folder import PICTURE_SUFFIXES
from reconad_plugin.images.names import as_text


def check_writable(file: Path | None, pictures: Sequence[Path] = ()) -> None:
    """Look before long work whether the file can be written, and takes no picture's place.

    Raises:
        ConfigError: it cannot, or it has a picture's name or is one of the pictures.
    """
    if file is None:
        return
    real = Path(os.path.realpath(file))
    if real.is_dir() or real.is_symlink() or not real.parent.is_dir():  # a link to itself stays one
        raise ConfigError(f"--json must be a file in a folder that is there; got {file}")
    if real.suffix.lower() in PICTURE_SUFFIXES or _is_any(real, pictures):
        raise ConfigError(
            f"--json must be a file that is none of the pictures; got {file}: give another name"
        )
    there = real.exists()
    if not os.access(real if there else real.parent, os.W_OK if there else os.W_OK | os.X_OK):
        raise ConfigError(f"--json must be a file that may be written; {file} may not")


def _is_any(file: Path, others: Sequence[Path]) -> bool:
    """Tell whether a file is one of others, by whatever name."""
    for other in others:
        with suppress(OSError):  # one of them is not there
            if file.samefile(other):
                return True
    return False


def write_json(content: Mapping[str, object], file: Path | None) -> None:
    """Write an object of finite numbers, where a file was asked for; names become valid text.

    Raises:
        ConfigError: it cannot be written; the work itself is done.
        PlatformError: the same, where the disk is full or fails.
    """
    if file is None:
        return
    try:
        text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
        file.write_text(as_text(text, escape="\\\\") + "\n", encoding="utf-8")
    except OSError as error:
        why = f"{file}: {error.strerror}. All else is done"
        kind = PlatformError if error.errno in DISK_ERRORS else ConfigError
        raise kind(f"--json must be a file that can be written; {why}") from None
