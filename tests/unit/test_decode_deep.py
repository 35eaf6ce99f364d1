"""Pictures of 16 bits a channel with colours or alpha, of which Pillow keeps the upper 8."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG, by the number of channels
OPAQUE = 65535


def png(pixels):
    """(H, W, channels) uint16 as a PNG, which Pillow cannot write."""
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def tiff(pixels):
    """(H, W, 3) uint16 as a TIFF without compression, which Pillow cannot write."""
    height, width, channels = pixels.shape
    content = pixels.astype("<u2").tobytes()
    entries = 9
    bits_at = 8 + 2 + 12 * entries + 4
    tags = (
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, bits_at), (259, 3, 1, 1)),
        *((262, 3, 1, 2), (273, 4, 1, bits_at + 6), (277, 3, 1, channels), (278, 4, 1, height)),
        (279, 4, 1, len(content)),
    )
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, entries) + directory + struct.pack("<I", 0)
    return head + struct.pack("<HHH", 16, 16, 16) + content


def speckled(bits, channels):
    """(20, 32, channels) uint16 that fill so many bits; alpha is opaque."""
    pixels = np.random.default_rng(0).integers(0, 2**bits, (20, 32, channels), dtype=np.uint16)
    pixels[0, 0] = 2**bits - 1
    if channels in (2, 4):
        pixels[..., -1] = OPAQUE
    return pixels


every_kind = pytest.mark.parametrize(
    ("write", "channels"),
    [
        pytest.param(png, 3, id="PNG with colours"),
        pytest.param(png, 4, id="PNG with colours and alpha"),
        pytest.param(png, 2, id="grey PNG with alpha"),
        pytest.param(tiff, 3, id="TIFF with colours"),
    ],
)


@every_kind
def test_16_bits_keep_their_upper_8(write, channels):
    """What fills its bits passes, and alpha changes nothing where it is opaque."""
    pixels = speckled(16, channels)

    image = decode_image(write(pixels))

    colours = pixels[..., :3] if channels > 2 else pixels[..., :1]
    np.testing.assert_array_equal(image, np.broadcast_to(colours >> 8, image.shape))


@every_kind
@pytest.mark.parametrize("bits", [10, 12])
def test_pictures_that_would_turn_black_are_refused(write, channels, bits):
    """As a grey picture is: nothing can be seen in it, and nobody would see that."""
    with pytest.raises(
        InvalidImageError, match=r"brightest value is below 4,096.*multiply by 16"
    ) as raised:
        decode_image(write(speckled(bits, channels)))

    assert raised.value.reason == "unscaled"


def test_dark_pictures_of_8_bits_pass(encode):
    """Of 8 bits nothing is lost, so a dark picture is a dark picture."""
    dark = np.full((20, 32, 4), (9, 9, 9, 255), np.uint8)

    assert decode_image(encode(dark, "PNG")).max() == 9


def test_16_bits_a_pixel_are_not_16_a_channel():
    """A BMP of 5, 6 and 5 bits is stretched to 8, and may be dark."""
    width, height = 32, 20
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 16, 3, 0, 2835, 2835, 0, 0) + masks
    dark = struct.pack("<H", 1) * (width * height)
    start = 14 + len(info)
    head = b"BM" + struct.pack("<IHHI", start + len(dark), 0, 0, start)

    assert 0 < decode_image(head + info + dark).max() < 16


def test_values_below_zero_are_refused(encode):
    """The upper 8 of 16 bits of a negative number are nonsense: dark would turn bright."""
    signed = np.linspace(-300, 30_000, 20 * 32).astype(np.int32).reshape(20, 32)

    with pytest.raises(InvalidImageError, match="its darkest value is -300") as raised:
        decode_image(encode(Image.fromarray(signed), "TIFF"))

    assert raised.value.reason == "unscaled"


@every_kind
@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"limits": ImageLimits(shape=(320, 200))}, id="with a lens"),
        pytest.param({"smallest": ImageSize(10, 16)}, id="to be made smaller"),
    ],
)
def test_they_are_refused_also_where_their_orientation_is_looked_for(write, channels, how):
    """Pillow loads a PNG to find it, and then its file says no more how many bits it has."""
    with pytest.raises(InvalidImageError) as error:
        decode_image(write(speckled(12, channels)), **how)
    assert error.value.reason == "unscaled"
