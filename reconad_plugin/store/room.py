"""Room on the local disk: which files of the caches go when they take too much."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconad_plugin.store.pixels import HASHES_SUFFIX, PIXELS_SUFFIX, remove_pixels

_SHA256: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class CachedFile:
    """A picture's file, or the decoded pictures of one size."""

    path: Path
    size_bytes: int
    used_s: float  # when it was last used, seconds since 1970

    @property
    def sha256(self) -> str | None:
        """Hash of a picture's file; None for decoded pictures."""
        return None if self.path.suffix == PIXELS_SUFFIX else self.path.name

    def remove(self) -> None:
        """Remove it, also while others read: they fetch or decode it again."""
        if self.sha256 is None:
            remove_pixels(self.path)
        else:
            self.path.unlink(missing_ok=True)


def cached_files(folder: Path) -> list[CachedFile]:
    """List what the caches in a folder have kept of pictures; copies of folders are none of it."""
    pictures = [path for path in folder.glob("??/*") if _SHA256.fullmatch(path.name)]
    found = [(path, path) for path in pictures if path.name.startswith(path.parent.name)]
    pixels = folder.glob(f"pixels-*{PIXELS_SUFFIX}")
    found += [(path, path.with_suffix(HASHES_SUFFIX)) for path in pixels]
    return [each for path, used in found if (each := _look_at(path, used)) is not None]


def longest_unused(
    files: Iterable[CachedFile], most_bytes: float, is_elsewhere: Callable[[str], bool]
) -> list[CachedFile]:
    """Choose what goes, from what was used longest ago on, until the rest takes so much at most.

    Args:
        files: see ``cached_files``.
        most_bytes: that may stay.
        is_elsewhere: says of a picture's SHA-256 whether it can be fetched again; others stay.
    """
    files = sorted(files, key=lambda each: each.used_s)
    over, chosen = sum(each.size_bytes for each in files) - most_bytes, list[CachedFile]()
    for each in files:
        if over <= 0:
            break
        if each.sha256 is None or is_elsewhere(each.sha256):
            chosen.append(each)
            over -= each.size_bytes
    return chosen


def _look_at(path: Path, used: Path) -> CachedFile | None:
    """Return None where somebody removed it meanwhile."""
    try:
        return CachedFile(path, path.stat().st_size, used.stat().st_mtime)
    except FileNotFoundError:
        return None
