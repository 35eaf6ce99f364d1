"""Pictures of a folder of this machine: their pixels, and what is told of their sizes."""

import numpy as np
import pytest
from PIL import Image

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.images.geometry import to_size
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.store import mirror
from reconad_plugin.store.mirror import (
    describe_sizes,
    load_files,
)


@pytest.fixture
def png(encode):
    """A small picture of one shade as a file."""
    return lambda shade: encode(np.full((20, 24, 3), shade, dtype=np.uint8), "PNG")


def test_files_become_pixels_once(tmp_path, png, monkeypatch):
    """Pictures come in the order of their files, and are not decoded a second time."""
    paths = []
    for shade in (10, 20, 30):
        paths.append(tmp_path / f"{shade}.png")
        paths[-1].write_bytes(png(shade))

    first = load_files(paths, ImageSize.square(32), ImageLimits(), tmp_path / "cache")
    monkeypatch.setattr(mirror, "decode_to_size", None)
    second = load_files(paths[::-1], ImageSize.square(32), ImageLimits(), tmp_path / "cache")

    assert first[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert np.array_equal(second, first[::-1])


def test_limits_hold_for_pictures_that_were_decoded_before(tmp_path, png):
    """Under other limits, and at another size of the network or the same."""
    path, cache = tmp_path / "a.png", tmp_path / "cache"
    path.write_bytes(png(10))
    load_files([path], ImageSize.square(32), ImageLimits(), cache)

    for limits in (ImageLimits(max_pixels=100), ImageLimits(min_side_px=30)):
        with pytest.raises(InvalidImageError, match=r"a\.png: an image.*got 24 x 20"):
            load_files([path], ImageSize.square(32), limits, cache)


def test_pixels_are_those_of_the_resized_picture(tmp_path, speckle):
    """The cache gives what decoding and resizing give."""
    path = tmp_path / "a.png"
    Image.fromarray(speckle).save(path)

    found = load_files([path], ImageSize.square(32), ImageLimits(), tmp_path / "cache")

    np.testing.assert_array_equal(
        found[0].transpose(1, 2, 0), to_size(speckle, ImageSize.square(32))
    )


def test_file_that_is_no_picture_is_named(tmp_path, png):
    """The error says which file it is, and keeps its reason."""
    (tmp_path / "good.png").write_bytes(png(1))
    (tmp_path / "bad.png").write_bytes(b"no picture")

    with pytest.raises(InvalidImageError, match=r"bad\.png: an image must be one of") as raised:
        load_files(
            [tmp_path / "good.png", tmp_path / "bad.png"],
            ImageSize.square(32),
            ImageLimits(),
            tmp_path / "cache",
        )

    assert raised.value.reason == "not_an_image"


def test_pictures_of_several_sizes_are_told(tmp_path, png):
    """One size is nothing to speak of, nor are files that are no pictures; several are."""
    paths = []
    for number, size in enumerate([(24, 20), (24, 20), (100, 30)]):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", size).save(paths[-1])
    (tmp_path / "broken.png").write_bytes(b"no picture")

    assert describe_sizes([*paths[:2], tmp_path / "broken.png"], ImageSize(32, 24)) is None
    assert describe_sizes([tmp_path / "broken.png"], ImageSize.square(32)) is None
    assert describe_sizes(paths, ImageSize(32, 112)) == (
        "3 pictures have 2 sizes, from 24 x 20 to 100 x 30: each is resized to 112 x 32; pictures "
        "of 100 x 30 are smaller than the network's 112 x 32: they are enlarged, which takes time "
        "and shows no more; a smaller image size would do"
    )


def test_pictures_that_the_network_sees_smaller_are_told(tmp_path):
    """A defect of four pixels in 512 is one in 128: nobody should find that out by missing it."""
    path = tmp_path / "wide.png"
    Image.new("RGB", (512, 208)).save(path)

    assert describe_sizes([path], ImageSize.square(512)) is None
    assert describe_sizes([path], ImageSize.square(128)) == (
        "pictures of 512 x 208 are seen at 128 x 128: one pixel there is 4.0 x 1.6 of theirs. "
        "For smaller defects give a larger image size"
    )


def test_height_and_width_that_are_exchanged_are_told(tmp_path):
    """An image size is height x width, and pictures are width x height."""
    path = tmp_path / "wide.png"
    Image.new("RGB", (160, 64)).save(path)

    assert "height x width: 64x160 would" in str(describe_sizes([path], ImageSize(160, 64)))
    assert "height x width" not in str(describe_sizes([path], ImageSize(32, 80)))


def test_the_picture_that_is_told_is_one_that_is_there(tmp_path):
    """Of pictures that stand and lie, the one that is shrunk most."""
    paths = [tmp_path / "wide.png", tmp_path / "high.png"]
    for path, size in zip(paths, [(160, 64), (64, 160)], strict=True):
        Image.new("RGB", size).save(path)

    told = describe_sizes(paths, ImageSize(32, 80))

    assert told is not None
    assert "pictures of 64 x 160 are seen at 80 x 32: one pixel there is 0.8 x 5.0 of" in told
