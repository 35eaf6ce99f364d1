"""The light that a model was trained under, and what brings a picture back to it.

A lamp that is dimmed or changes its colour moves each colour of the whole picture alike; a
defect does not. Matching a picture's colours to the reference therefore answers the question
"would this picture still look anomalous if the light were as before?", which is what keeps a
change of lamp and a defect apart.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SMALLEST_DEVIATION: Final = 1e-3  # of a flat picture, so that noise is not blown up
_LEVELS: Final = np.arange(256, dtype=np.float32) / 255

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LightReference:
    """Mean and standard deviation of each colour over the training images, in [0, 1]."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]

    def change(self, pictures: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Return by what each colour of (B, 3, H, W) pictures, in [0, 1], is multiplied, and what
        is then added to it, to bring it to the reference: (B, 3, 1, 1) each."""
        mean, deviation = _colour_moments(pictures)
        own_mean, own_deviation = (each[..., None] for each in self._own())
        gain = own_deviation / deviation
        return gain, own_mean - mean * gain

    def match_levels(self, like: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what becomes of each of 256 levels of each colour, (3, 256), as the (3, H, W)
        picture ``like`` is brought to the reference."""
        mean, deviation = (each[0, :, :, 0] for each in _colour_moments(like[None]))  # (3, 1)
        own_mean, own_deviation = self._own()
        matched = (_LEVELS - mean) / deviation * own_deviation + own_mean
        return np.asarray(np.rint(matched.clip(0, 1) * 255), np.uint8)

    def _own(self) -> tuple[Floats, Floats]:
        mean, deviation = (np.array([each], np.float32).T for each in (self.mean, self.deviation))
        return mean, deviation  # (3, 1) each


def _colour_moments(pictures: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Compute mean and deviation of each colour: (B, 3, H, W) -> (B, 3, 1, 1) each."""
    levels = pictures.astype(np.float64) / 255
    mean, deviation = (of((2, 3), keepdims=True) for of in (levels.mean, levels.std))
    return mean.astype(np.float32), np.maximum(deviation, SMALLEST_DEVIATION).astype(np.float32)
