"""Night means as if every position of the camera had been seen as often as always.

A camera that looks at fifteen positions sees fifteen pictures. Which of them a night happens to
have moves its mean more than any lamp. So a night is compared position by position: the value of
a position is its own level and the night's effect, fitted together by least squares.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.night import NightStatistics, PositionMeans

LEAST_NIGHTS: Final = 2  # that a position must have been seen on before it counts
_ROUNDS: Final = 20  # of the alternating fit; it has converged long before

Floats = NDArray[np.float64]


def night_values(
    nights: Sequence[NightStatistics], teaching: NDArray[np.bool_], statistic: str
) -> Floats:
    """The value of each night.

    Args:
        nights: T nights that are compared with one another.
        teaching: (T,) those from which the levels of the positions are learnt.
        statistic: its name.

    Returns:
        (T,) NaN where a night has no value, or none at a position that is known.
    """
    plain = np.array([night.values.get(statistic, np.nan) for night in nights])
    names = sorted({name for night in nights for name in night.positions})
    if len(names) < 2:
        return plain
    cells = [night.positions or {"": PositionMeans(1, night.values)} for night in nights]
    values = np.array(
        [
            [cell[name].values.get(statistic, np.nan) if name in cell else np.nan for name in names]
            for cell in cells
        ]
    )  # (T, P)
    images = np.array(
        [[cell[name].images if name in cell else 0 for name in names] for cell in cells],
        dtype=float,
    )
    images = np.where(np.isfinite(values), images, 0)
    values = np.where(images > 0, values, 0)
    known = ((images > 0) & teaching[:, None]).sum(0) >= LEAST_NIGHTS  # (P,)
    if not known.any():
        return plain
    images = images * known
    taught = images * teaching[:, None]
    levels = np.zeros(len(names))
    effects = np.zeros(len(nights))
    for _ in range(_ROUNDS):
        levels = _mean(values - effects[:, None], taught, axis=0)
        effects = _mean(values - levels, images, axis=1)
        effects = effects - np.nanmean(np.where(teaching, effects, np.nan))
        effects = np.where(np.isfinite(effects), effects, 0)
    usual = taught.sum(0)
    effects = _mean(values - levels, images, axis=1)
    return np.asarray(effects + (levels * usual).sum() / usual.sum())


def _mean(values: Floats, weights: Floats, axis: int) -> Floats:
    total = weights.sum(axis)
    weighed = (np.nan_to_num(values) * weights).sum(axis)
    mean = np.full(total.shape, np.nan if axis else 0.0)
    return np.asarray(np.divide(weighed, total, out=mean, where=total > 0))
