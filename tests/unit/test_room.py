"""Room on the local disk: what goes of the caches, and that nobody misses it."""

import hashlib
import os

import numpy as np

from reconad_plugin.images.size import ImageSize
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.pixels import PixelCache
from reconad_plugin.store.room import cached_files, longest_unused

SIZE = ImageSize.square(32)
PICTURES = [bytes([n]) * 1000 for n in range(4)]
HASHES = [hashlib.sha256(each).hexdigest() for each in PICTURES]


def kept(folder, count=4):
    """A cache with pictures, the first one put in longest ago."""
    cache = ContentCache(folder)
    for number in range(count):
        cache.put(HASHES[number], PICTURES[number])
        os.utime(folder / HASHES[number][:2] / HASHES[number], (number, number))
    return cache


def load_pixels(folder, decoded):
    """Pixels of all pictures; ``decoded`` gets the index of each that is decoded."""

    def decode(index):
        decoded.append(index)
        return np.full((32, 32, 3), index, np.uint8)

    return PixelCache(folder, SIZE).load(HASHES, decode)


def chosen(folder, most_bytes, is_elsewhere=lambda sha256: True):
    """Names of what goes, in this order."""
    return [each.path.name for each in longest_unused(cached_files(folder), most_bytes,
                                                      is_elsewhere)]  # fmt: skip


def test_what_was_used_longest_ago_goes_first(tmp_path):
    """Reading a picture is using it; no more goes than has to."""
    cache = kept(tmp_path)
    cache.get(HASHES[0], fetch=lambda: b"")

    assert chosen(tmp_path, 4000) == []
    assert chosen(tmp_path, 3999) == [HASHES[1]]
    assert chosen(tmp_path, 0) == [*HASHES[1:], HASHES[0]]


def test_a_picture_that_cannot_be_fetched_again_stays(tmp_path):
    """Others go in its place."""
    kept(tmp_path)

    assert chosen(tmp_path, 2000, lambda sha256: sha256 != HASHES[0]) == HASHES[1:3]


def test_other_files_are_none_of_the_caches(tmp_path):
    """Copies of folders, notes, and what lies under another name."""
    kept(tmp_path, count=1)
    for name in ("textures/bolt/a.png", "golden/factory/bolt.json", f"zz/{HASHES[1]}", "ab/tmp1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"other")

    assert [each.path.name for each in cached_files(tmp_path)] == [HASHES[0]]
    assert cached_files(tmp_path / "nowhere") == []


def test_what_went_is_fetched_and_decoded_again(tmp_path):
    """Who has loaded pixels keeps them; the next one has them anew; removing twice is harmless."""
    cache, decoded = kept(tmp_path), []
    before = load_pixels(tmp_path, decoded)
    files = cached_files(tmp_path)

    for each in [*files, *files]:
        each.remove()

    assert cached_files(tmp_path) == []
    assert before[3].mean() == 3
    assert cache.get(HASHES[2], lambda: PICTURES[2]) == PICTURES[2]
    assert np.array_equal(load_pixels(tmp_path, decoded), before)
    assert sorted(decoded) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_pixels_of_a_size_go_as_a_whole_when_they_were_used_longest_ago(tmp_path):
    """Loading them is using them."""
    decoded = []
    load_pixels(tmp_path, decoded)
    (pixels,) = tmp_path.glob("*.u8")
    kept(tmp_path, count=1)
    os.utime(pixels.with_suffix(".sha256"), (-5, -5))

    assert chosen(tmp_path, 1000) == [pixels.name]
    load_pixels(tmp_path, decoded)
    assert chosen(tmp_path, 4 * 3 * 32 * 32) == [HASHES[0]]
