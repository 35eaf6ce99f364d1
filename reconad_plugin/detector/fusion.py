"""Scores and maps of two networks as one: each in the units that normal images give it.

Scores of two networks do not compare. What compares is how rare they are among normal images. Few
held-out images tell that in steps, and nothing beyond the highest of them, so their scores are
taken to follow a logistic law: above the median the logarithm of how rare a score is soon falls in
a straight line.

Source: Fisher, "Statistical Methods for Research Workers", 4th edition, 1932, section 21.1, for
the sum of the logarithms of p-values.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.detector.calibration import Calibration

LEAST_IMAGES: Final = 10  # that a law may be of; with fewer, thresholds of the sum are too low
_LEAST: Final = 1e-12  # of what is divided by

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NormalLaw:
    """The logistic law that scores of normal images are taken to follow."""

    median: float
    scale: float  # above 0

    @classmethod
    def fit(cls, scores: Floats) -> "NormalLaw":
        """Fit it to the upper half of (N,) scores of held-out normal images, at least one."""
        median = float(np.median(scores))
        excess = float((scores[scores >= median] - median).mean())
        scale = excess / (2 * math.log(2))  # what a logistic law's upper half lies above its median
        return cls(median, max(scale, _LEAST * abs(median), _LEAST))

    def rarity(self, scores: Floats) -> Floats:
        """Return the negative logarithms of the shares of normal images above (N,) scores."""
        return np.asarray(np.logaddexp(0, (scores - self.median) / self.scale), np.float64)


def fuse_scores(normal: Sequence[Calibration], scores: Sequence[Floats]) -> Floats:
    """Join (N,) scores of each network into (N,): how rare they are together, in the rarity of the
    target rate."""
    laws = [NormalLaw.fit(np.asarray(each.normal_scores)) for each in normal]
    rarities = [law.rarity(each) for law, each in zip(laws, scores, strict=True)]
    return np.asarray(np.sum(rarities, axis=0) / -math.log(normal[0].target_fpr), np.float64)


def fuse_maps(
    normal: Sequence[Calibration], maps: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Join (N, S, S) maps of each network into the larger one at each pixel, each in units of its
    own pixel threshold."""
    in_units = [
        each / np.float32(max(one.pixel_threshold or one.image_threshold, _LEAST))
        for one, each in zip(normal, maps, strict=True)
    ]
    return np.asarray(np.maximum.reduce(in_units), np.float32)
