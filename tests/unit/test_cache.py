"""Bytes of images on the local disk."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from reconad_plugin.store.cache import ContentCache

CONTENT = b"picture" * 500_000  # large enough that writing takes a while
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def files_in(folder):
    """Every file below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def no_fetch():
    """Stands where nothing may be fetched."""
    raise ConnectionError("the bucket was asked")


def test_kept_bytes_come_back_without_fetching(tmp_path):
    """What was put is read from the disk, by another cache of the same folder too."""
    ContentCache(tmp_path / "cache").put(SHA256, CONTENT)

    assert ContentCache(tmp_path / "cache").get(SHA256, no_fetch) == CONTENT


def test_missing_bytes_are_fetched_once(tmp_path):
    """The first reading fetches and keeps, the second does not fetch."""
    cache = ContentCache(tmp_path)

    assert cache.get(SHA256, lambda: CONTENT) == CONTENT
    assert cache.get(SHA256, no_fetch) == CONTENT


def test_failed_fetch_keeps_nothing(tmp_path):
    """After a failure the next reading fetches again."""
    cache = ContentCache(tmp_path)

    with pytest.raises(ConnectionError, match="the bucket was asked"):
        cache.get(SHA256, no_fetch)

    assert files_in(tmp_path) == []
    assert cache.get(SHA256, lambda: CONTENT) == CONTENT


def test_images_do_not_share_a_file(tmp_path):
    """Hashes that begin alike are different images."""
    cache = ContentCache(tmp_path)
    cache.put("ab" + "0" * 62, b"one")
    cache.put("ab" + "1" * 62, b"two")

    assert cache.get("ab" + "0" * 62, no_fetch) == b"one"
    assert cache.get("ab" + "1" * 62, no_fetch) == b"two"


def test_several_writers_leave_one_whole_file(tmp_path):
    """Writers of the same image at once leave its file, and nothing else."""
    start = threading.Barrier(8)

    def write(_):
        start.wait()
        ContentCache(tmp_path).put(SHA256, CONTENT)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))

    (file,) = files_in(tmp_path)
    assert file.read_bytes() == CONTENT


def test_reader_never_sees_a_part_of_a_file(tmp_path):
    """Who reads while others write gets the whole bytes or fetches them."""
    start = threading.Barrier(6)

    def write(_):
        start.wait()
        for turn in range(5):
            ContentCache(tmp_path / str(turn)).put(SHA256, CONTENT)

    def read(_):
        start.wait()
        seen = []
        for turn in range(5):
            path = tmp_path / str(turn) / SHA256[:2] / SHA256
            while not path.exists():
                pass
            seen.append(path.stat().st_size)
        return seen

    with ThreadPoolExecutor(6) as threads:
        writers = [threads.submit(write, i) for i in range(3)]
        readers = [threads.submit(read, i) for i in range(3)]
        sizes = [size for reader in readers for size in reader.result()]
        assert all(writer.result() is None for writer in writers)

    assert set(sizes) == {len(CONTENT)}


def test_bytes_that_are_there_are_not_written_again(tmp_path):
    """Putting the same image twice leaves the first file untouched."""
    cache = ContentCache(tmp_path)
    cache.put(SHA256, CONTENT)
    (file,) = files_in(tmp_path)
    before = file.stat()

    cache.put(SHA256, CONTENT)

    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
