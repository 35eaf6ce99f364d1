"""The distortion of a lens: taken out of pictures, and put back into their maps.

The whole picture stays to be seen: the straight one shows all that the camera's shows, so its
middle is a little smaller. Beyond the edge of the camera's picture its edge is repeated.

Source: the camera model of OpenCV's ``calib3d``, without its tilt of the sensor.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from reconad_plugin.errors import ConfigError
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.region import Mask, Region, checked_region
from reconad_plugin.images.size import ImageSize

Points = NDArray[np.float64]  # (..., 2), x and y

COEFFICIENTS: Final = 12  # k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4
_STEPS: Final = 50  # of Newton's method; a lens of a camera takes about five
_NEXT_TO: Final = 1e-9  # of the picture's width, in focal lengths about a thousandth of a pixel
_DELTA: Final = 1e-6  # of a derivative
_CELLS: Final = 64  # a side, of the grid that is checked
_AT_ONCE: Final = 32  # pictures
_SHARPNESS: Final = -0.5  # of cubic convolution: Keys 1981, which repeats a parabola


@dataclass(frozen=True)
class Lens:
    """A calibrated lens. Pictures may have any size in the shape of ``width_px`` x ``height_px``.

    Raises:
        ConfigError: it folds the picture over.
    """

    width_px: int  # of the pictures that it was calibrated with
    height_px: int
    focal: tuple[float, float]  # fx and fy, pixels
    centre: tuple[float, float]  # cx and cy, pixels; 0 is the middle of the first one
    coefficients: tuple[float, ...]  # ``COEFFICIENTS`` of them, in OpenCV's order
    sha256: str  # of the file that it came from

    def __post_init__(self) -> None:
        _ = self.frame

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height of the pictures that it was calibrated with."""
        return self.width_px, self.height_px

    def straighten(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Take the distortion out of (N, 3, H, W) pictures of any one size."""
        at = _sampling(self, ImageSize.of(images.shape))
        straight = np.empty_like(images)
        for start in range(0, len(images), _AT_ONCE):
            part = images[start : start + _AT_ONCE]
            levels = _sample(at, part.astype(np.float32))
            straight[start : start + _AT_ONCE] = np.rint(levels).clip(0, 255)
        return straight

    def straighten_region(self, region: Region) -> Region:
        """Take the distortion out of where to look.

        Raises:
            ConfigError: nothing of a mask is left.
        """
        masks = {name: self.straighten_mask(mask) for name, mask in region.masks.items()}
        return checked_region(masks)

    def straighten_mask(self, mask: Mask) -> Mask:
        """Take the distortion out of (..., H, W) masks: each pixel is the nearest one's."""
        height, width = mask.shape[-2:]
        x, y = np.moveaxis(np.rint(seen_at(self, ImageSize(height, width))), -1, 0).astype(int)
        return np.asarray(mask[..., y.clip(0, height - 1), x.clip(0, width - 1)])

    def bend(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Put the distortion back into (N, H, W) maps of straightened pictures, so that they lie
        over the camera's."""
        return _sample(_bending(self, ImageSize.of(maps.shape)), maps)

    @cached_property
    def frame(self) -> tuple[Points, Points]:
        """Upper left and lower right corner of the straight picture, in focal lengths: the least
        that all of the camera's picture is in.

        Raises:
            ConfigError: the lens folds the picture over.
        """
        edges = np.linspace(0, 1, _CELLS + 1)
        whole = self._straight(np.stack(np.meshgrid(edges, edges), -1))  # (C, C, 2) points
        corners = whole.min((0, 1)), whole.max((0, 1))
        for points in (whole, _between(*corners, edges)):
            if not self._keeps_sides(points):
                raise _folded(self)
        return corners

    def _bent(self, points: Points) -> Points:
        """Points that a straight lens would see, in focal lengths, as this one sees them."""
        x, y = points[..., 0], points[..., 1]
        k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = self.coefficients
        r = x * x + y * y
        with np.errstate(all="ignore"):  # a far point that is no number is refused by who asked
            radial = (1 + r * (k1 + r * (k2 + r * k3))) / (1 + r * (k4 + r * (k5 + r * k6)))
            u = x * radial + 2 * p1 * x * y + p2 * (r + 2 * x * x) + r * (s1 + r * s2)
            v = y * radial + p1 * (r + 2 * y * y) + 2 * p2 * x * y + r * (s3 + r * s4)
        return np.stack([u, v], -1)

    def _straight(self, shares: Points) -> Points:
        """Points of the camera's picture, in shares of its sides, as a straight lens sees them, in
        focal lengths; by Newton's method."""
        pixels = shares * self.shape - 0.5
        wanted = (pixels - self.centre) / self.focal
        points = wanted.copy()
        for _ in range(_STEPS):
            off = self._bent(points) - wanted
            if np.abs(off).max() < _NEXT_TO:
                return points
            a, b, c, d = self._slopes(points)
            determinant = a * d - b * c
            with np.errstate(all="ignore"):
                step = np.stack(
                    [d * off[..., 0] - b * off[..., 1], a * off[..., 1] - c * off[..., 0]], -1
                )
                points = points - step / determinant[..., None]
            if not np.isfinite(points).all():
                break
        raise _folded(self)

    def _slopes(self, points: Points) -> tuple[NDArray[np.float64], ...]:
        """Return du/dx, du/dy, dv/dx and dv/dy at points."""
        by_x, by_y = (
            (self._bent(points + step) - self._bent(points - step)) / (2 * _DELTA)
            for step in (np.array([_DELTA, 0]), np.array([0, _DELTA]))
        )
        return by_x[..., 0], by_y[..., 0], by_x[..., 1], by_y[..., 1]

    def _keeps_sides(self, points: Points) -> bool:
        a, b, c, d = self._slopes(points)
        return bool((a * d - b * c > 0).all())


def limits_with(lens: Lens | None, limits: ImageLimits) -> ImageLimits:
    """Return limits that refuse pictures of another shape than the lens's as well."""
    return limits if lens is None else replace(limits, shape=lens.shape)


def _folded(lens: Lens) -> ConfigError:
    return ConfigError(
        "a lens must bend the picture and not fold it over; by these coefficients two points of "
        f"the {lens.width_px} x {lens.height_px} picture, or of what surrounds it, fall on one: "
        "calibrate again with the pattern in the corners too, or with fewer coefficients"
    )


def _between(low: Points, high: Points, shares: Points) -> Points:
    """Return a grid between two corners: (len(shares), len(shares), 2)."""
    return np.stack(np.meshgrid(*(low + shares[:, None] * (high - low)).T), -1)


def _middles(size: ImageSize) -> Points:
    """Return the middles of pixels in shares of the sides: (H, W, 2)."""
    return np.stack(np.meshgrid(*((np.arange(side) + 0.5) / side for side in size.shape[::-1])), -1)


@lru_cache(maxsize=4)
def seen_at(lens: Lens, size: ImageSize) -> Points:
    """Return where the camera's picture shows what each pixel of the straight one does, in pixels
    of this size: (H, W, 2)."""
    low, high = lens.frame
    bent = lens._bent(low + _middles(size) * (high - low))
    shares = (bent * lens.focal + lens.centre + 0.5) / lens.shape
    return np.asarray(shares * size.shape[::-1] - 0.5)


@lru_cache(maxsize=4)
def _sampling(lens: Lens, size: ImageSize) -> csr_array:
    return _weights(seen_at(lens, size), _cubic, (-1, 0, 1, 2))


@lru_cache(maxsize=4)
def _bending(lens: Lens, size: ImageSize) -> csr_array:
    low, high = lens.frame
    shares = (lens._straight(_middles(size)) - low) / (high - low)
    return _weights(shares * size.shape[::-1] - 0.5, _linear, (0, 1))


Kernel = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # distance in pixels -> weight


def _linear(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 - distance)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    a, d = _SHARPNESS, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    return np.where(d <= 1, near, a * (((d - 5) * d + 8) * d - 4))


def _weights(points: Points, kernel: Kernel, taps: tuple[int, ...]) -> csr_array:
    """Return the matrix (H * W, H * W) that samples a picture at (H, W, 2) points of it."""
    height, width = points.shape[:2]
    first = np.floor(points).astype(np.int64)
    rows, columns, values = [], [], []
    for dy in taps:
        for dx in taps:
            at = first + np.array([dx, dy])
            weights = kernel(np.abs(points - at)).prod(-1)
            x, y = at[..., 0].clip(0, width - 1), at[..., 1].clip(0, height - 1)
            rows.append(np.arange(height * width))
            columns.append((y * width + x).ravel())
            values.append(weights.ravel().astype(np.float32))
    pixels = height * width
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return csr_array(entries, shape=(pixels, pixels))


def _sample(at: csr_array, planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sample (..., H, W) planes."""
    flat = planes.reshape(-1, at.shape[0])  # (..., H, W) -> (P, H * W)
    return np.asarray((at @ flat.T).T.reshape(planes.shape), np.float32)
