"""Bytes of images on the local disk, found by their SHA-256."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from reconad_plugin.errors import StorageError


class ContentCache:
    """A folder of files named by the hash of their content. Safe with several writers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, sha256: str) -> bool:
        """Say whether the bytes of a hash are here."""
        return self._path(sha256).exists()

    def put(self, sha256: str, content: bytes) -> None:
        """Keep bytes under their hash."""
        path = self._path(sha256)
        if not path.exists():
            write_whole(path, content)

    def get(self, sha256: str, fetch: Callable[[], bytes]) -> bytes:
        """Return the bytes of a hash, fetched and kept where they are not here.

        Raises:
            StorageError: what was fetched are other bytes.
        """
        path = self._path(sha256)
        with suppress(FileNotFoundError):  # which it may become at any time: see `room`
            content = path.read_bytes()
            with suppress(PermissionError):  # of another user's file
                os.utime(path)  # so that what was used longest ago goes first
            return content
        content = fetch()
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise StorageError(
                f"an image must be the one that was taken in, {sha256[:12]}; the bucket now "
                f"holds {found[:12]} under its key: run its night again"
            )
        self.put(sha256, content)
        return content

    def _path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the whole of it or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)


def read_note(path: Path) -> dict[str, str | list[str]]:
    """Read what is noted of each key; empty where no note can be read, so that all is fetched."""
    try:
        note: dict[str, str | list[str]] = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return note
