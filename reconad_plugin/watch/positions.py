"""Night means as if every position of the camera had been seen as often as always.

A camera that looks at fifteen positions sees fifteen pictures. Which of them a night happens to
have moves its mean more than any lamp. So a night is compared position by position: the value of
a position is its own level and the night's effect, fitted together by least squares.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from reconad_plugin.watch.statistics import NightStatistics, PositionMeans

LEAST_NIGHTS: Final = 2  # that a position must have been seen on before it counts

Floats = NDArray[np.float64]


def night_values(
    nights: Sequence[NightStatistics], baseline: NDArray[np.bool_], statistic: str
) -> tuple[Floats, Floats]:
    """Compute the value of each of T nights, and how many images it is of.

    The levels of the positions come from the nights of the (T,) baseline. Of the (T,) values one is
    NaN where a night has none, or none at a position that is known; they are plain means where no
    night names two positions.
    """
    plain = np.array([night.values.get(statistic, np.nan) for night in nights])
    names = sorted({name for night in nights for name in night.positions})
    all_images = np.array([images_of(night) for night in nights], dtype=float)
    if len(names) < 2:
        return plain, all_images
    nothing = PositionMeans(0, {})
    seen = [[night.positions.get(name, nothing) for name in names] for night in nights]
    values = np.array([[means.values.get(statistic, np.nan) for means in night] for night in seen])
    images = np.array([[means.images for means in night] for night in seen], dtype=float)  # (T, P)
    images = np.where(np.isfinite(values), images, 0)
    values = np.where(images > 0, values, 0)
    known = ((images > 0) & baseline[:, None]).sum(0) >= LEAST_NIGHTS  # (P,)
    if not known.any():
        return plain, all_images
    images = images * known
    counted = images * baseline[:, None]
    levels = _position_levels(values, counted)
    usual = counted.sum(0)
    night_values = _mean(values - levels, images) + (levels * usual).sum() / usual.sum()
    return np.asarray(night_values), images.sum(1)


def images_of(night: NightStatistics) -> int:
    """Count the images that a night's values are of."""
    at_positions = sum(means.images for means in night.positions.values())
    return max(1, at_positions or night.images)


def is_placed(baseline: Sequence[NightStatistics], tonight: NightStatistics) -> bool:
    """Say whether tonight saw a position that the nights before know; also where they know none."""
    nights = Counter(name for night in baseline for name in night.positions)
    known = {name for name, count in nights.items() if count >= LEAST_NIGHTS}
    return not known or not known.isdisjoint(tonight.positions)


def _position_levels(values: Floats, images: Floats) -> Floats:
    """Levels of P positions beside the effects of T nights, by least squares over single images.

    The effects are eliminated. Levels are known but for a constant, also one for each group of
    positions that no night has seen together with others. It is that of the values themselves, as
    if the nights of each group were alike on average. Values are (T, P), and so are the images as
    their weights, 0 where a night has not seen a position; levels are (P,).
    """
    of_night = images.sum(1)
    seen = of_night > 0
    values, images, of_night = values[seen], images[seen], of_night[seen]
    total = images * values
    normal = np.diag(images.sum(0)) - images.T @ (images / of_night[:, None])
    right = total.sum(0) - images.T @ (total.sum(1) / of_night)
    levels = np.asarray(np.linalg.lstsq(normal, right, rcond=None)[0])
    group = connected_components(images.T @ images > 0, directed=False)[1]
    for number in np.unique(group[images.any(0)]):
        within = group == number
        weight = images[:, within]
        levels[within] += ((values[:, within] - levels[within]) * weight).sum() / weight.sum()
    return levels


def _mean(values: Floats, weights: Floats) -> Floats:
    """(T, P) -> (T,), NaN where a night weighs nothing."""
    total = weights.sum(1)
    mean = np.full(len(values), np.nan)
    return np.asarray(np.divide((values * weights).sum(1), total, out=mean, where=total > 0))
