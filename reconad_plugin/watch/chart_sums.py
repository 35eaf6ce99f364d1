"""What control charts know of ordinary nights, as sums to which nights are added.

The arrays of a record have one shape, that of the charts that it belongs to.
"""

from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.watch.limits import EWMA_WEIGHT, ewma_mass, ewma_variance

PRIOR_AUTOCORRELATION: Final = 0.2  # nights tend to resemble each other, before any are known ...
PRIOR_PAIRS: Final = 10  # ... and so many pairs of nights are worth as much as that belief
MAX_AUTOCORRELATION: Final = 0.8

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Night:
    """What the charts see of a night; arrays of the charts' shape."""

    day: int  # its number in the calendar
    value: Floats  # NaN where it has none
    image_variance: Floats  # of single images within the night; 0 where it is not known
    images: Floats  # that the values are means of


@dataclass(frozen=True)
class _Arrays:
    """A record of arrays of one shape."""

    @classmethod
    def zeros(cls, shape: tuple[int, ...]) -> Self:
        """Return the record before any night."""
        return cls(*(np.zeros(shape) for _ in fields(cls)))

    def replaced(self, other: Self, where: Mask) -> Self:
        """Return this record with the other's numbers in some charts."""
        pairs = ((getattr(other, each.name), getattr(self, each.name)) for each in fields(self))
        return type(self)(*(np.where(where, new, old) for new, old in pairs))

    def reset(self, where: Mask) -> Self:
        """Return the record as before any night in some charts."""
        return self.replaced(self.zeros(where.shape), where)


@dataclass(frozen=True)
class Spread(_Arrays):
    """How ordinary nights differ from the level that they belong to."""

    squares: Floats  # sums of the squared deviations
    freedom: Floats  # their degrees of freedom
    products: Floats  # sums of the products of the deviations of neighbouring nights
    pairs: Floats  # of neighbouring nights

    def add(self, other: "Spread") -> "Spread":
        """Return the spread of both."""
        return Spread(
            *(getattr(self, each.name) + getattr(other, each.name) for each in fields(self))
        )

    @property
    def variance(self) -> Floats:
        """Variance of a night; NaN while there are no degrees of freedom."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.squares / self.freedom

    @property
    def autocorrelation(self) -> Floats:
        """How much a night resembles the one before; 0 to ``MAX_AUTOCORRELATION``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            raw = (self.products / self.pairs) / self.variance
            unbiased = raw + (1 + 3 * raw) / self.pairs
        unbiased = np.where(np.isfinite(unbiased), np.clip(unbiased, -1, 1), 0)
        weighed = self.pairs * unbiased + PRIOR_PAIRS * PRIOR_AUTOCORRELATION
        return np.clip(weighed / (self.pairs + PRIOR_PAIRS), 0, MAX_AUTOCORRELATION)


@dataclass(frozen=True)
class LevelSums(_Arrays):
    """Sums over the ordinary nights of one level, about the first of their values."""

    first: Floats  # that value; sums about it keep their digits
    nights: Floats  # how many
    values: Floats  # sums of the values
    squares: Floats  # sums of their squares
    pairs: Floats  # how many neighbouring nights
    products: Floats  # sums of the products of their values
    pair_values: Floats  # sums of both values of each pair

    def add(self, value: Floats, before: Floats, where: Mask) -> "LevelSums":
        """Return the sums with a night's values in some charts; those of the calendar night before
        are NaN where there is none."""
        first = np.where(where & (self.nights == 0), value, self.first)
        known = np.where(where, value - first, 0)
        is_pair = where & np.isfinite(before)
        neighbour = np.where(is_pair, before - first, 0)
        return LevelSums(
            first,
            self.nights + where,
            self.values + known,
            self.squares + known**2,
            self.pairs + is_pair,
            self.products + known * neighbour,
            self.pair_values + (known + neighbour) * is_pair,
        )

    @property
    def level(self) -> Floats:
        """Mean of the nights; NaN where there are none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.first + self.values / self.nights

    @property
    def spread(self) -> Spread:
        """How the nights differ from their mean."""
        mean = self.values / np.maximum(self.nights, 1)
        return Spread(
            squares=np.maximum(self.squares - mean * self.values, 0),
            freedom=np.maximum(self.nights - 1, 0),
            products=self.products - mean * self.pair_values + self.pairs * mean**2,
            pairs=self.pairs,
        )


@dataclass(frozen=True)
class ImageSums(_Arrays):
    """Sums over all ordinary nights of what single images scatter."""

    nights: Floats  # how many
    variances: Floats  # sums of the variances of images
    of_means: Floats  # sums of the part of the nights' variance that comes of few images

    def add(self, night: Night, where: Mask) -> "ImageSums":
        """Return the sums with another night in some charts."""
        return ImageSums(
            self.nights + where,
            self.variances + np.where(where, night.image_variance, 0),
            self.of_means + np.where(where, night.image_variance / night.images, 0),
        )


@dataclass(frozen=True)
class LastNight:
    """The value of the newest night, which the next one resembles."""

    value: Floats  # NaN where there is none
    day: Floats  # its number in the calendar

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> "LastNight":
        """Return no night."""
        return cls(np.full(shape, np.nan), np.zeros(shape))

    def replaced(self, value: Floats, day: int, where: Mask) -> "LastNight":
        """Return a newer night in some charts."""
        return LastNight(np.where(where, value, self.value), np.where(where, day, self.day))

    def reset(self, where: Mask) -> "LastNight":
        """Return no night in some charts."""
        return LastNight(np.where(where, np.nan, self.value), self.day)

    def within(self, day: int, most_days: int) -> Floats:
        """Return the value where the night is at most so many days before a day, else NaN."""
        return np.where(day - self.day <= most_days, self.value, np.nan)


@dataclass(frozen=True)
class MovingAverage(_Arrays):
    """Exponentially weighted moving average of scores."""

    value: Floats  # the average
    scores: Floats  # how many it is of

    def add(self, score: Floats, limit: float) -> "MovingAverage":
        """Return the average with tonight's scores: one that is NaN leaves it, and one beyond the
        limit counts as much as this."""
        is_known = np.isfinite(score)
        heeded = np.clip(np.where(is_known, score, 0), -limit, limit)
        value = (1 - EWMA_WEIGHT) * self.value + EWMA_WEIGHT * heeded
        return MovingAverage(np.where(is_known, value, self.value), self.scores + is_known)

    def in_deviations(self, nights: Floats) -> Floats:
        """Return the average over its standard deviation on ordinary nights, where the level comes
        from so many. All scores of the average were held against levels that err alike."""
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.sqrt(ewma_variance(self.scores) + ewma_mass(self.scores) ** 2 / nights)
            return np.asarray(self.value / spread)
