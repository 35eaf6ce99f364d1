"""When a night is out of the ordinary: tests with the night as the unit.

Each statistic's night means are compared with the nights before by a self-starting t-statistic,
turned into a standard normal score. A single score far out is a jump; an exponentially weighted
moving average of them finds a small lasting shift. No night of set-up is needed: limits are wide
while few nights are known, and narrow as they come.

Sources: Hawkins, "Self-Starting Cusum Charts for Location and Scale", The Statistician 36, 1987
(the Q statistic); Roberts, "Control Chart Tests Based on Geometric Moving Averages",
Technometrics 1, 1959 (EWMA); Lucas and Saccucci, Technometrics 32, 1990 (its limits).
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from scipy import stats

from monitoring.night import (
    SCORE_STATISTIC,
    STATISTICS,
    STEADY_DEVIATION,
    Exceedances,
    NightStatistics,
)
from reconad_plugin.calibration import exceedance_p_value

NIGHTS_A_YEAR: Final = 365
EWMA_WEIGHT: Final = 0.1
MIN_DEGREES_OF_FREEDOM: Final = 3  # four nights before the first that is tested
MAX_SCORE: Final = 8.0  # beyond it the normal distribution's tail is zero in floats
_TESTS_A_STATISTIC: Final = 2  # jump and lasting shift
_EXCEEDANCE_TESTS: Final = 2  # alarming images and suspects


@dataclass(frozen=True)
class StatisticCheck:
    """What the tests say of one statistic on one night.

    Attributes:
        statistic: its name.
        value: tonight's mean.
        expected: mean of the nights it is compared with; None while there are none.
        score: standard normal score of tonight; None while too few nights are known.
        average: exponentially weighted moving average of the scores.
        jump_limit: |score| beyond it is an alarm.
        average_limit: |average| beyond it is an alarm.
    """

    statistic: str
    value: float
    expected: float | None
    score: float | None
    average: float
    jump_limit: float
    average_limit: float

    @property
    def is_jump(self) -> bool:
        """Whether tonight alone is out of the ordinary."""
        return self.score is not None and abs(self.score) > self.jump_limit

    @property
    def is_shift(self) -> bool:
        """Whether the nights up to tonight drift away."""
        return self.score is not None and abs(self.average) > self.average_limit

    @property
    def is_alarm(self) -> bool:
        """Jump or lasting shift."""
        return self.is_jump or self.is_shift

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"is_alarm": self.is_alarm}


@dataclass
class _Chart:
    """Running state of one statistic: segments of nights that share a level."""

    statistic: str
    residual_squares: float = 0.0  # about each segment's own mean, over all segments
    degrees_of_freedom: int = 0
    nights: int = 0  # in the present segment
    mean: float = 0.0
    average: float = 0.0
    tested: int = 0  # nights in the average

    def start_segment(self) -> None:
        """A new level: forget the mean, keep what is known of how nights differ."""
        self.nights, self.mean, self.average, self.tested = 0, 0.0, 0.0, 0

    def check(self, value: float, limit: float) -> StatisticCheck:
        score = self._score(value)
        average, tested = self.average, self.tested
        if score is not None:
            average = (1 - EWMA_WEIGHT) * average + EWMA_WEIGHT * score
            tested += 1
        variance = EWMA_WEIGHT / (2 - EWMA_WEIGHT) * (1 - (1 - EWMA_WEIGHT) ** (2 * tested))
        return StatisticCheck(
            statistic=self.statistic,
            value=value,
            expected=self.mean if self.nights else None,
            score=score,
            average=average,
            jump_limit=limit,
            average_limit=limit * math.sqrt(variance),
        )

    def learn(self, check: StatisticCheck) -> None:
        """Take an ordinary night into the reference (Welford's update)."""
        if check.score is not None:
            self.average, self.tested = check.average, self.tested + 1
        self.nights += 1
        step = check.value - self.mean
        self.mean += step / self.nights
        self.residual_squares += step * (check.value - self.mean)
        if self.nights > 1:
            self.degrees_of_freedom += 1

    def _score(self, value: float) -> float | None:
        if self.degrees_of_freedom < MIN_DEGREES_OF_FREEDOM or not self.nights:
            return None
        deviation = math.sqrt(self.residual_squares / self.degrees_of_freedom)
        deviation = max(deviation, STEADY_DEVIATION[self.statistic])
        t = (value - self.mean) / (deviation * math.sqrt(1 + 1 / self.nights))
        tail = stats.norm.isf(stats.t.sf(abs(t), self.degrees_of_freedom))
        return math.copysign(min(float(tail), MAX_SCORE), t)


def check_night(
    history: Sequence[NightStatistics],
    tonight: NightStatistics,
    ordinary: Collection[str],
    new_levels: Collection[str],
    false_alarms_per_year: float,
) -> dict[str, StatisticCheck]:
    """Test tonight against the nights before it.

    Args:
        history: earlier nights, oldest first.
        tonight: the night in question.
        ordinary: nights of the history that count as normal; the others teach nothing.
        new_levels: nights from which on light and camera have a new normal level, because a
            version trained for it was promoted.
        false_alarms_per_year: allowed for this product over all its tests.

    Returns:
        A check for each statistic that tonight has.
    """
    limit = jump_limit(false_alarms_per_year)
    charts = {name: _Chart(name) for name in STATISTICS}
    scored_by: str | None = None
    for night in history:
        if night.night in new_levels:
            _start_levels(charts)
        if night.model_version != scored_by:
            charts[SCORE_STATISTIC].start_segment()  # scores of two versions do not compare
            scored_by = night.model_version
        if night.night in ordinary or night.night in new_levels:
            for name, chart in charts.items():
                if name in night.values and not (name == SCORE_STATISTIC and night.is_trained_on):
                    chart.learn(chart.check(night.values[name], limit))
    if tonight.model_version != scored_by:
        charts[SCORE_STATISTIC].start_segment()
    return {
        name: chart.check(tonight.values[name], limit)
        for name, chart in charts.items()
        if name in tonight.values
    }


def jump_limit(false_alarms_per_year: float) -> float:
    """How far a standard normal score must be out, by Bonferroni over all tests of a year."""
    return float(stats.norm.isf(_share_a_test(false_alarms_per_year) / 2))


def chance_of(seen: Exceedances) -> float:
    """Chance that a normal night shows so many images above the threshold."""
    return exceedance_p_value(
        seen.above, seen.images, seen.calibration_images, seen.calibration_above
    )


def is_exceedance_alarm(seen: Exceedances, false_alarms_per_year: float) -> bool:
    """Whether more images exceed the threshold than normal nights ever show."""
    return chance_of(seen) < _share_a_test(false_alarms_per_year)


def _start_levels(charts: dict[str, _Chart]) -> None:
    for name, chart in charts.items():
        if name != SCORE_STATISTIC:
            chart.start_segment()


def _share_a_test(false_alarms_per_year: float) -> float:
    tests_a_night = _TESTS_A_STATISTIC * len(STATISTICS) + _EXCEEDANCE_TESTS
    return false_alarms_per_year / (NIGHTS_A_YEAR * tests_a_night)
