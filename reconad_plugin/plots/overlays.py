"""A picture with its anomaly map laid over it, so that a person sees where."""

import io
import sys
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from reconad_plugin.detector.answer import MAP_FULL_SCALE
from reconad_plugin.images.decode import decode_image, load_image
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.region import Mask
from reconad_plugin.images.size import ImageSize
from reconad_plugin.plots.inferno import INFERNO

MAP_COLOURS: Final = "inferno"  # as matplotlib calls them
MOST_SIDE_PX: Final = 1600  # of an overlay; a larger picture is shrunk
_MOST_OPAQUE: Final = 0.6  # of the colours, at the threshold and above
_OUTSIDE: Final = 0.4  # of the brightness that is left where nothing counts
_LINES: Final = 400  # of which a side of the picture has room for
_CHECKED: Final = ImageLimits(sys.maxsize, 1)  # whoever predicted the picture has checked it


def draw_overlay(picture: bytes, anomaly_map: bytes, inside: Mask | None = None) -> bytes:
    """Draw an overlay, as the bytes of a PNG.

    The map's colours are the more opaque the nearer it is to the threshold. What is above the
    threshold has a white outline with a black one around it, which is seen on any ground.

    Args:
        picture: a picture file.
        anomaly_map: a grey PNG of any size whose mid-grey is the threshold.
        inside: (H, W) of any size, where to look; it is dark elsewhere. None: everywhere.

    Raises:
        InvalidImageError: one of them cannot be decoded.
    """
    image = Image.fromarray(decode_image(picture, _CHECKED, ImageSize.square(MOST_SIDE_PX)))
    image.thumbnail((MOST_SIDE_PX, MOST_SIDE_PX))
    grey = load_image(anomaly_map, _CHECKED).convert("L")
    shade = np.asarray(grey.resize(image.size, Image.Resampling.BILINEAR))  # (H, W)
    level = shade / 255
    opacity = _MOST_OPAQUE * np.minimum(1, MAP_FULL_SCALE * level)[..., None]
    colours = INFERNO[shade]  # (H, W, 3)
    drawn = np.asarray((1 - opacity) * np.asarray(image) + opacity * colours).astype(np.uint8)
    if inside is not None:
        counts = np.asarray(Image.fromarray(inside).resize(image.size, Image.Resampling.NEAREST))
        drawn[~counts] = drawn[~counts] * _OUTSIDE
    _outline(drawn, level > 1 / MAP_FULL_SCALE)
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, format="PNG")
    return buffer.getvalue()


def _outline(drawn: NDArray[np.uint8], above: NDArray[np.bool_]) -> None:
    """Draw lines around what is above, (H, W) bool, into (H, W, 3)."""
    if not above.any():
        return
    width = max(1, min(above.shape) // _LINES)
    white = ndimage.binary_dilation(above, iterations=width)
    black = ndimage.binary_dilation(white, iterations=width)
    drawn[black & ~white] = 0
    drawn[white & ~above] = 255
