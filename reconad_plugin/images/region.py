"""Where to look in a picture: all else of it counts for nothing."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reconad_plugin.errors import ConfigError, InvalidImageError
from reconad_plugin.images.masks import check_shape, mark_pixels
from reconad_plugin.images.size import ImageSize

PRODUCT: Final = ""  # names the mask of all camera positions that have none of their own
_PNG: Final = b"\x89PNG"
_ROUNDING: Final = 1e-9  # of shares that add up to 1
_HALF: Final = 128  # of a pixel of the network inside the region: it counts

Mask = NDArray[np.bool_]
Values = TypeVar("Values", bound=np.generic)


@dataclass(frozen=True)
class Box:
    """An upright rectangle, in shares of the picture's width and height.

    Raises:
        ConfigError: it is empty, or not within the picture.
    """

    x: float  # of its left side
    y: float  # of its upper side
    width: float
    height: float
    position: str = PRODUCT  # of the camera

    def __post_init__(self) -> None:
        for start, extent in ((self.x, self.width), (self.y, self.height)):
            if not (start >= 0 and extent > 0 and start + extent <= 1 + _ROUNDING):
                raise ConfigError(
                    "a box must lie within the picture, in shares of its width and height from 0 "
                    f"to 1; got x {self.x:g}, y {self.y:g}, width {self.width:g}, height "
                    f"{self.height:g}: divide pixels by the picture's width or height"
                )


@dataclass(frozen=True)
class Region:
    """What counts of a picture, at the size that a network takes."""

    masks: Mapping[str, Mask]  # by camera position, ``PRODUCT`` for all others; (H, W), never empty

    @property
    def union(self) -> Mask:
        """What counts of a picture whose position is not known: all that counts anywhere, (H, W).

        So nothing that counts is missed.
        """
        return reduce(np.logical_or, self.masks.values())

    def of(self, positions: Sequence[str | None]) -> Mask:
        """Return what counts of pictures from these positions, None where one is not known:
        (N, H, W)."""
        others, union = self.masks.get(PRODUCT, self.union), self.union
        masks = {position: self.masks.get(position or PRODUCT, others) for position in {*positions}}
        return np.stack([union if each is None else masks[each] for each in positions])

    def at(self, size: ImageSize) -> "Region":
        """Return the same region at another size."""
        masks = {position: resize_mask(mask, size) for position, mask in self.masks.items()}
        return checked_region(masks)

    @property
    def positions(self) -> set[str]:
        """Camera positions that have a mask of their own."""
        return {*self.masks} - {PRODUCT}

    @property
    def share(self) -> float:
        """Share of the picture that counts."""
        return float(self.union.mean())

    @property
    def sha256(self) -> str:
        """Hash of all that is looked at."""
        digest = hashlib.sha256()
        for position, mask in sorted(self.masks.items()):
            digest.update(f"{position} {mask.shape} ".encode())
            digest.update(np.packbits(mask).tobytes())
        return digest.hexdigest()


def draw_boxes(boxes: Sequence[Box], size: ImageSize) -> Region:
    """Draw boxes at the size of a network; a pixel counts where its middle is in a box.

    Raises:
        ConfigError: those of a position cover no pixel.
    """
    masks = {box.position: np.zeros(size.shape, np.bool_) for box in boxes}
    for box in boxes:
        rows, columns = (
            slice(round(start * side_px), round((start + extent) * side_px))
            for start, extent, side_px in (
                (box.y, box.height, size.height_px),
                (box.x, box.width, size.width_px),
            )
        )
        masks[box.position][rows, columns] = True
    return checked_region(masks)


def read_region(
    files: Mapping[str, bytes], size: ImageSize, pictures: Collection[tuple[int, int]]
) -> Region:
    """Read masks by camera position, each a PNG that is black outside, at the size of a network.

    A pixel of the network counts where at least half of it is inside.

    Args:
        files: position -> content.
        size: of what the network sees.
        pictures: widths and heights of the pictures, as people see them.

    Raises:
        InvalidImageError: a file is no PNG, is black, or has the shape of none of the pictures.
        ConfigError: it covers no pixel of the network.
    """
    masks = {}
    for position, content in files.items():
        try:
            drawn = _decode(content)
            _check_shape(drawn, pictures)
        except InvalidImageError as error:
            raise InvalidImageError(error.reason, f"{_named(position)}: {error}") from None
        masks[position] = resize_mask(drawn, size)
    return checked_region(masks)


def resize_mask(mask: Mask, size: ImageSize) -> Mask:
    """Bring a (H, W) mask, or (N, H, W) ones, to another size, where a pixel counts that is half
    inside."""
    if mask.ndim > 2:
        return np.stack([resize_mask(each, size) for each in mask])
    levels = Image.fromarray(mask.astype(np.uint8) * 255)
    resized = levels.resize(size.shape[::-1], Image.Resampling.BOX)
    return np.asarray(resized) >= _HALF


def pixels_inside(maps: NDArray[Values], region: Region | None) -> NDArray[Values]:
    """Return the pixels of (N, H, W) maps that count: (N, P); without a region the maps."""
    return maps if region is None else maps[:, region.union]


def _decode(content: bytes) -> Mask:
    if not content.startswith(_PNG):
        raise InvalidImageError(
            "not_an_image",
            f"a region must be a PNG that is black outside; got {len(content)} bytes that begin "
            f"with {content[:8]!r}: save it as PNG",
        )
    mask = mark_pixels(content)
    if not mask.any():
        raise InvalidImageError(
            "empty",
            "a region must be above 0 where to look; all of it is 0: paint that white, or take "
            "the file away to look everywhere",
        )
    return mask


def _check_shape(mask: Mask, pictures: Collection[tuple[int, int]]) -> None:
    """Raise where no picture has the shape of a mask: a camera's crop may change, and pictures of
    before and after it are all stretched to one shape."""
    height, width = mask.shape
    errors = []
    for size in sorted(pictures):
        try:
            check_shape((width, height), size)
        except InvalidImageError as error:
            errors.append(error)
    if errors and len(errors) == len(pictures):
        raise errors[-1]


def checked_region(masks: Mapping[str, Mask]) -> Region:
    """Make a region of masks by camera position, (H, W) at the size of a network.

    Raises:
        ConfigError: one covers no pixel.
    """
    for position, mask in masks.items():
        if not mask.any():
            height_px, width_px = mask.shape
            raise ConfigError(
                f"{_named(position)}: a region must cover a pixel of the {width_px} x {height_px} "
                "that the network sees; it covers less than half of each: draw it larger, or give "
                "a larger image size"
            )
    return Region(masks)


def _named(position: str) -> str:
    return f"region of {position}" if position else "region"
