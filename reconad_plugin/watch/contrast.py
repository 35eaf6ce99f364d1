"""Whether some images of a night stand out from the others as no ordinary night's do.

A threshold that holds for all positions is as high as the position that scores highest needs it to
be, and defects at the others stay below it. So each image is compared with what the cells show at
its own position (``watch.cells``). Dirt or a worn lamp makes all images of a night more prominent,
a defect makes some. So what is tested is how far the most prominent images are above the median.
Cells are logarithms, so what all images show more of is the same number of deviations to each.
"""

import math
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from reconad_plugin.watch.cells import KnownCells
from reconad_plugin.watch.statistics import NightStatistics, Outliers

FAR: Final = 6.0  # deviations of the most prominent of some hundred cells
HIGHEST_SHARE: Final = 0.1  # of the images
FEWEST_IMAGES: Final = 20  # with fewer a tenth is next to nothing
LEAST_LEAD: Final = 0.5  # deviations above the median; below it an image is as flat as the others
NIGHT_EFFECT: Final = 0.05  # deviation between nights of any size, in deviations of images
LEAST_NIGHTS: Final = 3  # that are known before any contrast is tested

Floats = NDArray[np.float64]


def with_outliers(
    tonight: NightStatistics, table: pd.DataFrame, known: KnownCells | None
) -> NightStatistics:
    """Return what ``summarise_night`` made of a table with the outliers among it."""
    return replace(tonight, outliers=find_outliers(table, known))


def find_outliers(table: pd.DataFrame, known: KnownCells | None) -> Outliers | None:
    """Compare a night's images, by their ``map_cells``, with what ordinary nights showed there, and
    with one another; None where fewer than twenty images are at positions that are known."""
    prominences = np.zeros(0) if known is None else known.prominences(table)
    if len(prominences) < FEWEST_IMAGES:
        return None
    far = int((prominences > FAR).sum())
    return Outliers(far, len(prominences), float(contrast(prominences)), is_of_difference=True)


def contrast(prominences: Floats) -> Floats:
    """Compute how far a night's highest tenth is above its median image.

    From (..., N) deviations comes the (...) logarithm of the difference between its mean and the
    median, as that scatters by factors: so the tail of ordinary nights stays short.
    """
    ordered = np.sort(prominences, axis=-1)[..., ::-1]
    images = HIGHEST_SHARE * prominences.shape[-1]
    weights = np.clip(images - np.arange(math.ceil(images)), 0, 1)  # a part of the last one
    lead = ordered[..., : len(weights)] @ weights / images - np.median(ordered, axis=-1)
    return np.asarray(np.log(np.maximum(lead, LEAST_LEAD)))


def chance_of_contrast(tonight: Floats, images: int, known: Floats, known_images: Floats) -> Floats:
    """Compute the chance that an ordinary night has such a contrast.

    Student's t of tonight, (...), against the nights before, (T, ...), NaN for one that is not
    ordinary. A night with fewer images, of (T,), is less certain. With fewer than three known
    nights the chance is 1.
    """
    uncertain = 1 / known_images + NIGHT_EFFECT**2  # of each night, in the variance of an image
    weight = np.isfinite(known) / uncertain.reshape(-1, *[1] * tonight.ndim)
    values, weights = np.nan_to_num(known), weight.sum(0)
    nights = np.isfinite(known).sum(0)
    level = (weight * values).sum(0) / np.maximum(weights, 1e-12)
    freedom = np.maximum(nights - 1, 1)
    variance = (weight * np.square(values - level)).sum(0) / freedom
    scale = np.sqrt(variance * (1 / images + NIGHT_EFFECT**2 + 1 / np.maximum(weights, 1e-12)))
    chance = stats.t.sf((tonight - level) / np.maximum(scale, 1e-12), freedom)
    return np.where(nights >= LEAST_NIGHTS, chance, 1.0)
