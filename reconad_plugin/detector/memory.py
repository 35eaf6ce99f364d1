"""Let networks use the same memory again and again."""

import ctypes
from contextlib import suppress
from typing import Final

# names and limits of glibc's malloc.h
_TRIM_THRESHOLD: Final = -1  # bytes at the end of the heap from which on they are handed back
_MMAP_THRESHOLD: Final = -3  # bytes of a block from which on it is the system's own
_ARENA_MAX: Final = -8  # heaps, of which each thread has its own otherwise
_MOST_BYTES: Final = (1 << 31) - 1


def keep_freed_memory() -> None:
    """Let the C library keep what is freed between two layers, for the next one.

    By itself it hands large blocks back, and the system empties each of their pages anew: a fifth
    of a training step of ``ae``, a third of a request to a server. Other libraries than glibc stay
    as they are.
    """
    with suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_MMAP_THRESHOLD, _MOST_BYTES)
        set_option(_TRIM_THRESHOLD, _MOST_BYTES)
        set_option(_ARENA_MAX, 1)
