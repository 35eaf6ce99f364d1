"""Bytes to pixels: every reason why a file is not a picture we can score is found here."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.images.limits import ImageLimits

Image.MAX_IMAGE_PIXELS = None  # our own limit is checked from the header, with our own message
DEFAULT_LIMITS = ImageLimits()
_PNG_END = b"IEND\xaeB`\x82"
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
DEEP_MODES = ("I;16", "I;16B", "I;16L", "I", "F")  # Pillow's names for more than 8 bits of grey
_LAYOUT_OF_16_BITS = re.compile(r";16[BLN]")  # Pillow's names; BGR;16 is 16 bits a pixel
_LEAST_OF_16_BITS = 4096  # a brightest value below it leaves fewer than 16 shades of grey in 8 bits


def decode_image(
    content: bytes, limits: ImageLimits = DEFAULT_LIMITS, smallest_px: int | None = None
) -> NDArray[np.uint8]:
    """Decode a picture fully, or say why it cannot be.

    The size is checked from the header before any pixel is decoded, so that a small file that
    unfolds into gigabytes is refused cheaply. Grey, palette, 16-bit and transparent pictures
    become RGB; the camera's orientation tag is applied.

    Args:
        content: the file's bytes.
        limits: the allowed sizes.
        smallest_px: the picture will be resized to a square of this side. A JPEG is then decoded
            at a half, quarter or eighth of its size where that is still no smaller, which takes
            less than half the time.

    Returns:
        (H, W, 3) uint8 RGB in [0, 255].

    Raises:
        InvalidImageError: with the ``reason`` code of the first rule that is broken.
    """
    return np.array(to_rgb(load_image(content, limits, smallest_px)), dtype=np.uint8)


def load_image(
    content: bytes, limits: ImageLimits = DEFAULT_LIMITS, smallest_px: int | None = None
) -> Image.Image:
    """Load a picture with the pixels and the mode that its file has; see ``decode_image``."""
    if not content:
        raise InvalidImageError("empty", "an image must have bytes; got a 0-byte object")
    image = _open(content)
    with _explained():
        _check_header(image, limits)
        _check_complete(content, image.format)
        if smallest_px is not None:
            image.draft("RGB", (smallest_px, smallest_px))  # has no effect but on a JPEG
        is_deep = _has_16_bits_a_channel(image)
        image.load()
        if is_deep and image.mode not in DEEP_MODES:  # Pillow has kept the upper 8 bits
            _check_fills_16_bits(image)
        return ImageOps.exif_transpose(image)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except InvalidImageError:
        raise
    except Exception as error:  # a broken file makes Pillow's plugins raise almost anything
        raise InvalidImageError(
            "truncated", f"an image must decode to its last pixel; {error}"
        ) from None


def _open(content: bytes) -> ImageFile.ImageFile:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise InvalidImageError(
            "not_an_image",
            f"an image must be one of {', '.join(FORMATS)}; got {len(content)} bytes "
            f"that begin with {content[:8]!r}",
        ) from None


def _check_header(image: Image.Image, limits: ImageLimits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise InvalidImageError(
            "too_many_pixels",
            f"an image may have at most {limits.max_pixels:,} pixels; got {width} x {height} "
            f"= {width * height:,}: crop it or raise max_image_pixels",
        )
    if min(width, height) < limits.min_side_px:
        raise InvalidImageError(
            "too_small",
            f"an image's sides must be at least {limits.min_side_px} px; got {width} x {height}",
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise InvalidImageError(
            "multiple_frames", f"an image must hold one picture; got {frames} frames"
        )


def _check_complete(content: bytes, file_format: str | None) -> None:
    """Raise for a file that is cut off: Pillow fills the missing end of some with grey."""
    is_cut_png = file_format == "PNG" and _PNG_END not in content[-1024:]
    if is_cut_png or (file_format == "JPEG" and b"\xff\xd9" not in content[-4096:]):
        raise InvalidImageError(
            "truncated", f"a {file_format} file must end with its end mark; it is cut off"
        )


def _has_16_bits_a_channel(image: ImageFile.ImageFile) -> bool:
    """Tell by the layout of the file's bytes, which is known until the pixels are loaded."""
    return any(_LAYOUT_OF_16_BITS.search(str(tile.args)) for tile in image.tile)


def _check_fills_16_bits(image: Image.Image) -> None:
    colours = [band for band in image.getbands() if band not in ("A", "a")]
    brightest = max(int(np.asarray(image.getchannel(band)).max()) for band in colours)
    if brightest < _LEAST_OF_16_BITS >> 8:
        raise _unscaled(f"its brightest value is below {_LEAST_OF_16_BITS:,}")


def _unscaled(found: str) -> InvalidImageError:
    return InvalidImageError(
        "unscaled",
        f"a picture of more than 8 bits must use 16, up to 65,535; {found}: scale it to 8 or 16 "
        "bits (of a 12-bit camera multiply by 16)",
    )


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert grey, palette, 16-bit and transparent pictures to RGB.

    Raises:
        InvalidImageError: it has more than 8 bits of grey and does not fill 16, or is below 0.
    """
    with _explained():
        if image.mode in DEEP_MODES:
            image = Image.fromarray(_upper_8_bits(np.asarray(image)))
        elif image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            opaque = Image.new("RGBA", image.size, (0, 0, 0, 255))
            image = Image.alpha_composite(opaque, image.convert("RGBA"))
        return image.convert("RGB")


def _upper_8_bits(grey: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Reduce 16 bits of grey to 8. A camera of 10 or 12 bits whose values were not shifted up would
    become an almost black picture that nothing can be seen in, so it is refused."""
    brightest, darkest = grey.max(), grey.min()
    if grey.dtype.kind == "f" or not _LEAST_OF_16_BITS <= brightest <= np.iinfo(np.uint16).max:
        raise _unscaled(f"its brightest value is {brightest:g}")
    if darkest < 0:
        raise _unscaled(f"its darkest value is {darkest:g}")
    return np.asarray(grey.astype(np.int64) >> 8, np.uint8)
