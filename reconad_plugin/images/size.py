"""How many pixels a network sees, and in which shape."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from reconad_plugin.errors import ConfigError

MULTIPLE_PX: Final = 16  # of which each side is one: networks halve, the watch has 16 x 16 cells
LEAST_SIDE_PX: Final = 32
MOST_PIXELS: Final = 1024**2
MOST_OVER_BUDGET: Final = 1.25  # pixels of a size, as a share of its budget
MOST_ELONGATED: Final = 16  # length over breadth of pictures that a budget is fitted to
_ODD_COST: Final = 0.05  # of a size that is no multiple of 32, against shares of shape and pixels

Setting = int | str  # how a size stands in settings, files and tags


@dataclass(frozen=True)
class ImageSize:
    """Height and width of the pictures that a network sees.

    Example:
        >>> str(ImageSize(208, 512)), ImageSize(208, 512).setting, ImageSize.square(128).setting
        ('208x512', '208x512', 128)
    """

    height_px: int
    width_px: int

    @classmethod
    def square(cls, side_px: int) -> "ImageSize":
        """Return a square."""
        return cls(side_px, side_px)

    @classmethod
    def of(cls, shape: Sequence[int]) -> "ImageSize":
        """Return the size of what has a shape (..., H, W)."""
        return cls(shape[-2], shape[-1])

    @classmethod
    def parse(cls, setting: Setting) -> "ImageSize":
        """Read what ``setting`` gave: the side of a square, or height x width.

        Raises:
            ValueError: it is neither.
        """
        found = re.fullmatch(r"(\d+)(?:x(\d+))?", str(setting).strip())
        if found is None:
            raise ValueError(f"an image size is a side, or height x width as 208x512; {setting!r}")
        height, width = found.group(1), found.group(2)
        return cls(int(height), int(width or height))

    @property
    def setting(self) -> Setting:
        """What stands for it in files: the side of a square, else height x width."""
        return self.height_px if self.height_px == self.width_px else str(self)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height_px, self.width_px

    @property
    def pixels(self) -> int:
        """How many pixels it has."""
        return self.height_px * self.width_px

    @property
    def mean_side_px(self) -> float:
        """Side of the square of as many pixels: the geometric mean of height and width."""
        return math.sqrt(self.pixels)

    @property
    def shorter_px(self) -> int:
        """The shorter of height and width."""
        return min(self.shape)

    def covering(self, other: "ImageSize") -> "ImageSize":
        """Return the least size that is as high and as wide as both."""
        return ImageSize(*map(max, self.shape, other.shape))

    def __str__(self) -> str:
        """Return height x width."""
        return f"{self.height_px}x{self.width_px}"


def check_image_size(asked: object) -> int | ImageSize:
    """Check what settings say of the pictures that a network is to take, and return it: a budget of
    so many pixels squared as a number, or a size.

    Raises:
        ConfigError: a budget is not from 32 to 1024; or a side is no multiple of 16 from 32 on, or
            all are more than 1024 x 1024 pixels.

    Example:
        >>> check_image_size(128), check_image_size("208x512")
        (128, ImageSize(height_px=208, width_px=512))
    """
    text = str(asked).strip()
    is_number = not isinstance(asked, bool | float) and re.fullmatch(r"-?\d+", text)
    if is_number and LEAST_SIDE_PX <= int(text) <= math.isqrt(MOST_PIXELS):
        return int(text)
    if "x" in text and not is_number:
        try:
            size = ImageSize.parse(text)
        except ValueError:
            size = ImageSize(0, 0)
        is_multiple = all(side % MULTIPLE_PX == 0 for side in size.shape)
        if is_multiple and size.shorter_px >= LEAST_SIDE_PX and size.pixels <= MOST_PIXELS:
            return size
    raise ConfigError(
        f"image_size_px must be a whole number from {LEAST_SIDE_PX} to {math.isqrt(MOST_PIXELS)}, "
        "the side of a square of as many pixels, or height x width such as '208x512', multiples of "
        f"{MULTIPLE_PX} from {LEAST_SIDE_PX} on and {MOST_PIXELS:,} pixels at most; got {text}"
    )


@cache
def fit_budget(budget_px: int, aspect: float = 1.0) -> ImageSize:
    """Choose a size near a budget of ``budget_px`` squared pixels and an aspect, height over width.

    Sides are multiples of 16, and of 32 where that costs little. What is chosen for an aspect is
    chosen for its own aspect too.

    Example:
        >>> str(fit_budget(128)), str(fit_budget(128, 208 / 512)), str(fit_budget(256, 3 / 4))
        ('128x128', '80x192', '224x288')
    """
    budget = budget_px**2
    most = int(MOST_OVER_BUDGET * budget)

    def widths(height: int) -> set[int]:
        """List those next to the aspect's, and the widest."""
        steps = {MULTIPLE_PX, 2 * MULTIPLE_PX}
        below = {int(height / aspect) // step * step for step in steps}
        above = {width + step for width in below for step in steps}
        return below | above | {most // height // step * step for step in steps}

    heights = range(LEAST_SIDE_PX, most // LEAST_SIDE_PX + 1, MULTIPLE_PX)
    sizes = [ImageSize(height, width) for height in heights for width in sorted(widths(height))]
    allowed = [each for each in sizes if each.width_px >= LEAST_SIDE_PX and each.pixels <= most]

    def cost(size: ImageSize) -> float:
        distortion = abs(math.log(size.height_px / size.width_px / aspect))
        off_budget = abs(math.log(size.pixels / budget))
        is_odd = any(side % (2 * MULTIPLE_PX) for side in size.shape)
        return distortion + off_budget / 2 + is_odd * _ODD_COST

    return min(allowed, key=cost)


def settle_size(asked: int | ImageSize, pictures: Sequence[tuple[int, int]]) -> ImageSize:
    """Settle the size of a training from scratch: a budget takes the median aspect of its pictures.

    Args:
        asked: a budget, or a size, which is left as it is.
        pictures: (width, height) of each; none of them: a square.

    Raises:
        ConfigError: the pictures are strips, more than 16 times as long as they are broad.
    """
    if isinstance(asked, ImageSize):
        return asked
    if not pictures:
        return fit_budget(asked)
    width, height = _median(pictures)
    if max(width, height) > MOST_ELONGATED * min(width, height):
        raise ConfigError(
            f"pictures must be at most {MOST_ELONGATED} times as long as broad to be seen in their "
            f"own shape; got {width} x {height}: cut them into shorter ones, or say height and "
            "width, such as image_size_px = '64x1024' (by hand --image-size 64x1024)"
        )
    return fit_budget(asked, height / width)


def window_pictures(pictures: Sequence[tuple[int, int]], window: ImageSize) -> ImageSize:
    """Return the size that pictures are brought to whose windows are seen: that of the median one,
    in multiples of 16; of none that of a window.

    Raises:
        ConfigError: it is smaller than a window.
    """
    if not pictures:
        return window
    width, height = _median(pictures)
    size = ImageSize(*(round(side / MULTIPLE_PX) * MULTIPLE_PX for side in (height, width)))
    if height < window.height_px or width < window.width_px:
        raise ConfigError(
            "windows need pictures that are larger than what the network sees, "
            f"{window.width_px} x {window.height_px}; got {width} x {height}: leave windows out, "
            "or give a smaller image size"
        )
    return size


def _median(pictures: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return width and height of the picture of median aspect, of median width among equals."""
    ordered = sorted(pictures, key=lambda size: (size[1] / size[0], size[0]))
    return ordered[(len(pictures) - 1) // 2]


def keep_size(asked: int | ImageSize, size: ImageSize) -> ImageSize:
    """Return the size of a version that is fine-tuned, where it can have followed from what is
    asked; else what is asked, as a square."""
    if isinstance(asked, int) and fit_budget(asked, size.height_px / size.width_px) == size:
        return size
    return settle_size(asked, [])
