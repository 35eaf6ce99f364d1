"""What ``--json FILE`` gets: one object."""

import json
from pathlib import Path
from typing import Any

from reconad_plugin.errors import ConfigError


def check_writable(file: Path | None) -> None:
    """Look before long work whether the file can be written.

    Raises:
        ConfigError: it cannot.
    """
    if file is not None and (file.is_dir() or not file.resolve().parent.is_dir()):
        raise ConfigError(f"--json must be a file in a folder that is there; got {file}")


def write_json(content: dict[str, Any], file: Path | None) -> None:
    """Write an object of finite numbers, where a file was asked for."""
    if file is not None:
        file.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
