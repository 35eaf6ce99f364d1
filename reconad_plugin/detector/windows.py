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
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from reconad_plugin.images.geometry import resize
from reconad_plugin.images.light import LightReference
from reconad_plugin.images.size import MOST_PIXELS, MULTIPLE_PX, ImageSize

OVERLAP: Final = 1 / 32  # of a window's side; more costs time, as each pixel is seen more often
PIXELS_AT_ONCE: Final = 2**19  # of windows that go through the network together
ROWS_AT_ONCE: Final = 256  # of a picture, where floats of all of it would take too much
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


ScoreViews = Callable[[Tensor], ViewScores]  # of (B, 3, h, w) uint8


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


def shrink_pictures(images: Tensor, size: ImageSize) -> Tensor:
    """Shrink (N, 3, H, W) uint8 pictures one by one: floats of all would fill the memory."""
    parts = [resize(image[None], size) for image in images]
    return torch.cat([images.new_empty(0, 3, *size.shape), *parts])


def score_windows(
    image: Tensor, size: ImageSize, maps_of: ImageSize, score: ScoreViews
) -> tuple[float, NDArray[np.float32]]:
    """Score all windows of a (3, H, W) uint8 picture, a bounded number at once.

    Returns:
        The highest score of a window, and the maps of the windows blended and brought to the size
        ``maps_of``, in which each cell has the highest point that falls into it.
    """
    pictures = ImageSize.of(image.shape)
    taper = _taper(size)
    total, weight = torch.zeros(pictures.shape), torch.zeros(pictures.shape)
    highest = -math.inf
    for corners in _in_batches(window_corners(pictures, size), size):
        places = [(slice(y, y + size.height_px), slice(x, x + size.width_px)) for y, x in corners]
        scores = score(torch.stack([image[:, rows, columns] for rows, columns in places]))
        highest = max(highest, float(scores.pred_score.max()))
        for place, shown in zip(places, torch.from_numpy(scores.anomaly_map), strict=True):
            total[place] += shown * taper
            weight[place] += taper
    blended = total.div_(weight)[None]  # (1, H, W)
    return highest, F.adaptive_max_pool2d(blended, maps_of.shape)[0].numpy()


def enlarge_maps(maps: NDArray[np.float32], size: ImageSize) -> NDArray[np.float32]:
    """Enlarge (N, h, w) maps of shrunk pictures to a size."""
    whole = torch.from_numpy(maps)[:, None].float()
    enlarged = F.interpolate(whole, size.shape, mode="bilinear", align_corners=False)
    return enlarged[:, 0].numpy()  # (N, 1, H, W) -> (N, H, W)


def match_picture(light: LightReference, image: Tensor, shrunk: Tensor) -> Tensor:
    """Bring a (3, H, W) uint8 picture to a light, as its shrunk (3, h, w) view is brought there."""
    matched = torch.empty_like(image)
    for rows in range(0, image.shape[1], ROWS_AT_ONCE):
        strip = image[None, :, rows : rows + ROWS_AT_ONCE].float() / 255
        lit = light.match(strip, like=shrunk[None].float() / 255)
        matched[:, rows : rows + ROWS_AT_ONCE] = (lit[0] * 255).round().to(torch.uint8)
    return matched


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


def _taper(size: ImageSize) -> Tensor:
    """Return the weights of a window's pixels, (h, w): they fall smoothly over its overlap."""

    def side(length_px: int) -> Tensor:
        pixel = torch.arange(length_px) + 0.5
        inwards = torch.minimum(pixel, length_px - pixel) / (OVERLAP * length_px)
        return (1 - torch.cos(torch.pi * inwards.clamp_max(1))) / 2 + 1e-3

    return side(size.height_px)[:, None] * side(size.width_px)


def _in_batches(corners: list[tuple[int, int]], size: ImageSize) -> Iterator[list[tuple[int, int]]]:
    at_once = max(1, PIXELS_AT_ONCE // size.pixels)
    for start in range(0, len(corners), at_once):
        yield corners[start : start + at_once]
