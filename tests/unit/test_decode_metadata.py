"""What lies beside the pixels of a file never refuses them."""

import struct
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngInfo

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.images.decode import decode_image, upright_size

LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True, "exact": True}}
LARGE = 2_000_000
ORIENTATION = (0x0112, 3, 1, struct.pack("<H", 6))


def tags(*entries):
    """A block of camera tags: (number, type, count, value or, over 4 bytes, what is pointed to)."""
    end = 8 + 2 + 12 * len(entries) + 4
    directory, data = struct.pack("<H", len(entries)), b""
    for number, kind, count, value in entries:
        place = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", end + len(data))
        directory += struct.pack("<HHI", number, kind, count) + place
        data += value if len(value) > 4 else b""
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory + bytes(4) + data


@pytest.mark.parametrize("file_format", LOSSLESS)
def test_an_alpha_of_0_everywhere_says_nothing(encode, speckle, file_format):
    """Grabbers leave the fourth byte at 0; the colours are what was seen."""
    grab = np.dstack([speckle, np.zeros(speckle.shape[:2], np.uint8)])

    image = decode_image(encode(grab, file_format, **LOSSLESS[file_format]))

    np.testing.assert_array_equal(image, speckle)


@pytest.mark.parametrize("mode", ["LA", "P"])
def test_so_it_is_for_grey_and_palettes(encode, speckle, mode):
    """A palette whose every entry is transparent, and grey with an alpha."""
    picture = Image.fromarray(speckle).convert("P" if mode == "P" else "L")
    seen = np.asarray(picture.convert("RGB"))
    options = {"transparency": bytes(256)} if mode == "P" else {}
    if mode == "LA":
        picture.putalpha(0)

    np.testing.assert_array_equal(decode_image(encode(picture, "PNG", **options)), seen)


def test_nothing_at_all_is_refused(encode):
    """Where all is transparent and black nobody can say what was to be seen."""
    nothing = Image.new("RGBA", (32, 32), (0, 0, 0, 0))

    with pytest.raises(InvalidImageError, match="all of it is transparent and black") as caught:
        decode_image(encode(nothing, "PNG"))

    assert caught.value.reason == "transparent"


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_spaces_of_colour_become_rgb(encode, mode):
    """Brighter stays brighter, and red stays red."""
    ramp = np.zeros((32, 32, 3), np.uint8)
    ramp[..., 0] = np.linspace(40, 230, 32)
    picture = Image.fromarray(ramp)
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
    else:
        picture = picture.convert(mode)

    image = decode_image(encode(picture, "TIFF"))

    np.testing.assert_allclose(image[..., 0], ramp[..., 0], atol=12)
    assert image[..., 1:].mean() < 30


@pytest.mark.parametrize("added", [10, 5_000, LARGE])
@pytest.mark.parametrize("file_format", [*LOSSLESS, "JPEG"])
def test_bytes_after_the_end_do_not_matter(encode, speckle, file_format, added):
    """Cameras pad files, and programs add their own."""
    content = encode(speckle, file_format, **LOSSLESS.get(file_format, {"quality": 95}))

    padded = content + b"\xff\x00" * (added // 2)

    np.testing.assert_array_equal(decode_image(padded), decode_image(content))


@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("add", [PngInfo.add_text, PngInfo.add_itxt], ids=["text", "itxt"])
def test_long_texts_refuse_no_picture(encode, speckle, add, is_packed):
    """A PNG may carry a recipe of megabytes."""
    info = PngInfo()
    add(info, "recipe", "x" * LARGE, zip=is_packed)

    np.testing.assert_array_equal(decode_image(encode(speckle, "PNG", pnginfo=info)), speckle)


@pytest.mark.parametrize("profile", [b"junk", bytes(LARGE)], ids=["junk", "2 MB"])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_colour_profiles_refuse_no_picture(encode, speckle, file_format, profile):
    """They change no pixel here, so they may be anything."""
    content = encode(speckle, file_format, icc_profile=profile, **LOSSLESS[file_format])

    np.testing.assert_array_equal(decode_image(content), speckle)


def test_a_broken_checksum_of_a_text_refuses_no_picture(encode, speckle):
    """The pixels are what counts."""
    info = PngInfo()
    info.add_text("lamp", "left")
    content = bytearray(encode(speckle, "PNG", pnginfo=info))
    content[content.index(b"tEXt") + 6] ^= 1

    np.testing.assert_array_equal(decode_image(bytes(content)), speckle)


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param((0x011A, 5, 1, struct.pack("<II", 1, 0)), id="a division by zero"),
        pytest.param((0x9999, 200, 1, b"abcd"), id="an unknown type"),
        pytest.param((0x8888, 4, 0xFFFFFFFF, b"abcd"), id="a huge count"),
        pytest.param((0x8825, 4, 1, struct.pack("<I", 0xFFFFFFF0)), id="a place beyond the end"),
        pytest.param((0x8769, 4, 1, struct.pack("<I", 8)), id="a directory within itself"),
        pytest.param((0x011A, 2, 6, b"72dpi\0"), id="text for a number"),
    ],
)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_odd_camera_tags_refuse_no_picture(encode, speckle, file_format, odd):
    """The orientation beside them still counts."""
    options = LOSSLESS.get(file_format, {"quality": 95})
    content = encode(speckle, file_format, exif=tags(ORIENTATION, odd), **options)

    image = decode_image(content)

    height, width = speckle.shape[:2]
    assert image.shape == (width, height, 3)
    assert upright_size(content) == (height, width)
    np.testing.assert_allclose(
        image, np.rot90(decode_image(encode(speckle, file_format, **options)), -1)
    )


def test_the_size_of_a_plain_png_is_known_without_its_pixels(speckle, encode, monkeypatch):
    """No orientation can follow the pixels, so none of them is decoded."""
    content, decoded = encode(speckle, "PNG"), []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(image))
    height, width = speckle.shape[:2]

    assert upright_size(content) == (width, height)
    assert decoded == []


def test_odd_camera_tags_are_no_news(encode, speckle, tmp_path):
    """Whoever waits for a command is shown its own lines; so it is in threads, too."""
    content = encode(speckle, "JPEG", exif=tags(ORIENTATION)[:-8])
    (tmp_path / "a.jpg").write_bytes(content)
    script = (
        "import sys, pathlib; from concurrent.futures import ThreadPoolExecutor as Threads; "
        "from reconad_plugin.images.decode import decode_image; "
        "list(Threads(2).map(decode_image, 4 * [pathlib.Path(sys.argv[1]).read_bytes()]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "a.jpg"], capture_output=True, check=True
    )
    assert ended.stderr == b""


@pytest.mark.parametrize("value", [b"6\0\0", struct.pack("<H", 99)], ids=["text", "99"])
def test_an_orientation_that_is_none_is_ignored(encode, speckle, value):
    """The picture stays as it is stored."""
    kind, count = (2, 3) if value.startswith(b"6") else (3, 1)
    content = encode(speckle, "PNG", exif=tags((0x0112, kind, count, value)))

    np.testing.assert_array_equal(decode_image(content), speckle)


def test_of_a_camera_s_jpeg_with_previews_the_picture_is_taken(encode, speckle):
    """Such a file is MPO: the picture, and smaller ones after it."""
    previews = [Image.new("RGB", (16, 16), "red"), Image.new("RGB", (8, 8), "blue")]
    content = encode(Image.fromarray(speckle), "MPO", save_all=True, append_images=previews)

    image = decode_image(content)

    np.testing.assert_array_equal(image, decode_image(encode(speckle, "JPEG")))
    with pytest.raises(InvalidImageError, match="a JPEG file must end with its end mark"):
        decode_image(encode(speckle, "JPEG")[:-40])


@given(
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"]),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    file_format=st.sampled_from(["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM"]),
    seed=st.integers(0, 99),
    cut=st.one_of(st.none(), st.floats(0, 1)),
)
def test_every_picture_has_pixels_or_a_reason(encode, mode, size, file_format, seed, cut):
    """Of any mode, size and format, whole or cut off."""
    noise = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 4), dtype=np.uint8)
    try:
        content = encode(Image.fromarray(noise, "RGBA").convert("RGB").convert(mode), file_format)
    except (OSError, ValueError, KeyError):
        return  # Pillow writes no such file
    if cut is not None:
        content = content[: int(cut * len(content))]

    with suppress(InvalidImageError):
        image = decode_image(content)

        assert image.shape == (size[1], size[0], 3)
        assert image.dtype == np.uint8
