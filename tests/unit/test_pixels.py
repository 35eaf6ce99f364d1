"""Decoded pictures on the local disk."""

import hashlib
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.images.size import ImageSize
from reconad_plugin.store import pixels
from reconad_plugin.store.pixels import PixelCache

SIZE_PX = 16


def picture(name):
    """(16, 16, 3) uint8 that follows from a hash alone."""
    seed = int(name[:8], 16)
    return np.random.default_rng(seed).integers(0, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)


def names_of(*numbers):
    """SHA-256 of some files."""
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]


def expected(names):
    """What the cache must give, decoded afresh."""
    return np.stack([picture(name) for name in names]).transpose(0, 3, 1, 2)


class Decoder:
    """Decodes and counts."""

    def __init__(self, names):
        self.names, self.places = names, []

    def __call__(self, place):
        self.places.append(place)
        return picture(self.names[place])


def load(folder, names):
    """Load, check against a fresh decode, and say which places were decoded."""
    decoder = Decoder(names)
    found = PixelCache(folder, ImageSize.square(SIZE_PX)).load(names, decoder)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected(names))
    return sorted(decoder.places)


def test_pictures_are_decoded_once(tmp_path):
    """The second reading decodes nothing, by another cache of the same folder."""
    names = names_of(1, 2, 3)

    assert load(tmp_path / "new" / "cache", names) == [0, 1, 2]
    assert load(tmp_path / "new" / "cache", names) == []


def test_new_pictures_are_appended(tmp_path):
    """Only what is missing is decoded, and old pictures stay where they are."""
    load(tmp_path, names_of(1, 2))

    assert load(tmp_path, names_of(2, 3, 1, 4)) == [1, 3]
    assert load(tmp_path, names_of(4, 3, 2, 1)) == []


def test_same_picture_twice_is_decoded_once(tmp_path):
    """Two files of the same bytes share their pixels."""
    assert len(load(tmp_path, names_of(5, 6, 5, 5))) == 2


def test_nothing_is_an_empty_batch(tmp_path):
    """No hashes give no pictures, of the right shape."""
    found = PixelCache(tmp_path, ImageSize.square(SIZE_PX)).load([], Decoder([]))

    assert found.shape == (0, 3, SIZE_PX, SIZE_PX)
    assert found.dtype == np.uint8


def test_sizes_do_not_mix(tmp_path):
    """The same picture at another size is another picture."""
    load(tmp_path, names_of(1))

    small = PixelCache(tmp_path, ImageSize.square(8)).load(
        names_of(1), lambda place: picture(names_of(1)[0])[:8, :8]
    )

    assert small.shape == (1, 3, 8, 8)
    assert load(tmp_path, names_of(1)) == []


def test_chunks_do_not_show(tmp_path, monkeypatch):
    """More pictures than are decoded at once keep their order."""
    monkeypatch.setattr(pixels, "_CHUNK", 3)

    assert load(tmp_path, names_of(*range(10))) == list(range(10))
    assert load(tmp_path, names_of(*range(9, -1, -1))) == []


def is_mapped(array):
    """Whether an array is a file, mapped into memory."""
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        for line in maps:
            first, last = (int(part, 16) for part in line.split()[0].split("-"))
            if first <= array.ctypes.data < last:
                return ".u8" in line
    return False


def test_pictures_in_a_row_are_the_file_itself(tmp_path):
    """Where they stand one after the other nothing is copied."""
    names = names_of(*range(6))
    load(tmp_path, names)
    cache = PixelCache(tmp_path, ImageSize.square(SIZE_PX))

    assert is_mapped(cache.load(names, Decoder(names)))
    assert is_mapped(cache.load(names[2:5], Decoder(names)))
    assert not is_mapped(cache.load(names[::-1], Decoder(names)))


def test_changes_stay_in_memory(tmp_path):
    """Whoever writes into the pictures does not write into the file."""
    names = names_of(1, 2)
    found = PixelCache(tmp_path, ImageSize.square(SIZE_PX)).load(names, Decoder(names))

    found[:] = 0

    assert load(tmp_path, names) == []


def test_mapped_pictures_survive_later_writers(tmp_path):
    """What was loaded stays as it is when others append, or delete the cache."""
    names = names_of(1, 2)
    found = PixelCache(tmp_path, ImageSize.square(SIZE_PX)).load(names, Decoder(names))

    load(tmp_path, names_of(3, 1))
    for path in tmp_path.iterdir():
        path.unlink()

    assert np.array_equal(found, expected(names))
    assert load(tmp_path, names) == [0, 1]


def files(folder):
    """The file of pixels and that of hashes."""
    return folder / f"pixels-v2-{SIZE_PX}.u8", folder / f"pixels-v2-{SIZE_PX}.sha256"


@pytest.mark.parametrize(
    "tear",
    [
        pytest.param(lambda stored, known: stored.open("ab").write(b"x" * 100), id="pixels begun"),
        pytest.param(
            lambda stored, known: stored.open("ab").write(b"x" * 5000), id="pixels without a hash"
        ),
        pytest.param(lambda stored, known: known.open("ab").write(b"x" * 7), id="hash begun"),
        pytest.param(
            lambda stored, known: stored.write_bytes(stored.read_bytes()[:-100]), id="pixels cut"
        ),
        pytest.param(
            lambda stored, known: stored.write_bytes(stored.read_bytes()[:-800]),
            id="pixels cut by more than a picture",
        ),
        pytest.param(lambda stored, known: stored.write_bytes(b""), id="pixels empty"),
        pytest.param(lambda stored, known: stored.unlink(), id="pixels gone"),
        pytest.param(lambda stored, known: known.unlink(), id="hashes gone"),
        pytest.param(
            lambda stored, known: known.write_bytes(known.read_bytes()[:-5]), id="hash cut"
        ),
    ],
)
@pytest.mark.parametrize(
    "numbers", [pytest.param((1, 2, 3), id="the same"), pytest.param((3, 2, 4, 1), id="more")]
)
def test_torn_files_are_mended(tmp_path, tear, numbers):
    """Whatever a kill left half written is decoded again, and no wrong pixel is ever given."""
    load(tmp_path, names_of(1, 2, 3))
    tear(*files(tmp_path))

    load(tmp_path, names_of(*numbers))

    assert load(tmp_path, names_of(*numbers)) == []


def test_failed_decode_keeps_what_was_whole(tmp_path, monkeypatch):
    """A broken picture is an error; those of the chunks before it are not decoded again."""
    monkeypatch.setattr(pixels, "_CHUNK", 2)
    names = names_of(1, 2, 3, 4)

    def decode(place):
        if place == 3:
            raise InvalidImageError("truncated", "picture 4 is broken")
        return picture(names[place])

    with pytest.raises(InvalidImageError, match="picture 4 is broken"):
        PixelCache(tmp_path, ImageSize.square(SIZE_PX)).load(names, decode)

    assert load(tmp_path, names) == [2, 3]


def test_threads_write_one_after_the_other(tmp_path):
    """Several at once get what each asked for, and leave each picture once."""
    start = threading.Barrier(4)

    def work(number):
        start.wait()
        for first in range(5):
            load(tmp_path, names_of(*range(first * 3, first * 3 + 6), 100 + number))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))

    known = files(tmp_path)[1].read_bytes()
    assert len({known[at : at + 32] for at in range(0, len(known), 32)}) == len(known) // 32
    assert len(known) // 32 == 18 + 4


def _load_in_process(folder, number):
    for first in range(5):
        load(folder, names_of(*range(first * 3, first * 3 + 6), 100 + number))


def test_processes_write_one_after_the_other(tmp_path):
    """The same for processes."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_load_in_process, args=(tmp_path, n)) for n in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0, 0]
    assert load(tmp_path, names_of(*range(18), 100, 101)) == []
