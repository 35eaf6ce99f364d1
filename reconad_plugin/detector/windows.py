"""Large pictures seen twice: shrunk as a whole, and in overlapping windows of their own pixels.

Source: tiles at native resolution beside the whole picture: Rolih et al., "Divide and Conquer:
High-Resolution Industrial Anomaly Detection via Memory Efficient Tiled Ensemble", VAND 2024.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.images.light_reference import LightReference
from reconad_plugin.images.size import MOST_PIXELS, MULTIPLE_PX, ImageSize

OVERLAP: Final = 1 / 32  # of a window's side; more costs time, as each pixel is seen more often
PIXELS_AT_ONCE: Final = 2**19  # of windows that go through the network together
LEAST_SCALE: Final = 1e-6
BYTES_A_PIXEL: Final = 3

Number = TypeVar("Number", np.float32, np.float64)


class ViewScores(Protocol):
    """Scores and maps of views of a picture."""

    @property
    def pred_score(self) -> NDArray[np.float64]:
        """(B,) scores."""

    @property
    def anomaly_map(self) -> NDArray[np.float32]:
        """(B, h, w) maps."""


Pictures = NDArray[np.uint8]
ScoreViews = Callable[[Pictures], ViewScores]  # of (B, 3, h, w)


@dataclass(frozen=True)
class Windows:
    """How the two views of a picture are made one."""

    size: ImageSize  # of a window, and of the shrunk picture: what the network takes
    # what divides scores and maps of a view: its threshold on held-out normal images
    whole_scale: float
    window_scale: float

    def join(self, whole: NDArray[Number], windows: NDArray[Number]) -> NDArray[Number]:
        """Return scores, or maps of one size, of both views in one: the larger in their scales."""
        larger = np.maximum(whole / self.whole_scale, windows / self.window_scale)
        return np.asarray(larger, whole.dtype)


def map_size(pictures: ImageSize) -> ImageSize:
    """Return the size of the map of a picture that is seen in windows: its own, up to a megapixel,
    so that maps of many pictures fit in memory."""
    shrink = max(1.0, math.sqrt(pictures.pixels / MOST_PIXELS))
    sides = (int(side / shrink) // MULTIPLE_PX * MULTIPLE_PX for side in pictures.shape)
    return ImageSize(*(max(MULTIPLE_PX, side) for side in sides))


def window_corners(pictures: ImageSize, size: ImageSize) -> list[tuple[int, int]]:
    """Return the upper left corners, down and across, of windows that cover a picture evenly."""
    down = _starts(pictures.height_px, size.height_px)
    return list(product(down, _starts(pictures.width_px, size.width_px)))


def score_windows(
    image: Pictures, size: ImageSize, maps_of: ImageSize, score: ScoreViews
) -> tuple[float, NDArray[np.float32]]:
    """Score all windows of a (3, H, W) picture, a bounded number at once.

    Returns:
        The highest score of a window, and the maps of the windows blended and brought to the size
        ``maps_of``, in which each cell has the highest point that falls into it.
    """
    pictures = ImageSize.of(image.shape)
    taper = _taper(size)
    total, weight = (np.zeros(pictures.shape, np.float32) for _ in range(2))
    highest = -math.inf
    for corners in _in_batches(window_corners(pictures, size), size):
        places = [(slice(y, y + size.height_px), slice(x, x + size.width_px)) for y, x in corners]
        scores = score(np.stack([image[:, rows, columns] for rows, columns in places]))
        highest = max(highest, float(scores.pred_score.max()))
        for place, shown in zip(places, scores.anomaly_map, strict=True):
            total[place] += shown * taper
            weight[place] += taper
    total /= weight  # (H, W)
    rows = _highest_of_cells(total, maps_of.height_px, 0)
    return highest, _highest_of_cells(rows, maps_of.width_px, 1)


def enlarge_maps(maps: NDArray[np.float32], size: ImageSize) -> NDArray[np.float32]:
    """Enlarge (N, h, w) maps of shrunk pictures to a size, between whose pixels values go in
    straight lines."""
    return _stretch(_stretch(maps, size.height_px, 1), size.width_px, 2)


def match_picture(light: LightReference, image: Pictures, shrunk: Pictures) -> Pictures:
    """Bring a (3, H, W) picture to a light, as its shrunk (3, h, w) view is brought there."""
    levels = light.match_levels(shrunk)
    return np.stack([of[colour] for of, colour in zip(levels, image, strict=True)])


def describe_cost(pictures: ImageSize, size: ImageSize) -> str:
    """Say what pictures of a size cost that are seen in windows."""
    windows = len(window_corners(pictures, size))
    height, width = pictures.shape
    return (
        f"each picture of {width} x {height} is seen as a whole and in {windows} windows of "
        f"{size.width_px} x {size.height_px}: scoring takes about {windows + 1} times as long as "
        f"without windows, and the cache {pictures.pixels * BYTES_A_PIXEL / 1e6:.1f} MB a picture"
    )


def _starts(length_px: int, window_px: int) -> list[int]:
    overlap = round(OVERLAP * window_px)
    count = max(1, math.ceil((length_px - overlap) / (window_px - overlap)))
    return [round(n * (length_px - window_px) / max(1, count - 1)) for n in range(count)]


def _taper(size: ImageSize) -> NDArray[np.float32]:
    """Return the weights of a window's pixels, (h, w): they fall smoothly over its overlap."""

    def side(length_px: int) -> NDArray[np.float32]:
        pixel = np.arange(length_px, dtype=np.float32) + np.float32(0.5)
        inwards = np.minimum(pixel, length_px - pixel) / np.float32(OVERLAP * length_px)
        return np.asarray((1 - np.cos(np.pi * np.minimum(inwards, 1))) / 2 + 1e-3, np.float32)

    return side(size.height_px)[:, None] * side(size.width_px)


def _highest_of_cells(values: NDArray[np.float32], cells: int, axis: int) -> NDArray[np.float32]:
    """Return the highest value in each of so many cells along an axis; where its length is no
    multiple of them, they overlap."""
    length, cell = values.shape[axis], np.arange(cells)
    begin, end = cell * length // cells, -(-(cell + 1) * length // cells)
    borders = np.stack([begin, end], 1).ravel()[:-1]  # what lies between the last two goes on
    return np.maximum.reduceat(values, borders, axis).take(np.arange(0, 2 * cells, 2), axis)


def _stretch(maps: NDArray[np.float32], length: int, axis: int) -> NDArray[np.float32]:
    before = maps.shape[axis]
    at = ((np.arange(length) + 0.5) * (before / length) - 0.5).clip(0, before - 1)
    low = at.astype(np.intp)
    sides = [-1 if each == axis else 1 for each in range(maps.ndim)]
    share = (at - low).astype(np.float32).reshape(sides)
    high = np.minimum(low + 1, before - 1)
    stretched = maps.take(low, axis) * (1 - share) + maps.take(high, axis) * share
    return np.asarray(stretched, np.float32)


def _in_batches(corners: list[tuple[int, int]], size: ImageSize) -> Iterator[list[tuple[int, int]]]:
    at_once = max(1, PIXELS_AT_ONCE // size.pixels)
    for start in range(0, len(corners), at_once):
        yield corners[start : start + at_once]
