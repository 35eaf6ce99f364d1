"""Where an anomaly map is above the pixel threshold: boxes in pixels of the picture."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

MOST_REPORTED: Final = 100  # areas of one picture
_EIGHT_CONNECTED: Final = np.ones((3, 3), np.bool_)
_LEAST_THRESHOLD: Final = 1e-12  # that a peak is a multiple of


@dataclass(frozen=True)
class FoundRegion:
    """A connected area of a map above the pixel threshold; lengths are pixels of the picture."""

    x: int  # of the left side of its box
    y: int  # of the upper side
    width: int
    height: int
    area_px: int  # at least 1; pixels of the map count as wide as they are in the picture
    peak: float  # the map's highest point in it, in multiples of the pixel threshold


@dataclass(frozen=True)
class RegionsFound:
    """All that was found in one picture."""

    count: int  # of areas, also of those that are not reported
    regions: tuple[FoundRegion, ...]  # those with the highest peaks first, at most a hundred


def find_regions(
    anomaly_map: NDArray[np.float32], pixel_threshold: float, picture: tuple[int, int]
) -> RegionsFound:
    """Find the 8-connected areas of a (S, S) map above a threshold.

    Args:
        anomaly_map: as it is shipped.
        pixel_threshold: of the version.
        picture: width and height of the picture that it is of, as people see it.
    """
    labels, count = ndimage.label(anomaly_map > pixel_threshold, structure=_EIGHT_CONNECTED)
    if not count:
        return RegionsFound(0, ())
    peaks = ndimage.maximum(anomaly_map, labels, np.arange(1, count + 1))
    highest = np.argsort(-peaks, kind="stable")[:MOST_REPORTED]
    areas, boxes = np.bincount(labels.ravel())[1:], ndimage.find_objects(labels)
    (rows, columns), (width, height) = anomaly_map.shape, picture
    found = []
    for index in highest.tolist():
        down, across = boxes[index]
        y, bottom = _stretched(down, height, rows)
        x, right = _stretched(across, width, columns)
        area_px = max(1, round(int(areas[index]) * width * height / (rows * columns)))
        peak = float(peaks[index]) / max(pixel_threshold, _LEAST_THRESHOLD)
        found.append(FoundRegion(x, y, right - x, bottom - y, area_px, peak))
    return RegionsFound(count, tuple(found))


def _stretched(span: slice, length: int, cells: int) -> tuple[int, int]:
    """Return the whole pixels, of so many, that a span of cells touches."""
    return span.start * length // cells, -(-span.stop * length // cells)
