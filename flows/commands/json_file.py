"""What ``--json FILE`` gets: one object."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from reconad_plugin.errors import ConfigError
from reconad_plugin.images.names import as_text


def check_writable(file: Path | None) -> None:
    """Look before long work whether the file can be written.

    Raises:
        ConfigError: it cannot.
    """
    if file is None:
        return
    folder = file.resolve().parent
    if file.is_dir() or not folder.is_dir():
        raise ConfigError(f"--json must be a file in a folder that is there; got {file}")
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise ConfigError(f"--json must be a file that may be written; {file} may not")


def write_json(content: Mapping[str, object], file: Path | None) -> None:
    """Write an object of finite numbers, where a file was asked for; names become valid text.

    Raises:
        ConfigError: it cannot be written; the work itself is done.
    """
    if file is None:
        return
    try:
        text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
        file.write_text(as_text(text, escape="\\\\") + "\n", encoding="utf-8")
    except OSError as error:
        why = f"{file}: {error.strerror}. All else is done"
        raise ConfigError(f"--json must be a file that can be written; {why}") from None
