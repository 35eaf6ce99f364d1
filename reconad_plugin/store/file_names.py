"""Names of our own for files on this disk, made of keys, which may hold anything."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

NOTE: Final = ".etags.json"  # beside the files of a copy
_MAX_BYTES: Final = 255  # of a file's name
_MAX_ENDING_BYTES: Final = 16
# control characters, backslashes, and what would read as one of our escapes
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f\\]|%(?=[0-9A-Fa-f]{2})")
_RESERVED: Final = frozenset({".", "..", "%", NOTE})


def file_path(key: str) -> str:
    """Make a path that stays below its folder, another one for each key; it is the key itself where
    no part of that is longer than a file's name or reads as something else.

    Example:
        >>> [file_path(key) for key in ("good/a.png", "good//a.png", "../a.png")]
        ['good/a.png', 'good/%/a.png', '%2E%2E/a.png']
    """
    return "/".join(_file_name(part) for part in key.split("/"))


def file_paths(names: Iterable[str]) -> dict[str, str]:
    """Make a path for each name of objects below one prefix. In a bucket a file and a folder may
    have one name: such a file gets another."""
    paths = {name: file_path(name) for name in names}
    folders = {str(folder) for path in paths.values() for folder in PurePosixPath(path).parents}
    return {name: _apart(path) if path in folders else path for name, path in paths.items()}


def _file_name(part: str) -> str:
    """Make a name for a part of a key, between two slashes."""
    if not part:
        return "%"
    name = (
        "".join(map(_escaped, part))
        if part in _RESERVED
        else _UNSAFE.sub(lambda found: _escaped(found[0]), part)
    )
    return name if len(name.encode()) <= _MAX_BYTES else _apart(name)


def _escaped(character: str) -> str:
    return f"%{ord(character):02X}"


def _apart(path: str) -> str:
    """Add a hash of the path to its last part, which is cut to the length of a file's name."""
    folder, slash, name = path.rpartition("/")
    ending = PurePosixPath(name).suffix
    ending = ending if len(ending.encode()) <= _MAX_ENDING_BYTES else ""
    tail = f"~{hashlib.sha256(path.encode()).hexdigest()[:16]}{ending}"
    stem = name.removesuffix(ending).encode()[: _MAX_BYTES - len(tail.encode())]
    return f"{folder}{slash}{stem.decode(errors='ignore')}{tail}"
