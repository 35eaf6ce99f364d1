"""Texts of the command line that typer leaves as they are."""

import math
import re
from typing import Final

import typer

from reconad_plugin.errors import ConfigError

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_budget(text: str) -> float:
    """Read ``90s``, ``15m``, ``1h`` or plain seconds as seconds.

    Raises:
        ConfigError: it is none of these, or not above 0.

    Example:
        >>> parse_budget("15m"), parse_budget("90")
        (900.0, 90.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    seconds = float(found.group(1)) * _UNITS[found.group(2)] if found else 0.0
    if not seconds > 0:
        raise ConfigError(f"a budget must be a time above 0, such as 90s, 15m or 1h; got {text!r}")
    return seconds


def parse_count(text: str | int) -> int:
    """Read a whole number, or raise ``BadParameter``."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"it must be a whole number; got {text!r}") from None


def parse_positive(text: str | int) -> int:
    """Read a whole number of at least 1, or raise ``BadParameter``."""
    count = parse_count(text)
    if count < 1:
        raise typer.BadParameter(f"it must be at least 1; got {count}")
    return count


def parse_seed(text: str | int) -> int:
    """Read what numpy and torch both take as a seed, or raise ``BadParameter``."""
    seed = parse_count(text)
    if not 0 <= seed < 2**63:
        raise typer.BadParameter(f"it must be from 0 to 2^63 - 1; got {seed}")
    return seed


def parse_number(text: str | float) -> float:
    """Read a number, or raise ``BadParameter``."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"it must be a number; got {text!r}") from None


def parse_size(text: str | float) -> float:
    """Read a number above 0, or raise ``BadParameter``."""
    size = parse_number(text)
    if not 0 < size < math.inf:
        raise typer.BadParameter(f"it must be a number above 0; got {size}")
    return size


def parse_option(text: str) -> tuple[str, bool | float | str]:
    """Read ``NAME=VALUE``.

    Raises:
        ConfigError: it has no value.

    Example:
        >>> parse_option("sspcab=true"), parse_option("denoising=0.1"), parse_option("light=local")
        (('sspcab', True), ('denoising', 0.1), ('light', 'local'))
    """
    name, _, value = text.partition("=")
    if not value:
        raise ConfigError(f"an option must be NAME=VALUE; got {text!r}")
    if value in ("true", "false"):
        return name, value == "true"
    try:
        return name, float(value)
    except ValueError:
        return name, value
