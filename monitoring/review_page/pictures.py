"""Pictures as the page shows them: decoded here, and sent as JPEG of a bounded size."""

import io
from typing import Final

from PIL import Image

from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize

SIDES_PX: Final = {"thumb": 240, "shown": 1280, "full": 6000}  # the longer side, at most
_QUALITY: Final = {"thumb": 80, "shown": 90, "full": 95}  # of a JPEG


def shrink_picture(content: bytes, size: str, limits: ImageLimits) -> bytes:
    """Make a JPEG of a picture's file, no larger than a size of ``SIDES_PX`` and never enlarged.

    Raises:
        InvalidImageError: the file is no picture.
    """
    side_px = SIDES_PX[size]
    picture = Image.fromarray(decode_image(content, limits, ImageSize.square(side_px)))
    picture.thumbnail((side_px, side_px))
    return to_jpeg(picture, _QUALITY[size])


def to_jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    """Write a picture as the bytes of a JPEG, with all of its colours' pixels."""
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()
