"""What the choice of a model rests on: pictures, machine, and what is wished for."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reconad_plugin.images.decode import decode_image, upright_size
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.masks import decode_mask
from reconad_plugin.images.size import ImageSize

MOST_PICTURES: Final = 200  # that are looked at, spread evenly
LOOKED_AT_PX: Final = 128  # side of the square that a picture is looked at in
LAYOUT_PX: Final = 16  # side of the small pictures that are held against each other place by place
SMALL_DEFECTS_SHARE: Final = 0.1  # of the masks that mark less than the smallest defect to be seen
_LEAST_DEVIATION: Final = 1e-3

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Look:
    """What one picture shows."""

    size_px: tuple[int, int]  # width and height as it is seen upright
    grain: float  # mean size of luma's gradient at 128 px, in deviations of luma a pixel
    layout: Floats  # (16, 16) luma without brightness and contrast


@dataclass(frozen=True)
class PictureFacts:
    """What the normal images of a product have in common."""

    images: int  # all of them
    width_px: int  # the median
    height_px: int  # the median
    grain: float  # the median: 0.2 for smooth parts, from 0.3 on for wood, cloth and stone
    # how much of what pictures show is the same on all of them, place by place, as a share; None
    # where no position has two pictures
    alike: float | None

    @property
    def mean_side_px(self) -> float:
        """The geometric mean of width and height: pictures keep their shape at a given size."""
        return math.sqrt(self.width_px * self.height_px)


@dataclass(frozen=True)
class Machine:
    """What a training runs on."""

    cores: int
    memory_bytes: int  # of the GPU where there is one
    has_cuda: bool


@dataclass(frozen=True)
class Facts:
    """All that the choice rests on."""

    pictures: PictureFacts
    machine: Machine
    has_features: bool  # whether the weights of ``reconad[features]`` are there, or a file of them
    budget_s: float | None = None  # None: nobody set one
    smallest_defect_px: float | None = None  # in the pictures' own pixels; None: nobody knows
    labelled_defects: int = 0  # images of them at hand


def look_at(content: bytes, limits: ImageLimits) -> Look:
    """Look at the file of a picture, at reduced size.

    Raises:
        InvalidImageError: see ``decode_image``.
    """
    pixels = decode_image(content, limits, ImageSize.square(LOOKED_AT_PX))
    square = Image.fromarray(pixels).convert("L").resize((LOOKED_AT_PX, LOOKED_AT_PX))
    luma = np.asarray(square, np.float32) / 255
    gradient = np.hypot(*np.gradient(luma))
    cell = LOOKED_AT_PX // LAYOUT_PX
    layout = luma.reshape(LAYOUT_PX, cell, LAYOUT_PX, cell).mean((1, 3))  # (128, 128) -> (16, 16)
    return Look(
        upright_size(content),
        float(gradient.mean() / max(float(luma.std()), _LEAST_DEVIATION)),
        (layout - layout.mean()) / max(float(layout.std()), _LEAST_DEVIATION),
    )


def summarise(looks: Sequence[Look], positions: Sequence[str], images: int) -> PictureFacts:
    """Put looks at one picture or more together.

    Args:
        looks: at some of the pictures.
        positions: of the camera, one a look.
        images: how many pictures there are.
    """
    width, height = np.median([look.size_px for look in looks], axis=0)
    return PictureFacts(
        images,
        round(width),
        round(height),
        float(np.median([look.grain for look in looks])),
        _alike([look.layout for look in looks], positions),
    )


def spread_evenly(count: int) -> list[int]:
    """Choose up to 200 of so many pictures: their indices.

    Example:
        >>> spread_evenly(3), len(spread_evenly(1000))
        ([0, 1, 2], 200)
    """
    chosen = np.linspace(0, max(0, count - 1), min(count, MOST_PICTURES))
    return [int(index) for index in chosen.round()]


def defect_share(mask: bytes) -> float:
    """Compute how long a defect is, as a share of its picture's mean side: the side of a square
    with the area that its mask marks.

    Raises:
        InvalidImageError: see ``decode_mask``.
    """
    marked = decode_mask(mask)
    return float(np.sqrt(marked.mean()))


def smallest_share(shares: Sequence[float]) -> float | None:
    """Return what nine of ten defects exceed; None where there are none."""
    return float(np.quantile(shares, SMALL_DEFECTS_SHARE)) if shares else None


def _alike(layouts: Sequence[Floats], positions: Sequence[str]) -> float | None:
    """Share of what layouts show that is common to those of their position, without the bias of one
    in N; see ``training.augment.common_asymmetry``, which tells sides apart in the same way."""
    at: defaultdict[str, list[Floats]] = defaultdict(list)
    for layout, position in zip(layouts, positions, strict=True):
        at[position].append(layout)
    groups = [np.stack(group) for group in at.values() if len(group) > 1]
    if not groups:
        return None
    counts = [len(group) for group in groups]
    return float(np.average([_common(group) for group in groups], weights=counts))


def _common(layouts: Floats) -> float:
    energy = float(np.square(layouts).sum((1, 2)).mean())  # (N, 16, 16) -> ()
    if not energy > 0:  # empty pictures are all alike
        return 1.0
    count = len(layouts)
    common = float(np.square(layouts.mean(0)).sum()) / energy
    return (count * common - 1) / (count - 1)
