"""Decoded pictures on the local disk: decoded once, then read as pixels.

One file a size holds the pictures one after the other, a second one their SHA-256 in the same
order. Both grow until they are removed as a whole. A kill in mid-write leaves pixels without a
hash, which are written over.
"""

import fcntl
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.images.size import ImageSize

DECODERS: Final = 4  # threads
PIXELS_SUFFIX: Final = ".u8"
HASHES_SUFFIX: Final = ".sha256"
_HASH_BYTES: Final = hashlib.sha256().digest_size
_NAME: Final = "pixels-v2"  # another number whenever decoding or resizing changes
_CHUNK: Final = 256  # pictures decoded before they are written


class PixelCache:
    """Pictures of one size by the hash of their file. Safe with several writers.

    Args:
        folder: where the files are; it can be deleted at any time.
        size: of the pictures.
    """

    def __init__(self, folder: Path, size: ImageSize) -> None:
        self._pixels = folder / f"{_NAME}-{size.setting}{PIXELS_SUFFIX}"
        self._hashes = self._pixels.with_suffix(HASHES_SUFFIX)
        self._shape = (3, *size.shape)
        self._picture_bytes = 3 * size.pixels

    def load(
        self, hashes: Sequence[str], decode: Callable[[int], NDArray[np.uint8]]
    ) -> NDArray[np.uint8]:
        """Load pictures by hash, decoded where they are not here yet.

        Args:
            hashes: SHA-256 of N files, in hexadecimal.
            decode: index in ``hashes`` -> (H, W, 3) uint8; called in threads.

        Returns:
            (N, 3, H, W) uint8. Where they stand in the file one after the other it is the file
            itself, mapped into memory; changes to it stay in memory.
        """
        if not hashes:
            return np.empty((0, *self._shape), np.uint8)
        with _locked(self._pixels):
            rows = self._rows()
            missing = {name: index for index, name in enumerate(hashes) if name not in rows}
            if missing:
                self._append(missing, decode, len(rows))
                rows = self._rows()
            self._hashes.touch()  # so that what was used longest ago goes first
            stored = np.memmap(self._pixels, np.uint8, "c", shape=(len(rows), *self._shape))
        wanted = [rows[name] for name in hashes]
        first, end = wanted[0], wanted[0] + len(wanted)
        in_a_row = wanted == list(range(first, end))
        return stored[first:end] if in_a_row else stored[wanted]

    def _rows(self) -> dict[str, int]:
        content = self._hashes.read_bytes() if self._hashes.exists() else b""
        stored = self._pixels.stat().st_size if self._pixels.exists() else 0
        count = min(len(content) // _HASH_BYTES, stored // self._picture_bytes)
        return {
            content[row * _HASH_BYTES : (row + 1) * _HASH_BYTES].hex(): row for row in range(count)
        }

    def _append(
        self, missing: dict[str, int], decode: Callable[[int], NDArray[np.uint8]], count: int
    ) -> None:
        names, indices = list(missing), list(missing.values())
        with (
            self._pixels.open("ab") as pixels,
            self._hashes.open("ab") as hashes,
            ThreadPoolExecutor(DECODERS) as threads,
        ):
            pixels.truncate(count * self._picture_bytes)
            hashes.truncate(count * _HASH_BYTES)
            for start in range(0, len(names), _CHUNK):
                for picture in threads.map(decode, indices[start : start + _CHUNK]):
                    pixels.write(np.ascontiguousarray(picture.transpose(2, 0, 1)).tobytes())
                pixels.flush()
                hashes.write(bytes.fromhex("".join(names[start : start + _CHUNK])))
                hashes.flush()


def remove_pixels(pixels: Path) -> None:
    """Remove the pictures of one size. Who has loaded some keeps them; they are decoded again."""
    with _locked(pixels):
        pixels.unlink(missing_ok=True)
        pixels.with_suffix(HASHES_SUFFIX).unlink(missing_ok=True)


@contextmanager
def _locked(pixels: Path) -> Iterator[None]:
    pixels.parent.mkdir(parents=True, exist_ok=True)
    with pixels.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
