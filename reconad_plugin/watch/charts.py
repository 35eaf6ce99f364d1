"""Control charts that start by themselves, many at once.

A chart knows the level of one statistic, how far nights differ, and how much a night resembles
the one before. From these it predicts tonight and turns the error of the prediction into a
standard normal score (Hawkins' Q statistic on prewhitened values). All three are learnt from
ordinary nights alone; limits are wide while few are known.

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
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr

from reconad_plugin.watch.limits import EWMA_WEIGHT, ewma_mass, ewma_variance

MIN_DEGREES_OF_FREEDOM: Final = 3  # four nights before the first that is tested
MAX_SCORE: Final = 8.0  # beyond it the normal distribution's tail is zero in floats
PRIOR_AUTOCORRELATION: Final = 0.2  # nights tend to resemble each other, before any are known ...
PRIOR_PAIRS: Final = 10  # ... and so many pairs of nights are worth as much as that belief
MAX_AUTOCORRELATION: Final = 0.8
PRIOR_FREEDOM: Final = 4  # degrees of freedom that the statistics lend each other
LEARNING_DELAY: Final = 7  # nights
_FORGOTTEN_AFTER_DAYS: Final = 7  # a night is predicted from one at most a week before

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Checked:
    """What the charts say of a night; arrays of the charts' shape, NaN where there is no test.

    Attributes:
        value: tonight's.
        expected: the level of the ordinary nights before; NaN while there are none.
        predicted: what was expected of tonight, knowing the night before.
        effect: distance of tonight from the level, in deviations of ordinary nights.
        score: standard normal score of the error of the prediction.
        average: exponentially weighted moving average of the scores up to tonight, over its
            standard deviation on ordinary nights.
    """

    value: Floats
    expected: Floats
    predicted: Floats
    effect: Floats
    score: Floats
    average: Floats


@dataclass(frozen=True)
class Night:
    """What the charts see of a night; arrays of the charts' shape.

    Attributes:
        day: its number in the calendar.
        value: NaN where it has none.
        image_variance: of single images within the night; 0 where it is not known.
        images: that the values are means of.
    """

    day: int
    value: Floats
    image_variance: Floats
    images: Floats


class Charts:
    """Charts of any shape that are fed night by night.

    Args:
        steady_deviation: a deviation below it is taken as it, so that a statistic that never
            moved does not alarm at a hair's breadth; its shape is the charts'.
    """

    def __init__(self, steady_deviation: Floats) -> None:
        shape = np.shape(steady_deviation)
        self._steady_variance = np.square(steady_deviation)
        # Of the present segment, about its first value: sums of the values, their squares, and
        # over pairs of neighbouring nights of the products and of both values.
        self._nights = np.zeros(shape)
        self._first = np.zeros(shape)
        self._sum, self._squares = np.zeros(shape), np.zeros(shape)
        self._pairs, self._products, self._pair_sum = (np.zeros(shape) for _ in range(3))
        # Of all segments before, about their own levels.
        self._past_squares, self._past_products = np.zeros(shape), np.zeros(shape)
        self._past_freedom, self._past_pairs = np.zeros(shape), np.zeros(shape)
        # Of all ordinary nights: how much of their variance is that of few images.
        self._of_images, self._image_variances = np.zeros(shape), np.zeros(shape)
        self._learnt = np.zeros(shape)
        self._last, self._last_day = np.full(shape, np.nan), np.zeros(shape)  # that was learnt
        self._before, self._day_before = np.full(shape, np.nan), np.zeros(shape)  # that came
        self._waiting: list[tuple[int, Night, NDArray[np.bool_]]] = []  # with its number
        self._number, self._came = 0, np.zeros(shape, np.int64)  # of all, of the segment
        self._average = np.zeros(shape)
        self._tested = np.zeros(shape, np.int64)

    @property
    def autocorrelation(self) -> Floats:
        """How much a night resembles the one before; 0 to ``MAX_AUTOCORRELATION``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            raw = (self._all_products() / self._all_pairs) / self._variance()
            unbiased = raw + (1 + 3 * raw) / self._all_pairs
        unbiased = np.where(np.isfinite(unbiased), np.clip(unbiased, -1, 1), 0)
        weighed = self._all_pairs * unbiased + PRIOR_PAIRS * PRIOR_AUTOCORRELATION
        return np.clip(weighed / (self._all_pairs + PRIOR_PAIRS), 0, MAX_AUTOCORRELATION)

    def check(self, night: Night, limit: float) -> Checked:
        """Hold a night against the nights before, and take its score into the average.

        Args:
            night: its values.
            limit: of a jump; a score beyond it counts as much as this in the average, so that
                one odd night does not look like a lasting shift.
        """
        day, value = night.day, night.value
        level, resemblance = self.level, self.autocorrelation
        variance, freedom = self._night_variance(resemblance, night)
        gap = day - self._day_before
        is_near = np.isfinite(self._before) & (gap <= _FORGOTTEN_AFTER_DAYS)
        carried = np.where(is_near, resemblance**gap, 0)
        before = np.where(is_near, self._before - level, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            of_level = variance * (1 + resemblance) / (1 - resemblance) / self._nights
            of_carried = np.square(before) * (1 - resemblance**2) / (self._all_pairs + PRIOR_PAIRS)
            error = (
                variance * (1 - carried**2)
                + np.square(1 - carried) * of_level
                + of_carried * (carried > 0)
            )
            predicted = level + carried * before
            t = (value - predicted) / np.sqrt(error)
        is_known = (self._freedom >= MIN_DEGREES_OF_FREEDOM) & (self._nights > 0) & np.isfinite(t)
        size = -ndtri(stdtr(np.maximum(freedom, 1), -np.abs(np.where(is_known, t, 0))))
        score = np.where(is_known, np.copysign(np.minimum(size, MAX_SCORE), t), np.nan)
        heeded = np.clip(np.where(is_known, score, 0), -limit, limit)
        average = (1 - EWMA_WEIGHT) * self._average + EWMA_WEIGHT * heeded
        self._average = np.where(is_known, average, self._average)
        self._tested = self._tested + is_known
        with np.errstate(divide="ignore", invalid="ignore"):
            effect = np.where(is_known, (value - level) / np.sqrt(variance), np.nan)
            # the scores of the average were held against levels that err alike
            spread = np.sqrt(
                ewma_variance(self._tested) + ewma_mass(self._tested) ** 2 / self._nights
            )
            in_deviations = np.where(is_known, self._average / spread, np.nan)
        return Checked(value, level, predicted, effect, score, in_deviations)

    def learn(self, night: Night, where: NDArray[np.bool_]) -> None:
        """Take an ordinary night into what is known, in the charts where it is one.

        It waits up to ``LEARNING_DELAY`` nights, so that a shift which is not found at once does
        not become the level in the meantime.
        """
        came = np.isfinite(night.value)
        ordinary = np.where(where, night.value, np.nan)  # of an odd night nothing is carried over
        self._before = np.where(came, ordinary, self._before)
        self._day_before = np.where(came, night.day, self._day_before)
        self._number, self._came = self._number + 1, self._came + 1
        self._waiting.append((self._number, night, where & np.isfinite(night.value)))
        delay = np.minimum(LEARNING_DELAY, self._came // 5)
        self._learn_waiting(lambda number: self._number - number >= delay)

    def _learn_waiting(self, is_due: Callable[[int], NDArray[np.bool_]]) -> None:
        """Learn from the waiting nights, oldest first, in the charts where each is due."""
        waiting = []
        for number, night, where in self._waiting:
            due = where & is_due(number)
            if due.any():
                self._learn(night, due)
            if (where & ~due).any():
                waiting.append((number, night, where & ~due))
        self._waiting = waiting

    def trust_waiting(self) -> None:
        """Learn from all nights that wait: somebody vouches for them."""
        self._learn_waiting(lambda number: np.ones(self._came.shape, bool))
        self._came = np.zeros_like(self._came)

    def _learn(self, night: Night, where: NDArray[np.bool_]) -> None:
        day, value, image_variance = night.day, night.value, night.image_variance
        self._first = np.where(where & (self._nights == 0), value, self._first)
        known = np.where(where, value - self._first, 0)
        self._nights = self._nights + where
        self._sum = self._sum + known
        self._squares = self._squares + known**2
        is_pair = where & np.isfinite(self._last) & (day - self._last_day == 1)
        before = np.where(is_pair, self._last - self._first, 0)
        self._pairs = self._pairs + is_pair
        self._products = self._products + known * before
        self._pair_sum = self._pair_sum + (known + before) * is_pair
        self._of_images = self._of_images + np.where(where, image_variance / night.images, 0)
        self._image_variances = self._image_variances + np.where(where, image_variance, 0)
        self._learnt = self._learnt + where
        self._last = np.where(where, value, self._last)
        self._last_day = np.where(where, day, self._last_day)

    def start_segment(self, where: NDArray[np.bool_]) -> None:
        """A new level: forget the old one, keep what is known of how nights differ."""
        self._learn_waiting(lambda number: where)
        # few nights wait again, or the new level were unknown for a week
        self._came = np.where(where, 0, self._came)
        self._past_squares = np.where(where, self._all_squares(), self._past_squares)
        self._past_products = np.where(where, self._all_products(), self._past_products)
        self._past_freedom = np.where(where, self._freedom, self._past_freedom)
        self._past_pairs = np.where(where, self._all_pairs, self._past_pairs)
        for name in ("nights", "sum", "squares", "pairs", "products", "pair_sum", "average"):
            setattr(self, f"_{name}", np.where(where, 0, getattr(self, f"_{name}")))
        self._last = np.where(where, np.nan, self._last)
        self._before = np.where(where, np.nan, self._before)
        self._tested = np.where(where, 0, self._tested)

    @property
    def level(self) -> Floats:
        """Mean of the present segment's ordinary nights; NaN where there are none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._first + self._sum / self._nights

    def _variance(self) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._all_squares() / self._freedom

    def _night_variance(self, resemblance: Floats, night: Night) -> tuple[Floats, Floats]:
        """Variance of an ordinary night with as many images as tonight; its degrees of freedom.

        Few nights say little of how nights differ. So the variance between nights is moderated:
        it is drawn to the share of the images' variance that is usual among all statistics.
        """
        freedom, learnt = self._freedom, np.maximum(self._learnt, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            # nights that resemble each other show less than their whole variance
            shown = 1 - 2 * resemblance / ((1 - resemblance) * (freedom + 1))
            variance = self._variance() / np.clip(shown, 0.3, 1)
            between = np.maximum(variance - self._of_images / learnt, 0)
            of_an_image = self._image_variances / learnt
            ratio = np.where(of_an_image > 0, between / of_an_image, np.nan)
        usual = np.nan_to_num(_median(ratio))
        has_prior = of_an_image > 0
        weight = np.where(has_prior, PRIOR_FREEDOM, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            moderated = (freedom * between + weight * usual * of_an_image) / (freedom + weight)
        variance = moderated + night.image_variance / night.images
        return np.maximum(variance, self._steady_variance), freedom + weight

    @property
    def _freedom(self) -> Floats:
        return self._past_freedom + np.maximum(self._nights - 1, 0)

    @property
    def _all_pairs(self) -> Floats:
        return self._past_pairs + self._pairs

    def _all_squares(self) -> Floats:
        mean = self._sum / np.maximum(self._nights, 1)
        return self._past_squares + np.maximum(self._squares - mean * self._sum, 0)

    def _all_products(self) -> Floats:
        mean = self._sum / np.maximum(self._nights, 1)
        here = self._products - mean * self._pair_sum + self._pairs * mean**2
        return self._past_products + here


def _median(ratios: Floats) -> Floats:
    """Median over the last axis, which stays; NaN where there is nothing."""
    is_empty = np.isnan(ratios).all(-1, keepdims=True)
    return np.asarray(np.nanmedian(np.where(is_empty, 0, ratios), axis=-1, keepdims=True))
