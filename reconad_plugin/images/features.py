"""Numbers that describe the light and the focus of one picture.

They are computed on the picture as it came, before any resizing for a network, and stand in
the manifest, so that a change of lamp or lens is seen without a model.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

LIGHT_FEATURES: Final = (
    "luminance",
    "contrast",
    "red_green_balance",
    "blue_green_balance",
    "clipped_share",
)
FOCUS_FEATURES: Final = ("sharpness",)
FEATURES: Final = (*LIGHT_FEATURES, *FOCUS_FEATURES)

_LUMA_WEIGHTS: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
_DARKEST, _BRIGHTEST = 2, 253  # 8-bit values at or beyond these have lost detail
_LOG_FLOOR = 1e-6


def describe_image(image: NDArray[np.uint8]) -> dict[str, float]:
    """Features of light and focus.

    Args:
        image: (H, W, 3) uint8 RGB in [0, 255].

    Returns:
        ``luminance``: mean of luma, in [0, 1].
        ``contrast``: standard deviation of luma, in [0, 0.5].
        ``red_green_balance``, ``blue_green_balance``: log of the ratio of the colours' means;
        0 is neutral, positive is redder or bluer than green.
        ``clipped_share``: share of pixels with a colour that is fully dark or fully bright.
        ``sharpness``: log of the mean squared Laplacian of luma over the picture's variance;
        falls when the lens leaves its focus, and does not change with the lamp's power.
    """
    luma = image.astype(np.float32) @ _LUMA_WEIGHTS / 255  # (H, W, 3) -> (H, W)
    red, green, blue = image.reshape(-1, 3).mean(0, dtype=np.float64) / 255 + _LOG_FLOOR
    clipped = ((image >= _BRIGHTEST) | (image <= _DARKEST)).any(-1)
    variance = float(luma.var())
    return {
        "luminance": float(luma.mean()),
        "contrast": float(np.sqrt(variance)),
        "red_green_balance": float(np.log(red / green)),
        "blue_green_balance": float(np.log(blue / green)),
        "clipped_share": float(clipped.mean()),
        "sharpness": float(
            np.log((_mean_square_laplacian(luma) + _LOG_FLOOR**2) / (variance + _LOG_FLOOR))
        ),
    }


def _mean_square_laplacian(luma: NDArray[np.floating]) -> float:
    laplacian = (
        luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    )
    return float(np.square(laplacian).mean())
