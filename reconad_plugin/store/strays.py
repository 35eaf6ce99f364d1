"""Files that lie in a bucket though nobody brought them as data: passed over, and named once."""

from pathlib import PurePosixPath
from typing import Final

from reconad_plugin.images.folder import PICTURE_SUFFIXES

_NAMES: Final = frozenset({
    ".directory", ".ds_store", ".localized", "desktop.ini", "ehthumbs.db", "icon\r", "thumbs.db",
})  # fmt: skip
_FOLDERS: Final = frozenset({
    "$recycle.bin", ".appledouble", ".fseventsd", ".spotlight-v100", ".trashes", "@eadir",
    "__macosx", "system volume information",
})  # fmt: skip
_MARKS_A_FOLDER: Final = "_$folder$"  # Hadoop's


def is_left_by_system(key: str) -> bool:
    """Say whether an operating system or a copying tool left an object there for itself.

    Example:
        >>> is_left_by_system("gear/incoming/2026-01-31/._a.png")
        True
    """
    *folders, name = key.lower().split("/")
    is_own = name in _NAMES or name.startswith("._") or name.endswith(_MARKS_A_FOLDER)
    return is_own or not _FOLDERS.isdisjoint(folders)


def is_foreign(name: str) -> bool:
    """Say whether an object among pictures is hidden, or has an ending that no picture has.

    Example:
        >>> [is_foreign(name) for name in ("crack/README.txt", "crack/0001", "crack/a.PNG")]
        [True, False, False]
    """
    is_hidden = any(part.startswith(".") for part in name.split("/"))
    ending = PurePosixPath(name).suffix.lower()
    has_own_ending = ending[1:2].isalpha() and ending not in PICTURE_SUFFIXES
    return is_hidden or has_own_ending or name.endswith("/")
