"""Numbers that describe the light, the focus and the framing of one picture.

They are computed on the picture as it came, before any resizing for a network, and stand in
the manifest, so that a change of lamp, lens or mounting is seen without a model.
"""

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

_BALANCES: Final = ("red_green_balance", "blue_green_balance")
_SLOPES: Final = ("light_slope_x", "light_slope_y")
LIGHT_FEATURES: Final = ("luminance", "contrast", *_BALANCES, "clipped_share", *_SLOPES)
_FRAMINGS: Final = ("framing_x", "framing_y", "framing_spread")
CAMERA_FEATURES: Final = ("sharpness", "noise", "resolution", *_FRAMINGS)
FEATURES: Final = (*LIGHT_FEATURES, *CAMERA_FEATURES)

LUMA_WEIGHTS: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
_DARKEST, _BRIGHTEST = 2, 253  # 8-bit values at or beyond these have lost detail
_LOG_FLOOR = 1e-6
_DARK_LEVEL = 1 / 255  # added before a logarithm of luma, so that black does not dominate
_FRAMING_CELLS = 64  # along the longer side: finer, and noise would be taken for edges
_MEDIAN_OF_NORMAL = 0.6745  # of the absolute value of a standard normal variable


def describe_image(image: NDArray[np.uint8]) -> dict[str, float]:
    """Compute the features of light, focus and framing.

    Args:
        image: (H, W, 3) uint8 RGB in [0, 255].

    Returns:
        ``luminance``: mean of luma, in [0, 1].
        ``contrast``: standard deviation of luma, in [0, 0.5].
        ``red_green_balance``, ``blue_green_balance``: log of the ratio of the colours' means;
        0 is neutral, positive is redder or bluer than green.
        ``clipped_share``: share of pixels with a colour that is fully dark or fully bright.
        ``light_slope_x``, ``light_slope_y``: log of the ratio of the right half's mean luma to
        the left half's, and of the lower half's to the upper one's; 0 is even light.
        ``sharpness``: log of the mean squared Laplacian of luma over the picture's variance;
        falls when the lens leaves its focus, and does not change with the lamp's power.
        ``noise``: log of the noise's standard deviation over the contrast (Immerkaer, "Fast
        Noise Variance Estimation", CVIU 64, 1996, with the median in place of the mean).
        ``resolution``: log2 of the number of pixels.
        ``framing_x``, ``framing_y``: centre of the edges, as a share of width and height from
        the upper left; moves when the camera does, and does not change with the lamp's power.
        ``framing_spread``: root mean square distance of the edges from it, in the same shares;
        grows when the camera comes closer.
    """
    luma = image.astype(np.float32) @ LUMA_WEIGHTS / 255  # (H, W, 3) -> (H, W)
    # colour by colour: along an axis of three numpy takes six times as long
    red, green, blue = (image[..., at].mean(dtype=np.float64) / 255 + _LOG_FLOOR for at in range(3))
    lost = (image >= _BRIGHTEST) | (image <= _DARKEST)
    clipped = lost[..., 0] | lost[..., 1] | lost[..., 2]  # (H, W, 3) -> (H, W)
    variance = float(luma.var())
    contrast = float(np.sqrt(variance))
    sharpness = (_mean_square_laplacian(luma) + _LOG_FLOOR**2) / (variance + _LOG_FLOOR)
    return {
        "luminance": float(luma.mean()),
        "contrast": contrast,
        "red_green_balance": float(np.log(red / green)),
        "blue_green_balance": float(np.log(blue / green)),
        "clipped_share": float(clipped.mean()),
        "light_slope_x": _slope(luma.T),
        "light_slope_y": _slope(luma),
        "sharpness": float(np.log(sharpness)),
        "noise": float(np.log((_noise(luma) + _LOG_FLOOR) / (contrast + _LOG_FLOOR))),
        "resolution": float(np.log2(luma.size)),
        **dict(zip(_FRAMINGS, _framing(luma), strict=True)),
    }


def hash_pixels(image: NDArray[np.uint8]) -> str:
    """Hash what a picture shows: equal for equal (H, W, 3) uint8 RGB, whatever its file holds
    besides. Noise makes any two exposures of a camera differ."""
    digest = hashlib.sha256(f"{image.shape}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _slope(luma: NDArray[np.floating]) -> float:
    """Compute the log ratio of the mean of the last half of the rows to the first half's."""
    half = max(1, len(luma) // 2)
    return float(np.log((luma[-half:].mean() + _DARK_LEVEL) / (luma[:half].mean() + _DARK_LEVEL)))


def _noise(luma: NDArray[np.floating]) -> float:
    """Estimate the standard deviation of noise: a mask that edges and slopes hardly pass, and its
    median."""
    if min(luma.shape) < 3:
        return 0.0
    rows = luma[:-2] - 2 * luma[1:-1] + luma[2:]
    masked = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    mask_gain = 6  # root of the sum of the squares of the mask's nine weights
    return float(np.median(np.abs(masked[::2, ::2]))) / _MEDIAN_OF_NORMAL / mask_gain


def _framing(luma: NDArray[np.floating]) -> tuple[float, float, float]:
    """Find the centre and spread of the edges of the logarithm of luma, on a coarse grid."""
    log_luma = np.log(_shrink(luma) + _DARK_LEVEL)
    edges = np.hypot(*np.gradient(log_luma)) if min(log_luma.shape) > 1 else np.zeros((1, 1))
    total = float(edges.sum())
    if total < _LOG_FLOOR:
        return 0.5, 0.5, 0.0  # an even picture has no edges: the middle
    height, width = edges.shape
    x = (np.arange(width) + 0.5) / width
    y = (np.arange(height) + 0.5) / height
    columns, rows = edges.sum(0) / total, edges.sum(1) / total
    centre_x, centre_y = float(columns @ x), float(rows @ y)
    square = float(columns @ (x - centre_x) ** 2 + rows @ (y - centre_y) ** 2)
    return centre_x, centre_y, float(np.sqrt(square))


def _shrink(luma: NDArray[np.floating]) -> NDArray[np.floating]:
    """Compute the means of square cells, at most ``_FRAMING_CELLS`` along the longer side."""
    cell = -(-max(luma.shape) // _FRAMING_CELLS)
    height, width = (max(1, side // cell) for side in luma.shape)
    cut = luma[: height * cell, : width * cell]
    if cut.shape != (height * cell, width * cell):  # a strip thinner than a cell
        return cut
    shrunk: NDArray[np.floating] = cut.reshape(height, cell, width, cell).mean((1, 3))
    return shrunk


def _mean_square_laplacian(luma: NDArray[np.floating]) -> float:
    if min(luma.shape) < 3:
        return 0.0
    beside = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    laplacian = beside - 4 * luma[1:-1, 1:-1]
    return float(np.square(laplacian).mean())
