"""Pictures of where a defect is."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.images.decode import DEEP_MODES, load_image, to_rgb
from reconad_plugin.images.limits import ImageLimits, have_one_shape
from reconad_plugin.images.size import ImageSize

_LIMITS: Final = ImageLimits(max_pixels=10**9, min_side_px=1)  # those of its picture were checked
_HALF_GREY: Final = 127


def decode_mask(content: bytes) -> NDArray[np.bool_]:
    """Decode a picture file, black where the picture is normal and of any level or colour where the
    defect is, to (H, W) bool. In a JPEG, whose black is seldom 0, the defect is above 127.

    Raises:
        InvalidImageError: it cannot be decoded, or marks no pixel.
    """
    grey, floor = _levels(content)
    mask: NDArray[np.bool_] = grey > floor
    if not mask.any():
        raise InvalidImageError(
            "empty",
            f"a defect's mask must be above {floor} where the defect is; "
            f"its largest value is {grey.max()}: mark the defect in white, or label the picture as "
            "normal",
        )
    return mask


def mark_pixels(content: bytes) -> NDArray[np.bool_]:
    """Decode a picture file, black outside, to (H, W) bool; see ``decode_mask``. It may be empty.

    Raises:
        InvalidImageError: it cannot be decoded.
    """
    grey, floor = _levels(content)
    return np.asarray(grey > floor)


def _levels(content: bytes) -> tuple[NDArray[Any], int]:
    """Return the levels of a picture, (H, W), and the highest that still is outside."""
    image, is_lossy = load_image(content, _LIMITS), content.startswith(b"\xff\xd8")
    # of 16 bits each level counts, also those that 8 bits would lose
    levels = np.asarray(image if image.mode in DEEP_MODES else to_rgb(image))
    grey = levels.max(-1) if levels.ndim == 3 else levels  # (H, W)
    return grey, _HALF_GREY if is_lossy else 0


def check_shape(mask: tuple[int, int], picture: tuple[int, int]) -> None:
    """Check that a mask has the shape of its picture, in any resolution; both are width and height
    as people see them.

    Raises:
        InvalidImageError: it has another.
    """
    (mask_w, mask_h), (width, height) = mask, picture
    if not have_one_shape(mask, picture):
        raise InvalidImageError(
            "mask_shape",
            f"a mask must have the shape of its picture; it is {mask_w} x {mask_h}, the picture "
            f"{width} x {height} as it is seen upright: draw it on the upright picture",
        )


def shrink_mask(mask: NDArray[np.bool_], size: ImageSize) -> NDArray[np.bool_]:
    """Shrink (H, W) to a size: a cell is set if any pixel that falls into it is."""
    begins = (
        np.arange(cells) * side // cells for cells, side in zip(size.shape, mask.shape, strict=True)
    )
    # reduceat takes the pixel itself where two cells begin at the same one
    for axis, begin in enumerate(begins):
        mask = np.logical_or.reduceat(mask, begin, axis=axis)
    return mask
