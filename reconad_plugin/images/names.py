"""Names that a file system has and text has not: how they are read, shown and kept."""

import logging
import os
import re
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from reconad_plugin.errors import InvalidImageError

_NO_TEXT: Final = re.compile(
    "[\ud800-\udfff]"
)  # bytes of a name that are no UTF-8, as Python has them

_logger = logging.getLogger(__name__)


def read_file(path: Path) -> bytes:
    """Read the bytes of a picture's file.

    Raises:
        InvalidImageError: it is not there, is no file, such as a pipe that never ends, or cannot be
            read.
    """
    try:
        if path.is_file():
            return path.read_bytes()
        why: str | None = "it is none" if path.exists() else "there is none of this name"
    except OSError as error:
        why = error.strerror
    raise InvalidImageError("unreadable", f"an image must be a file that can be read; {why}")


def as_text(name: str, escape: str = "\\") -> str:
    r"""Write what is no text in a name as an escape.

    Example:
        >>> as_text("caf\udce9.png")
        'caf\\xe9.png'
    """
    return _NO_TEXT.sub(lambda found: f"{escape}x{ord(found[0]) & 0xFF:02x}", name)


def printable(text: str) -> str:
    r"""Write a text on one line, with whatever cannot be printed as an escape.

    Example:
        >>> printable("a\nb\udce9.png")
        'a\\nb\\xe9.png'
    """
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in as_text(text))
    return "".join(shown)


def uri_of(path: Path) -> str:
    """Return where a file is, as an address that any text can hold: its path, or a file URI where
    that has characters that cannot be printed."""
    whole = Path(os.path.realpath(path))
    return str(whole) if str(whole).isprintable() else whole.as_uri()


def path_of(uri: str) -> Path:
    """Return the file that ``uri_of`` gave an address of."""
    scheme, is_uri, rest = uri.partition("file://")
    return Path(os.fsdecode(unquote_to_bytes(rest))) if is_uri and not scheme else Path(uri)


@cache
def pass_over(address: str, why: str = "it is none of the files that belong there") -> None:
    """Name something that is passed over, once a run."""
    _logger.warning("%s is passed over: %s", printable(address), why)
