"""Pictures of where a defect is."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.images.decode import DEEP_MODES, load_image, to_rgb
from reconad_plugin.images.limits import ImageLimits

_LIMITS: Final = ImageLimits(min_side_px=1)  # a mask may be coarser than its picture
_HALF_GREY: Final = 127


def decode_mask(content: bytes) -> NDArray[np.bool_]:
    """Decode a picture file, white where the defect is, or of zeros and ones, to (H, W) bool.

    Raises:
        InvalidImageError: it cannot be decoded, or marks no pixel.
    """
    image = load_image(content, _LIMITS)
    is_deep = image.mode in DEEP_MODES  # 1 and 255 of 16 bits are white as well
    grey = np.asarray(image if is_deep else to_rgb(image).convert("L"))  # (H, W)
    brightest = int(grey.max())
    mask: NDArray[np.bool_] = grey > (0 if brightest <= 1 else _HALF_GREY)
    if not mask.any():
        raise InvalidImageError(
            "empty",
            f"a defect's mask must be above {_HALF_GREY} (or 1 of 0 and 1) where the defect is; "
            f"its largest value is {brightest}: mark the defect in white, or label the "
            "picture as normal",
        )
    return mask


def shrink_mask(mask: NDArray[np.bool_], size_px: int) -> NDArray[np.bool_]:
    """Shrink (H, W) to (size_px, size_px): a cell is set if any pixel that falls into it is."""
    height, width = mask.shape
    cells = np.arange(size_px)
    # reduceat takes the pixel itself where two cells begin at the same one
    rows = np.logical_or.reduceat(mask, cells * height // size_px, axis=0)
    return np.logical_or.reduceat(rows, cells * width // size_px, axis=1)
