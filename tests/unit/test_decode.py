"""Bytes to pixels: what is a picture, and the reason for everything that is not."""

import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from reconad_plugin.errors import InvalidImageError, ReconadError
from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.masks import decode_mask

ORIENTATION_TAG = 0x0112
LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}}


def formats(*names):
    """The formats as parameters."""
    return [pytest.param(name, id=name) for name in names]


def png_chunk(name, body):
    """One chunk of a PNG file with a correct checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_that_claims(width, height):
    """A PNG of under 100 bytes whose header speaks of any size, and which has no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    empty = zlib.compress(b"")
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", empty)
        + png_chunk(b"IEND", b"")
    )


def bmp_that_claims(width, height):
    """The header of a BMP of any size without a pixel."""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


def frames(encode, file_format):
    """Three pictures in one file."""
    pictures = [Image.new("RGB", (32, 32), (80 * shade, 10, 10)) for shade in range(3)]
    return encode(pictures[0], file_format, save_all=True, append_images=pictures[1:])


@pytest.mark.parametrize("file_format", formats(*LOSSLESS))
def test_lossless_formats_keep_every_pixel(encode, speckle, file_format):
    """What was written without loss is read back bit by bit."""
    content = encode(speckle, file_format, **LOSSLESS[file_format])

    image = decode_image(content)

    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, speckle)


@pytest.mark.parametrize(
    "options",
    [pytest.param({}, id="baseline"), pytest.param({"progressive": True}, id="progressive")],
)
def test_jpeg_keeps_a_flat_colour(encode, options):
    """A flat JPEG comes back with its colour, up to the loss of the format."""
    flat = np.full((24, 40, 3), (200, 100, 50), dtype=np.uint8)

    image = decode_image(encode(flat, "JPEG", quality=95, **options))

    assert image.shape == (24, 40, 3)
    np.testing.assert_allclose(image, flat, atol=3)


def test_grey_becomes_three_equal_colours(encode, speckle):
    """A grey picture has the same value in red, green and blue."""
    grey = speckle[..., 0]

    image = decode_image(encode(grey, "PNG"))

    np.testing.assert_array_equal(image, np.stack([grey] * 3, axis=-1))


def test_black_and_white_becomes_0_and_255(encode):
    """A picture of one bit a pixel spans the whole range."""
    bits = Image.new("1", (32, 32), 1)
    bits.putpixel((3, 2), 0)

    image = decode_image(encode(bits, "PNG"))

    assert image[2, 3].tolist() == [0, 0, 0]
    assert image[0, 0].tolist() == [255, 255, 255]


def test_palette_becomes_its_colours(encode):
    """A palette picture has the colours that its palette names."""
    indexed = Image.new("P", (32, 32), 1)
    indexed.putpalette([0, 0, 0, 10, 200, 30])

    image = decode_image(encode(indexed, "PNG"))

    assert image[5, 5].tolist() == [10, 200, 30]


@pytest.mark.parametrize("file_format", formats("PNG", "TIFF"))
def test_16_bit_grey_keeps_its_upper_8_bits(encode, file_format):
    """A 16-bit grey picture is scaled to 8 bits, not clipped at 255."""
    deep = np.linspace(0, 65535, 32 * 20).astype(np.uint16).reshape(20, 32)

    image = decode_image(encode(deep, file_format))

    np.testing.assert_array_equal(image, np.stack([deep >> 8] * 3, axis=-1))


@pytest.mark.parametrize(
    "deep",
    [
        pytest.param(np.full((20, 32), 4095, np.uint16), id="12 bits"),
        pytest.param(np.full((20, 32), 255, np.int32), id="8 bits in 32"),
        pytest.param(np.full((20, 32), 90_000, np.int32), id="more than 16 bits"),
        pytest.param(np.full((20, 32), 0.5, np.float32), id="numbers with a point"),
    ],
)
def test_deep_pictures_that_would_turn_black_are_refused(encode, deep):
    """Nobody would see that nothing is seen: the reason says what came and what to do."""
    with pytest.raises(InvalidImageError, match="multiply by 16") as raised:
        decode_image(encode(deep, "TIFF"))

    assert raised.value.reason == "unscaled"


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        pytest.param(255, (200, 100, 50), id="opaque keeps its colour"),
        pytest.param(16, (13, 6, 3), id="a sixteenth still says something"),
        pytest.param(15, (200, 100, 50), id="less says nothing, so the colour is taken"),
        pytest.param(0, (200, 100, 50), id="as it does where all is transparent"),
        pytest.param(102, (80, 40, 20), id="two fifths of the colour over black"),
    ],
)
def test_transparency_is_laid_over_black(encode, alpha, expected):
    """Transparent pixels show black, whatever colour hides under them."""
    picture = Image.new("RGBA", (32, 32), (200, 100, 50, alpha))

    image = decode_image(encode(picture, "PNG"))

    assert image.shape == (32, 32, 3)
    np.testing.assert_allclose(image[0, 0], expected, atol=1)


def test_transparent_palette_entry_is_black(encode):
    """A palette entry that is marked transparent shows black as well."""
    indexed = Image.new("P", (32, 32), 1)
    indexed.putpalette([255, 255, 255, 10, 200, 30])
    indexed.putpixel((0, 0), 0)

    image = decode_image(encode(indexed, "PNG", transparency=0))

    assert image[0, 0].tolist() == [0, 0, 0]
    assert image[1, 1].tolist() == [10, 200, 30]


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        pytest.param(1, lambda stored: stored, id="upright"),
        pytest.param(2, lambda stored: stored[:, ::-1], id="mirrored"),
        pytest.param(3, lambda stored: stored[::-1, ::-1], id="upside down"),
        pytest.param(4, lambda stored: stored[::-1], id="mirrored upside down"),
        pytest.param(5, lambda stored: stored.swapaxes(0, 1), id="transposed"),
        pytest.param(6, lambda stored: np.rot90(stored, -1), id="needs a quarter clockwise"),
        pytest.param(
            7, lambda stored: stored[::-1, ::-1].swapaxes(0, 1), id="transposed the other way"
        ),
        pytest.param(8, lambda stored: np.rot90(stored), id="needs a quarter anticlockwise"),
    ],
)
def test_orientation_tag_is_applied(encode, speckle, orientation, turn):
    """The picture stands as the camera's orientation tag says."""
    tags = Image.Exif()
    tags[ORIENTATION_TAG] = orientation

    image = decode_image(encode(speckle, "PNG", exif=tags))

    np.testing.assert_array_equal(image, turn(speckle))


def test_orientation_of_16_bit_grey_is_applied(encode):
    """Depth and orientation do not get into each other's way."""
    deep = (np.arange(20 * 32, dtype=np.uint16) * 100).reshape(20, 32)
    tags = Image.Exif()
    tags[ORIENTATION_TAG] = 6

    image = decode_image(encode(deep, "PNG", exif=tags))

    np.testing.assert_array_equal(image[..., 0], np.rot90(deep >> 8, -1))


def test_no_bytes_are_empty():
    """An object of 0 bytes has the reason empty."""
    with pytest.raises(InvalidImageError, match="an image must have bytes; got a 0-byte") as raised:
        decode_image(b"")

    assert raised.value.reason == "empty"


def test_text_is_not_an_image():
    """A text file has the reason not_an_image, and the message shows how it begins."""
    with pytest.raises(
        InvalidImageError,
        match="must be one of PNG, JPEG, BMP, TIFF, WEBP; got 19 bytes that begin with b'shift re'",
    ) as raised:
        decode_image(b"shift report, 06:00")

    assert raised.value.reason == "not_an_image"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda encode: encode(Image.new("P", (32, 32)), "GIF"), id="still GIF"),
        pytest.param(lambda encode: frames(encode, "GIF"), id="animated GIF"),
        pytest.param(lambda encode: b"\x89PNG\r\n\x1a\n", id="signature of a PNG alone"),
        pytest.param(lambda encode: b"\xff\xd8\xff", id="signature of a JPEG alone"),
        pytest.param(lambda encode: b"%PDF-1.7\n", id="PDF"),
    ],
)
def test_other_files_are_not_an_image(encode, make):
    """What is none of the formats that cameras write has the reason not_an_image."""
    with pytest.raises(InvalidImageError, match="an image must be one of") as raised:
        decode_image(make(encode))

    assert raised.value.reason == "not_an_image"


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param(png_that_claims, id="PNG"),
        pytest.param(bmp_that_claims, id="BMP"),
    ],
)
def test_size_is_checked_before_pixels(claim):
    """A file that claims 100 million pixels and holds none is refused by its header alone."""
    with pytest.raises(
        InvalidImageError, match="at most 50,000,000 pixels; got 10000 x 10000 = 100,000,000"
    ) as raised:
        decode_image(claim(10_000, 10_000))

    assert raised.value.reason == "too_many_pixels"


def test_message_names_our_limit_however_many_pixels_are_claimed():
    """Beyond Pillow's own limit too the message says our rule and how to change it."""
    with pytest.raises(
        InvalidImageError, match=r"at most 50,000,000 pixels; got 20000 x 20000.*max_image_pixels"
    ) as raised:
        decode_image(png_that_claims(20_000, 20_000))

    assert raised.value.reason == "too_many_pixels"


def test_raised_limit_is_the_limit():
    """Where a product allows a thousand million pixels, four hundred million are not too many."""
    limits = ImageLimits(max_pixels=1_000_000_000)
    without_pixels = png_that_claims(20_000, 20_000)[:-12]  # no end mark: refused, but later

    with pytest.raises(InvalidImageError, match="end mark") as raised:
        decode_image(without_pixels, limits)

    assert raised.value.reason == "truncated"


def test_as_many_pixels_as_allowed_pass(encode, speckle):
    """The limit itself is allowed; one pixel less of limit is not."""
    content = encode(speckle, "PNG")

    assert decode_image(content, ImageLimits(max_pixels=640)).shape == (20, 32, 3)
    with pytest.raises(InvalidImageError, match="at most 639 pixels; got 32 x 20 = 640") as raised:
        decode_image(content, ImageLimits(max_pixels=639))
    assert raised.value.reason == "too_many_pixels"


@pytest.mark.parametrize(
    "size",
    [pytest.param((15, 100), id="too narrow"), pytest.param((100, 15), id="too low")],
)
def test_too_small_is_refused(encode, size):
    """Either side under 16 pixels is too small."""
    content = encode(Image.new("RGB", size), "PNG")

    with pytest.raises(
        InvalidImageError, match=f"at least 16 px; got {size[0]} x {size[1]}"
    ) as raised:
        decode_image(content)

    assert raised.value.reason == "too_small"


def test_smallest_allowed_side_passes(encode):
    """16 by 16 is allowed."""
    assert decode_image(encode(Image.new("RGB", (16, 16)), "PNG")).shape == (16, 16, 3)


@pytest.mark.parametrize(
    "file_format",
    [
        pytest.param("WEBP", id="animated WEBP"),
        pytest.param("TIFF", id="TIFF of several pages"),
        pytest.param("PNG", id="animated PNG"),
    ],
)
def test_several_pictures_are_refused(encode, file_format):
    """A file with three pictures does not say which one is meant."""
    with pytest.raises(InvalidImageError, match="must hold one picture; got 3 frames") as raised:
        decode_image(frames(encode, file_format))

    assert raised.value.reason == "multiple_frames"


def test_reasons_are_errors_that_people_can_act_on():
    """An invalid image is caught as an error of ours and as a ValueError."""
    with pytest.raises(ReconadError, match="0-byte"):
        decode_image(b"")
    with pytest.raises(ValueError, match="0-byte"):
        decode_image(b"")


def test_decoding_in_threads_leaves_warnings_as_they_were(encode):
    """Many pictures at once do not silence the warnings of the rest of the program."""
    noise = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    content = encode(noise, "PNG")
    with warnings.catch_warnings():
        warnings.resetwarnings()
        before = list(warnings.filters)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: decode_image(content), range(64)))

        assert warnings.filters == before


@pytest.mark.parametrize("white", [1, 255, 65_535])
def test_masks_of_16_bits_keep_their_values(encode, white):
    """White is 1, 255 or all there is; none of them becomes black on the way to 8 bits."""
    deep = np.zeros((20, 32), np.uint16)
    deep[4:8, 10:20] = white

    mask = decode_mask(encode(deep, "PNG"))

    np.testing.assert_array_equal(mask, deep > 0)
