"""Where a confirmed defect is in its picture: where it differs most from other pictures.

No version has a say in this, so the box follows from pictures alone, whichever version serves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

PEAK_SHARE: Final = 0.5  # of the highest difference; what is above it and connected is the defect
MOST_SHARE: Final = 0.5  # of each side of the picture
SMOOTHED_SHARE: Final = 1 / 32  # of the shorter side; a single noisy pixel is no defect
_LEAST_SMOOTHED_PX: Final = 3
_LEAST_DEVIATION: Final = 1 / 255
_MAD_TO_DEVIATION: Final = 1.4826  # of a normal distribution
_DARKEST: Final = 16 / 255  # below it a pixel says nothing of the light
_MOST_GAIN: Final = 4.0
_EIGHT_CONNECTED: Final = np.ones((3, 3), np.bool_)


@dataclass(frozen=True)
class UsualColours:
    """What each pixel of some pictures usually shows, whatever a few of them show."""

    median: Tensor  # (3, H, W) in [0, 1], of pictures in the light of their mean
    deviation: Tensor  # (3, H, W) from it, above 0

    @classmethod
    def of(cls, images: Tensor) -> "UsualColours":
        """Measure pictures, (N, 3, H, W) uint8, at least one."""
        mean = torch.zeros(images.shape[1:])
        for image in images:  # one by one: floats of all would fill the memory
            mean += image.float() / (255 * len(images))
        lit = torch.stack(
            [(_in_light_of(mean, each) * 255).clamp(0, 255).byte() for each in images]
        )
        median, deviation = torch.empty_like(mean), torch.empty_like(mean)
        for colour, values in enumerate(lit.unbind(1)):
            median[colour] = values.median(0).values / 255
            away = (values.float() / 255 - median[colour]).abs()
            deviation[colour] = _MAD_TO_DEVIATION * away.median(0).values
        # a pixel that hardly ever moves must not make much of next to nothing
        return cls(median, deviation.clamp_min(max(float(deviation.median()), _LEAST_DEVIATION)))

    def difference(self, image: Tensor) -> NDArray[np.float32]:
        """Return how far each pixel of a picture, (3, H, W) uint8, is from what these show: (H, W)
        deviations, of the colour that is farthest; averaged over a small window."""
        away = (_in_light_of(self.median, image) - self.median).abs() / self.deviation
        window_px = max(_LEAST_SMOOTHED_PX, round(min(image.shape[1:]) * SMOOTHED_SHARE))
        smooth = ndimage.uniform_filter(away.amax(0).numpy(), window_px, mode="nearest")
        return np.asarray(smooth)


def find_defect(
    image: Tensor, usual: Sequence[UsualColours], inside: NDArray[np.bool_] | None = None
) -> tuple[slice, slice]:
    """Find the defect in a picture: the box around its highest difference and what is connected
    with it above half of that, at most half of each side. What is usual among some of the others is
    no difference.

    Args:
        image: (3, H, W) uint8.
        usual: what others show, at least one, best of the same camera position: normal pictures,
            and those of its own night.
        inside: (H, W), where to look; everywhere by default.

    Returns:
        The rows and the columns, at least one of each.
    """
    difference = np.minimum.reduce([each.difference(image) for each in usual])
    if inside is not None:
        difference = np.where(inside, difference, 0)
    peak = np.unravel_index(int(difference.argmax()), difference.shape)
    labels, _ = ndimage.label(difference >= PEAK_SHARE * difference[peak], _EIGHT_CONNECTED)
    box = ndimage.find_objects(labels)[labels[peak] - 1]
    down, across = (
        _at_most_half(span, int(middle), side)
        for span, middle, side in zip(box, peak, difference.shape, strict=True)
    )
    return down, across


def _in_light_of(mean: Tensor, image: Tensor) -> Tensor:
    """Scale each colour of a picture, (3, H, W) uint8, to the light of the mean of others.

    The gain is the median over the pixels, so that a defect over less than half of them leaves it
    as it is.
    """
    lit = image.float() / 255
    for own, level in zip(lit, mean, strict=True):
        is_lit = level > _DARKEST
        gain = (own[is_lit] / level[is_lit]).median() if is_lit.any() else torch.tensor(1.0)
        own /= gain.clamp(1 / _MOST_GAIN, _MOST_GAIN)
    return lit


def _at_most_half(span: slice, middle: int, side_px: int) -> slice:
    """Shorten a span that is longer than half of a side to that half, around its peak."""
    most = max(1, int(side_px * MOST_SHARE))
    if span.stop - span.start <= most:
        return span
    start = min(max(middle - most // 2, span.start), span.stop - most)
    return slice(start, start + most)
