"""How far out is out: limits that share a year's allowed false alarms among all tests.

A year has 365 nights. Most of the allowed false alarms go to the moving averages, which find
lasting shifts; the rest to single nights, and to the counts of images.

Source: Brook and Evans, "An Approach to the Probability Distribution of CUSUM Run Length",
Biometrika 59, 1972 (run lengths by a Markov chain), applied to the moving average as in Lucas and
Saccucci, "Exponentially Weighted Moving Average Control Schemes", Technometrics 32, 1990.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from scipy.special import ndtr, ndtri

NIGHTS_A_YEAR: Final = 365
EWMA_WEIGHT: Final = 0.2
COUNT_TESTS: Final = 3  # images above the threshold, suspects, and outliers
SETTLED_SHARE: Final = 0.75  # of the limit: an average below it has returned to normal
_JUMP_SHARE, _AVERAGE_SHARE, _COUNT_SHARE = 0.2, 0.5, 0.3
_CELLS: Final = 121  # of the Markov chain; more change the limit by less than 0.003


@dataclass(frozen=True)
class Limits:
    """Limits of all tests of a product."""

    jump: float  # |score| of one night beyond it is an alarm
    average: float  # |moving average| beyond it is an alarm, in the average's own deviations
    # a count of images is an alarm when normal nights show so many with a chance below this
    count: float


@lru_cache(maxsize=64)
def limits(false_alarms_per_year: float, statistics: int) -> Limits:
    """Find the limits that allow so many false alarms a year, above 0, over all tests of a product
    that tests so many statistics a night."""
    a_night = false_alarms_per_year / NIGHTS_A_YEAR
    a_statistic = a_night / statistics
    return Limits(
        jump=float(-ndtri(min(0.5, _JUMP_SHARE * a_statistic) / 2)),
        average=_average_limit(1 / (_AVERAGE_SHARE * a_statistic)),
        count=min(0.5, _COUNT_SHARE * a_night / COUNT_TESTS),
    )


def ewma_mass(tested: np.ndarray) -> np.ndarray:
    """Sum up the weights of so many scores in the moving average."""
    return np.asarray(1 - (1 - EWMA_WEIGHT) ** tested)


def ewma_variance(tested: np.ndarray) -> np.ndarray:
    """Compute the variance of the moving average of so many independent standard scores."""
    return np.asarray(EWMA_WEIGHT / (2 - EWMA_WEIGHT) * (1 - (1 - EWMA_WEIGHT) ** (2 * tested)))


def nights_between_alarms(limit: float) -> float:
    """Compute the mean nights until the moving average of standard scores passes its limit, which
    is in the average's own deviations."""
    edge = limit * math.sqrt(EWMA_WEIGHT / (2 - EWMA_WEIGHT))
    borders = np.linspace(-edge, edge, _CELLS + 1)
    middles = (borders[1:] + borders[:-1]) / 2
    needed = (borders - (1 - EWMA_WEIGHT) * middles[:, None]) / EWMA_WEIGHT  # score to get there
    moves = np.diff(ndtr(needed), axis=1)
    lengths = np.linalg.solve(np.eye(_CELLS) - moves, np.ones(_CELLS))
    return float(lengths[_CELLS // 2])


def _average_limit(nights: float) -> float:
    low, high = 0.1, 6.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if nights_between_alarms(middle) < nights else (low, middle)
    return high
