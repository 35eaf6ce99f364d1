"""Rows on the disk on their way to the bucket."""

import errno
import os

import pyarrow as pa
import pytest

from reconad_plugin.store import spool as module
from reconad_plugin.store.spool import Spool

SCHEMA = pa.schema({"number": pa.int64()})
NIGHT = "2026-05-03"
MEGABYTE = 2**20


def rows(*numbers):
    """A batch of rows."""
    return pa.RecordBatch.from_pylist([{"number": number} for number in numbers], SCHEMA)


def numbers(file):
    """What a file holds."""
    return [number for batch in file.read() for number in batch["number"].to_pylist()]


def open_spool(folder, writer, limit_bytes=MEGABYTE):
    return Spool(folder, writer, SCHEMA, limit_bytes)


def die(spool):
    """What the system does to the lock of a process that is killed."""
    for lock in spool._locks.values():
        os.close(lock)


def test_rows_are_sent_once_their_file_is_complete(tmp_path):
    """A file that is still appended to is not sent; another night begins another file."""
    spool = open_spool(tmp_path, "w")

    spool.append(NIGHT, rows(1, 2))
    assert (spool.files(), spool.open_rows) == ([], 2)
    spool.append(NIGHT, rows(3))
    spool.append("2026-05-04", rows(4))
    spool.seal()

    first, second = spool.files()
    assert (first.group, numbers(first)) == (NIGHT, [1, 2, 3])
    assert (second.group, numbers(second)) == ("2026-05-04", [4])
    assert (first.name, second.name) == ("w-000001", "w-000002")
    spool.remove(first)
    assert spool.files() == [second]


def test_rows_of_a_dead_process_are_taken_over_once(tmp_path):
    """Also of the file that it was at; of two that are left one has them, with the same names."""
    dead = open_spool(tmp_path, "dead")
    dead.append(NIGHT, rows(1))
    dead.seal()
    dead.append(NIGHT, rows(2))
    one, other = open_spool(tmp_path, "one"), open_spool(tmp_path, "other")
    one.take_over()
    assert one.files() == []

    die(dead)
    one.take_over()
    other.take_over()

    assert other.files() == []
    assert [(file.name, numbers(file)) for file in one.files()] == [
        ("dead-000001", [1]),
        ("dead-000002", [2]),
    ]
    for file in one.files():
        one.remove(file)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["one", "other"]


def test_a_file_that_is_sent_twice_has_one_name(tmp_path):
    """Whoever sends it, before a kill and after: the part is written over itself."""
    dead = open_spool(tmp_path, "dead")
    dead.append(NIGHT, rows(1))
    dead.seal()
    (before,) = dead.files()
    die(dead)

    heir = open_spool(tmp_path, "heir")
    heir.take_over()

    (after,) = heir.files()
    assert (after.name, after.group) == (before.name, before.group)
    assert numbers(after) == numbers(before)


@pytest.mark.parametrize("cut_bytes", [1, 40, 200])
def test_rows_before_a_torn_one_are_kept(tmp_path, cut_bytes):
    """A process that was killed in the middle of a write loses that write alone."""
    dead = open_spool(tmp_path, "dead")
    dead.append(NIGHT, rows(1, 2))
    whole = dead.open_bytes
    dead.append(NIGHT, rows(3))
    (path,) = (tmp_path / "dead").glob("*.open")
    os.truncate(path, max(whole, dead.open_bytes - cut_bytes))
    die(dead)

    heir = open_spool(tmp_path, "heir")
    heir.take_over()

    assert numbers(heir.files()[0]) == [1, 2]


def test_what_is_closed_is_left_to_the_next(tmp_path):
    """And a folder with nothing in it is gone."""
    spool, empty = open_spool(tmp_path, "w"), open_spool(tmp_path, "empty")
    spool.append(NIGHT, rows(1))

    spool.close()
    empty.close()

    heir = open_spool(tmp_path, "heir")
    heir.take_over()
    assert [numbers(file) for file in heir.files()] == [[1]]
    assert not (tmp_path / "empty").exists()


def test_the_oldest_rows_make_room(tmp_path):
    """What is beyond the limit is removed and counted."""
    spool = open_spool(tmp_path, "w", limit_bytes=2_000)
    for number in range(6):
        spool.append(NIGHT, rows(*[number] * 40))
        spool.seal()
        os.utime(tmp_path / "w" / f"{NIGHT}.{number + 1:06}.arrow", (number, number))
    size_bytes = spool.files()[0].path.stat().st_size

    lost = spool.trim()

    kept = [numbers(file)[0] for file in spool.files()]
    assert kept == list(range(6))[-(2_000 // size_bytes) :]
    assert lost == 40 * (6 - len(kept))
    assert spool.trim() == 0


def test_a_full_disk_loses_rows_and_goes_on(tmp_path, monkeypatch):
    """What was there is kept, and later rows have a file of their own."""
    spool = open_spool(tmp_path, "w")
    spool.append(NIGHT, rows(1))

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", refuse)
        for _ in range(2):
            with pytest.raises(OSError, match="No space left"):
                spool.append(NIGHT, rows(2))
    spool.append(NIGHT, rows(3))
    spool.seal()

    found = [numbers(file) for file in spool.files()]
    assert [each[0] for each in found] == [1, 3]


def refuse(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_folder_without_locks_is_refused(tmp_path, monkeypatch):
    """Two processes must not send one file."""
    monkeypatch.setattr(module.fcntl, "flock", refuse)

    with pytest.raises(OSError, match="on a disk with locks; got"):
        open_spool(tmp_path, "w")
