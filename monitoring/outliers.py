"""Images far above what their position of the camera shows on ordinary nights.

A threshold that holds for all positions is as high as the position that scores highest needs it to
be, and defects at the others stay below it. So an image is also held against its own position.
Tonight's shift is taken out first: dirt or a worn lamp raises all images, a defect raises some.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitoring.alarms import comparable
from monitoring.night import (
    MATCHED_SCORE_STATISTIC,
    NightStatistics,
    Outliers,
    PositionMeans,
    image_statistics,
)
from monitoring.positions import LEAST_NIGHTS

FAR: Final = 3.0  # deviations of images at one position


def with_outliers(
    tonight: NightStatistics,
    table: pd.DataFrame,
    history: Sequence[NightStatistics],
    taught: Collection[str],
) -> NightStatistics:
    """A night's statistics with its outliers among them.

    Args:
        tonight: what ``summarise_night`` made of the table.
        table: the night's images.
        history: earlier nights.
        taught: nights of them that count as normal.
    """
    known = comparable(history, taught, tonight.model_version)
    return replace(tonight, outliers=find_outliers(table, known))


def find_outliers(table: pd.DataFrame, known: Sequence[NightStatistics]) -> Outliers | None:
    """Count a night's outliers.

    Args:
        table: see ``monitoring.night.summarise_night``.
        known: ordinary nights before, scored by the same version, which did not learn from them.

    Returns:
        None where no position is known well enough, or no night saw one twice.
    """
    levels, deviation = _levels(known), _deviation(known)
    values = image_statistics(table)[MATCHED_SCORE_STATISTIC]
    position = table["position"] if "position" in table else pd.Series("", index=table.index)
    above_level = (values - position.map(levels)).dropna().to_numpy()
    if not len(above_level) or not deviation:
        return None
    heights: NDArray[np.float64] = (above_level - np.median(above_level)) / max(deviation, 1e-9)
    return Outliers(int((heights > FAR).sum()), len(heights), float(heights.max()))


def _levels(known: Sequence[NightStatistics]) -> dict[str, float]:
    """Mean of each position over the nights that have seen it."""
    seen: dict[str, list[PositionMeans]] = {}
    for night in known:
        for position, means in (night.positions or {"": night.as_one_position}).items():
            if means.images and MATCHED_SCORE_STATISTIC in means.values:
                seen.setdefault(position, []).append(means)
    return {
        position: _mean(nights) for position, nights in seen.items() if len(nights) >= LEAST_NIGHTS
    }


def _mean(nights: Sequence[PositionMeans]) -> float:
    values = [means.values[MATCHED_SCORE_STATISTIC] for means in nights]
    return float(np.average(values, weights=[means.images for means in nights]))


def _deviation(known: Sequence[NightStatistics]) -> float:
    """Of an image from others at its position, pooled over the nights."""
    seen = [
        night.deviations[MATCHED_SCORE_STATISTIC]
        for night in known
        if night.deviations.get(MATCHED_SCORE_STATISTIC)
    ]
    return float(np.sqrt(np.mean(np.square(seen)))) if seen else 0.0
