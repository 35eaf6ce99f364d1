"""Rows on the local disk, on their way to the bucket.

Each process has a folder of its own, whose lock it holds for as long as it lives. Rows are
appended to one file, which is closed now and then and sent as one object. The object's name
follows from the file's, so that a file that is sent twice is there once. What a process that was
killed left is sent by any other, which takes over its lock.
"""

import fcntl
import os
import shutil
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

_LOCK: Final = "lock"
_OPEN, _COMPLETE = ".open", ".arrow"  # endings of files
_BEING_MADE: Final = "."  # begins the name of a folder that has no lock yet


@dataclass(frozen=True)
class SpoolFile:
    """A file that nothing is appended to any more: ``<folder>/<writer>/<group>.<number>.arrow``."""

    path: Path

    @property
    def group(self) -> str:
        """What all its rows have in common."""
        return self.path.name.split(".")[0]

    @property
    def name(self) -> str:
        """Its name among the files of all writers."""
        return f"{self.path.parent.name}-{self.path.name.split('.')[1]}"

    def read(self) -> list[pa.RecordBatch]:
        """Read its rows, up to where its writer was killed if it was."""
        batches: list[pa.RecordBatch] = []
        with suppress(pa.ArrowInvalid, OSError), pa.ipc.open_stream(self.path.read_bytes()) as file:
            for batch in file:
                batches.append(batch)  # one by one: those before a torn one are kept
        return batches


class Spool:
    """The folder of a process, and those that it took over. One thread appends, another sends."""

    def __init__(self, folder: Path, writer: str, schema: pa.Schema, limit_bytes: int) -> None:
        """Make the folder of a writer.

        Args:
            folder: on a local disk, shared by all processes that send to one place.
            writer: a name that no process has had.
            schema: of the rows.
            limit_bytes: of all files that this process has to send.

        Raises:
            OSError: the disk does not take it.
        """
        self._folder, self._own, self._limit_bytes = folder, folder / writer, limit_bytes
        self._schema = schema
        self._open: _OpenFile | None = None
        self._count = 0  # of files of its own
        self._guard = threading.Lock()  # of the locks
        self._locks: dict[Path, int] = {}
        self._make_own()

    def append(self, group: str, batch: pa.RecordBatch) -> None:
        """Put rows of a group on the disk; they are there when this returns.

        Raises:
            OSError: the disk is full or broken, or somebody removed the open file; these rows are
                lost.
        """
        if self._open is not None and self._open.group != group:
            self.seal()
        if self._open is not None and not self._open.path.exists():
            rows, path = self._open.rows, self._open.path
            self.seal()
            raise OSError(f"{rows} rows that lay in {path} are gone: leave that folder alone")
        if self._open is None:
            if not self._own.exists():  # somebody tidied up
                self._make_own()
            self._count += 1
            path = self._own / f"{group}.{self._count:06}{_OPEN}"
            self._open = _OpenFile(group, path, self._schema)
        try:
            self._open.append(batch)
        except OSError:
            self.seal()  # whatever would come after a torn row could not be read
            raise

    def _make_own(self) -> None:
        made = self._folder / f"{_BEING_MADE}{self._own.name}"
        made.mkdir(parents=True)
        lock = _try_lock(made, os.O_CREAT)
        if lock is None:
            raise OSError(
                f"a folder for rows to send must be on a disk with locks; got {self._folder}"
            )
        with self._guard:
            before = self._locks.pop(self._own, None)
            self._locks[self._own] = lock
        if before is not None:
            os.close(before)
        made.rename(self._own)  # others see it with its lock held

    def seal(self) -> None:
        """Complete the file that is open, so that it is sent."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @property
    def open_rows(self) -> int:
        """How many rows the open file has."""
        return self._open.rows if self._open else 0

    @property
    def open_bytes(self) -> int:
        """How large the open file is."""
        return self._open.size_bytes if self._open else 0

    def take_over(self) -> None:
        """Take over the folders of processes that are dead."""
        for folder in self._folder.glob(f"[!{_BEING_MADE}]*"):
            if folder not in self._locks and (lock := _try_lock(folder)) is not None:
                with self._guard:
                    self._locks[folder] = lock
                if not self._complete(folder):
                    self._leave(folder)

    def files(self) -> list[SpoolFile]:
        """Return the files that are to be sent, the oldest first."""
        with self._guard:
            folders = list(self._locks)
        found = [path for folder in folders for path in self._complete(folder)]
        ages = {path: age for path in found if (age := _age(path)) is not None}
        return [SpoolFile(path) for path in sorted(ages, key=lambda path: (ages[path], path))]

    def trim(self) -> int:
        """Remove the oldest files beyond the limit; return how many rows were lost with them."""
        files = self.files()
        sizes = [_size(file.path) for file in files]
        above, lost = sum(sizes) + self.open_bytes - self._limit_bytes, 0
        for file, size_bytes in zip(files, sizes, strict=True):
            if above <= 0:
                break
            lost += sum(batch.num_rows for batch in file.read())
            self.remove(file)
            above -= size_bytes
        return lost

    def remove(self, file: SpoolFile) -> None:
        """Remove a file that was sent, and the folder of a dead process that has no other."""
        file.path.unlink(missing_ok=True)
        folder = file.path.parent
        if folder != self._own and not self._complete(folder):
            self._leave(folder)

    def close(self) -> None:
        """Complete the open file, and leave what is not sent to other processes."""
        self.seal()
        for folder in list(self._locks):
            self._leave(folder)

    def _complete(self, folder: Path) -> list[Path]:
        endings = (_COMPLETE,) if folder == self._own else (_COMPLETE, _OPEN)
        return [path for ending in endings for path in folder.glob(f"*{ending}")]

    def _leave(self, folder: Path) -> None:
        """Let go of a folder, and remove it where nothing is left in it."""
        with self._guard:
            lock = self._locks.pop(folder, None)
        if lock is None:
            return
        if not self._complete(folder):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


class _OpenFile:
    """A file that rows are appended to."""

    def __init__(self, group: str, path: Path, schema: pa.Schema) -> None:
        self.group, self.path, self.rows = group, path, 0
        self._file = path.open("xb")
        self._stream = pa.ipc.new_stream(pa.PythonFile(self._file, "w"), schema)

    def append(self, batch: pa.RecordBatch) -> None:
        self._stream.write_batch(batch)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.rows += batch.num_rows

    @property
    def size_bytes(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        with suppress(OSError):  # an end mark is not needed
            self._stream.close()
        with suppress(OSError):
            self._file.close()
        with suppress(FileNotFoundError):  # somebody tidied up
            if self.rows:
                self.path.rename(self.path.with_suffix(_COMPLETE))
            else:
                self.path.unlink()


def _try_lock(folder: Path, flags: int = 0) -> int | None:
    """Lock a folder; None where its process lives, or it was removed meanwhile."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | flags, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _age(path: Path) -> float | None:
    """Return when a file was last written; None where it is gone."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return None


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
