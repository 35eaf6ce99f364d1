"""Control charts that start by themselves, many at once.

A chart knows the level of one statistic, how far nights differ, and how much a night resembles
the one before. From these it predicts tonight and turns the error of the prediction into a
standard normal score (Hawkins' Q statistic on prewhitened values). All three come from ordinary
nights alone; limits are wide while few are known.

Sources: Hawkins, "Self-Starting Cusum Charts for Location and Scale", The Statistician 36, 1987;
Roberts, "Control Chart Tests Based on Geometric Moving Averages", Technometrics 1, 1959;
Marriott and Pope, "Bias in the Estimation of Autocorrelations", Biometrika 41, 1954; Smyth,
"Linear Models and Empirical Bayes Methods for Assessing Differential Expression in Microarray
Experiments", Statistical Applications in Genetics and Molecular Biology 3, 2004 (moderated t).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri, stdtr

from reconad_plugin.watch import chart_sums as sums
from reconad_plugin.watch.chart_sums import Floats, Mask, Night, Spread

MIN_DEGREES_OF_FREEDOM: Final = 3  # four nights before the first that is tested
MAX_SCORE: Final = 8.0  # beyond it the normal distribution's tail is zero in floats
PRIOR_FREEDOM: Final = 4  # degrees of freedom that the statistics have from each other
UPDATE_DELAY_NIGHTS: Final = 7
_FORGOTTEN_AFTER_DAYS: Final = 7  # a night is predicted from one at most a week before


@dataclass(frozen=True)
class Scores:
    """What the charts say of a night; arrays of the charts' shape, NaN where there is no test."""

    value: Floats  # tonight's
    expected: Floats  # the level of the ordinary nights before; NaN while there are none
    predicted: Floats  # what was expected of tonight, knowing the night before
    effect: Floats  # distance of tonight from the level, in deviations of ordinary nights
    score: Floats  # standard normal score of the error of the prediction
    # exponentially weighted moving average of the scores up to tonight, over its standard deviation
    # on ordinary nights
    average: Floats


@dataclass(frozen=True)
class _WaitingNight:
    """A night that is not yet in the charts."""

    number: int  # of all that came
    night: Night  # its values
    where: Mask  # the charts that it waits for


class Charts:
    """Charts of any shape that are fed night by night.

    Args:
        steady_deviation: a deviation below it is taken as it, so that a statistic that never
            moved does not alarm at a hair's breadth; its shape is the charts'.
    """

    def __init__(self, steady_deviation: Floats) -> None:
        shape = np.shape(steady_deviation)
        self._steady_variance = np.square(steady_deviation)
        self._present = sums.LevelSums.zeros(shape)
        self._past = Spread.zeros(shape)  # of all levels before the present one
        self._images = sums.ImageSums.zeros(shape)
        self._average = sums.MovingAverage.zeros(shape)
        self._newest = sums.LastNight.none(shape)  # that came
        self._newest_known = sums.LastNight.none(shape)  # that is in the sums
        self._waiting: list[_WaitingNight] = []
        self._number = 0  # of nights that came
        self._came = np.zeros(shape, np.int64)  # since the level was reset

    @property
    def level(self) -> Floats:
        """Mean of the present level's ordinary nights; NaN where there are none."""
        return self._present.level

    @property
    def autocorrelation(self) -> Floats:
        """How much a night resembles the one before; 0 to ``MAX_AUTOCORRELATION``."""
        return self._spread.autocorrelation

    @property
    def _spread(self) -> Spread:
        return self._past.add(self._present.spread)

    def score(self, night: Night, limit: float) -> Scores:
        """Hold a night against the nights before, and take its score into the average.

        A score beyond the limit of a jump counts as much as this in the average, so that one night
        far out does not look like a lasting shift.
        """
        level, spread, nights = self.level, self._spread, self._present.nights
        resemblance = spread.autocorrelation
        variance, freedom = self._night_variance(spread, resemblance, night)
        carried, before = self._carried(night.day, level, resemblance)
        with np.errstate(divide="ignore", invalid="ignore"):
            of_level = variance * (1 + resemblance) / (1 - resemblance) / nights
            of_carried = (
                np.square(before) * (1 - resemblance**2) / (spread.pairs + sums.PRIOR_PAIRS)
            )
            error = (
                variance * (1 - carried**2)
                + np.square(1 - carried) * of_level
                + of_carried * (carried > 0)
            )
            predicted = level + carried * before
            t = (night.value - predicted) / np.sqrt(error)
            effect = (night.value - level) / np.sqrt(variance)
        is_known = (spread.freedom >= MIN_DEGREES_OF_FREEDOM) & (nights > 0) & np.isfinite(t)
        score = np.where(is_known, _normal_score(np.where(is_known, t, 0), freedom), np.nan)
        self._average = self._average.add(score, limit)
        average = self._average.in_deviations(nights)
        return Scores(
            night.value,
            level,
            predicted,
            np.where(is_known, effect, np.nan),
            score,
            np.where(is_known, average, np.nan),
        )

    def update(self, night: Night, where: Mask) -> None:
        """Take an ordinary night into what is known, in the charts where it is one.

        It waits up to ``UPDATE_DELAY_NIGHTS``, so that a shift which is not found at once does
        not become the level in the meantime.
        """
        came = np.isfinite(night.value)
        value = np.where(where, night.value, np.nan)  # of an excluded night nothing is carried over
        self._newest = self._newest.replaced(value, night.day, came)
        self._number, self._came = self._number + 1, self._came + 1
        self._waiting.append(_WaitingNight(self._number, night, where & came))
        delay = np.minimum(UPDATE_DELAY_NIGHTS, self._came // 5)
        self._admit(lambda number: self._number - number >= delay)

    def admit_waiting(self) -> None:
        """Take in all nights that wait: somebody vouches for them."""
        self._admit(lambda number: np.ones(self._came.shape, bool))
        self._came = np.zeros_like(self._came)

    def reset_level(self, where: Mask) -> None:
        """Forget the level in some charts, and keep what is known of how nights differ."""
        self._admit(lambda number: where)
        # few nights wait again, or the new level were unknown for a week
        self._came = np.where(where, 0, self._came)
        self._past = self._past.replaced(self._spread, where)
        self._present = self._present.reset(where)
        self._average = self._average.reset(where)
        self._newest = self._newest.reset(where)
        self._newest_known = self._newest_known.reset(where)

    def _admit(self, is_due: Callable[[int], Mask]) -> None:
        """Take in the waiting nights, oldest first, in the charts where each is due."""
        waiting = []
        for each in self._waiting:
            due = each.where & is_due(each.number)
            if due.any():
                self._take_in(each.night, due)
            if (each.where & ~due).any():
                waiting.append(_WaitingNight(each.number, each.night, each.where & ~due))
        self._waiting = waiting

    def _take_in(self, night: Night, where: Mask) -> None:
        before = self._newest_known.within(night.day, 1)
        self._present = self._present.add(night.value, before, where)
        self._images = self._images.add(night, where)
        self._newest_known = self._newest_known.replaced(night.value, night.day, where)

    def _carried(self, day: int, level: Floats, resemblance: Floats) -> tuple[Floats, Floats]:
        """Share of the last night's distance from the level that is carried over; that distance."""
        last = self._newest.within(day, _FORGOTTEN_AFTER_DAYS)
        is_near = np.isfinite(last)
        carried = np.where(is_near, resemblance ** (day - self._newest.day), 0)
        return carried, np.where(is_near, last - level, 0)

    def _night_variance(
        self, spread: Spread, resemblance: Floats, night: Night
    ) -> tuple[Floats, Floats]:
        """Variance of an ordinary night with as many images as tonight; its degrees of freedom.

        Few nights say little of how nights differ. So the variance between nights is moderated:
        it is drawn to the share of the images' variance that is usual among all statistics.
        """
        freedom, nights = spread.freedom, np.maximum(self._images.nights, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            # nights that resemble each other show less than their whole variance
            shown = 1 - 2 * resemblance / ((1 - resemblance) * (freedom + 1))
            variance = spread.variance / np.clip(shown, 0.3, 1)
            between = np.maximum(variance - self._images.of_means / nights, 0)
            of_an_image = self._images.variances / nights
            ratio = np.where(of_an_image > 0, between / of_an_image, np.nan)
        usual = _median(ratio)
        weight = np.where(of_an_image > 0, PRIOR_FREEDOM, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            moderated = (freedom * between + weight * usual * of_an_image) / (freedom + weight)
        variance = moderated + night.image_variance / night.images
        return np.maximum(variance, self._steady_variance), freedom + weight


def _normal_score(t: Floats, freedom: Floats) -> Floats:
    """Return the standard normal score that is as far out as a t of so much freedom."""
    size = -ndtri(stdtr(np.maximum(freedom, 1), -np.abs(t)))
    return np.asarray(np.copysign(np.minimum(size, MAX_SCORE), t))


def _median(ratios: Floats) -> Floats:
    """Return the median of the numbers along the last axis, which stays; 0 where there is none.

    A sort, with NaN last, takes a tenth of the time of ``np.nanmedian`` on rows this short.
    """
    count = (~np.isnan(ratios)).sum(-1, keepdims=True)
    ordered = np.sort(ratios, axis=-1)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, -1)
    high = np.take_along_axis(ordered, np.minimum(count // 2, ratios.shape[-1] - 1), -1)
    return np.asarray(np.where(count > 0, (low + high) / 2, 0))
