"""Bytes to pixels: every reason why a file is not a picture we can score is found here."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.images.file_parts import is_whole_jpeg, may_be_turned, png_pixels
from reconad_plugin.images.limits import ImageLimits, have_one_shape
from reconad_plugin.images.size import ImageSize

# broken metadata changes no pixel; Pillow says so where a person waits for a command
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
Image.MAX_IMAGE_PIXELS = None  # our own limit is checked from the header, with our own message
DEFAULT_LIMITS = ImageLimits()
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by the camera's orientation tag
_ON_THE_SIDE = tuple(turn for orientation, turn in _TURNS.items() if orientation >= 5)
_LEAST_ALPHA = 16  # a highest alpha below it leaves fewer than 16 shades of grey, or none
DEEP_MODES = ("I;16", "I;16B", "I;16L", "I", "F")  # Pillow's names for more than 8 bits of grey
_LAYOUT_OF_16_BITS = re.compile(r";16[BLN]")  # Pillow's names; BGR;16 is 16 bits a pixel
_LEAST_OF_16_BITS = 4096  # a brightest value below it leaves fewer than 16 shades of grey in 8 bits


def decode_image(
    content: bytes, limits: ImageLimits = DEFAULT_LIMITS, smallest: ImageSize | None = None
) -> NDArray[np.uint8]:
    """Decode a picture fully, or say why it cannot be.

    The size is checked from the header before any pixel is decoded, so that a small file that
    unfolds into gigabytes is refused cheaply. Grey, palette, 16-bit and transparent pictures
    become RGB; the camera's orientation tag is applied.

    Args:
        content: the file's bytes.
        limits: the allowed sizes.
        smallest: the picture will be resized to this. A JPEG is then decoded at a half, quarter or
            eighth of its size where that is still no smaller, which takes less than half the time.

    Returns:
        (H, W, 3) uint8 RGB in [0, 255].

    Raises:
        InvalidImageError: with the ``reason`` code of the first rule that is broken.
    """
    return np.array(to_rgb(load_image(content, limits, smallest)), dtype=np.uint8)


def load_image(
    content: bytes, limits: ImageLimits = DEFAULT_LIMITS, smallest: ImageSize | None = None
) -> Image.Image:
    """Load a picture with the pixels and the mode that its file has; see ``decode_image``."""
    image = _open(content)
    with _explained():
        is_deep = _has_16_bits_a_channel(image)  # before a PNG is asked for its orientation
        _check_header(image, limits)
        if smallest is not None:  # as the file has it: a draft has no effect but on a JPEG
            is_on_the_side = _turn_of(image) in _ON_THE_SIDE
            image.draft("RGB", smallest.shape if is_on_the_side else smallest.shape[::-1])
        image.load()
        if is_deep and image.mode not in DEEP_MODES:  # Pillow has kept the upper 8 bits
            _check_fills_16_bits(image)
    turn = _turn_of(image)
    return image if turn is None else image.transpose(turn)


def check_limits(content: bytes, limits: ImageLimits) -> None:
    """Check from its header that a picture may be decoded.

    Raises:
        InvalidImageError: see ``decode_image``.
    """
    image = _open(content)
    with _explained():
        _check_header(image, limits)


def count_pixels(content: bytes) -> int:
    """Return how many pixels a picture has, from its header alone.

    Raises:
        InvalidImageError: it has none.
    """
    width, height = _open(content).size
    return width * height


def upright_size(content: bytes) -> tuple[int, int]:
    """Return the width and height that a picture will have, from its header.

    Raises:
        InvalidImageError: it has none.
    """
    return _upright(_open(content))


def _upright(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _turn_of(image) in _ON_THE_SIDE else (width, height)


def _turn_of(image: Image.Image) -> Image.Transpose | None:
    """Return what brings a picture upright. Broken metadata never refuses pixels."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow's readers of metadata raise almost anything
        return None


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
    """Open a file that is whole, by its container."""
    if not content:
        raise InvalidImageError("empty", "an image must have bytes; got a 0-byte object")
    pixels: bytes | None = content
    if content.startswith(b"\x89PNG"):
        pixels = png_pixels(content)
    elif content.startswith(b"\xff\xd8") and not is_whole_jpeg(content):
        pixels = None
    try:
        image = Image.open(io.BytesIO(content if pixels is None else pixels), formats=FORMATS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise InvalidImageError(
            "not_an_image",
            f"an image must be one of {', '.join(FORMATS)}; got {len(content)} bytes "
            f"that begin with {content[:8]!r}",
        ) from None
    if image.format == "PNG" and not (pixels and may_be_turned(pixels)):
        image.info["exif"] = b""  # else Pillow would decode all pixels to look behind them
    if pixels is None:  # Pillow fills the missing end of some with grey
        kind = "PNG" if image.format == "PNG" else "JPEG"
        raise InvalidImageError(
            "truncated", f"a {kind} file must end with its end mark; it is cut off"
        )
    return image


def _check_header(image: Image.Image, limits: ImageLimits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise InvalidImageError(
            "too_many_pixels",
            f"an image may have at most {limits.max_pixels:,} pixels; got {width} x {height} "
            f"= {width * height:,}: crop it or raise max_image_pixels (by hand --max-image-pixels)",
        )
    if min(width, height) < limits.min_side_px:
        raise InvalidImageError(
            "too_small",
            f"an image's sides must be at least {limits.min_side_px} px; got {width} x {height}",
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's JPEG, with previews after the picture
        raise InvalidImageError(
            "multiple_frames", f"an image must hold one picture; got {frames} frames"
        )
    if limits.shape is not None:
        _check_shape(_upright(image), limits.shape)


def _check_shape(upright: tuple[int, int], asked: tuple[int, int]) -> None:
    if not have_one_shape(upright, asked):
        raise InvalidImageError(
            "other_shape",
            f"an image must have the shape that its lens was calibrated at, {asked[0]} x "
            f"{asked[1]} in any resolution; got {upright[0]} x {upright[1]} as it is seen "
            "upright: calibrate the camera at that shape, or leave the lens out",
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
    """Convert grey, palette, 16-bit and transparent pictures to RGB. Transparency is laid over
    black; where all of a picture is transparent it says nothing, and the colours are taken.

    Raises:
        InvalidImageError: it has more than 8 bits of grey and does not fill 16, or is below 0; or
            all of it is transparent and black.
    """
    with _explained():
        if image.mode in DEEP_MODES:
            image = Image.fromarray(_upper_8_bits(np.asarray(image)))
        elif image.has_transparency_data:
            image = _lay_over_black(image.convert("RGBA"))
        elif image.mode == "LAB":
            image = _lab_to_rgb(image)
        return image.convert("RGB")


def _lay_over_black(image: Image.Image) -> Image.Image:
    *colours, alpha = np.asarray(image).max((0, 1))  # (H, W, 4) -> the highest of each
    if alpha >= _LEAST_ALPHA:
        opaque = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(opaque, image)
    if not any(colours):
        raise InvalidImageError(
            "transparent",
            "an image must show something; all of it is transparent and black: save it without an "
            "alpha channel",
        )
    return image


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
    return converted if converted is not None else image


def _upper_8_bits(grey: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Reduce 16 bits of grey to 8. A camera of 10 or 12 bits whose values were not shifted up would
    become an almost black picture that nothing can be seen in, so it is refused."""
    brightest, darkest = grey.max(), grey.min()
    if grey.dtype.kind == "f" or not _LEAST_OF_16_BITS <= brightest <= np.iinfo(np.uint16).max:
        raise _unscaled(f"its brightest value is {brightest:g}")
    if darkest < 0:
        raise _unscaled(f"its darkest value is {darkest:g}")
    return np.asarray(grey.astype(np.int64) >> 8, np.uint8)
