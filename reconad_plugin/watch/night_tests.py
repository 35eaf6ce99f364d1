"""When a night is out of the ordinary: tests with the night as the unit.

Each statistic's night values are held against the nights before by a self-starting chart
(``watch.charts``). A single score far out is a jump; a moving average of them finds a small
lasting shift. No night of set-up is needed: limits are wide while few nights are known, and
narrow as they come. Two more tests count images above a threshold, and one compares the contrast
between images.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reconad_plugin.metrics.intervals import beta_binomial_tail
from reconad_plugin.watch import statistics
from reconad_plugin.watch.chart_sums import Night
from reconad_plugin.watch.charts import Charts, Scores
from reconad_plugin.watch.contrast import LEAST_NIGHTS, chance_of_contrast
from reconad_plugin.watch.delivery import camera_faults
from reconad_plugin.watch.limits import Limits, limits
from reconad_plugin.watch.positions import images_of, is_placed, night_values
from reconad_plugin.watch.results import CameraFault, ContrastCheck, CountCheck, StatisticCheck
from reconad_plugin.watch.statistics import Exceedances, NightStatistics, Outliers

NIGHT_EFFECT: Final = 0.25  # nights differ by so many deviations of images, before any are known
NIGHT_EFFECT_NIGHTS: Final = 10  # known ones that are worth as much as that belief
USUAL_IMAGES: Final = 20  # images of a night that weigh as much as the ordinary nights do


@dataclass(frozen=True, eq=False)
class Baseline:
    """What a night is held against."""

    # statistics of every earlier night, oldest first, a night that is missing is none; of founding
    # nights their light
    nights: Sequence[NightStatistics]
    normal: Collection[str]  # those of them that set the level
    ordinary: Collection[str]  # those of them whose suspects and contrast count
    # those of them from which on the world has a new normal level: a version trained for it was
    # promoted, or a person said so
    new_levels: Collection[str] = ()


@dataclass(frozen=True)
class Watch:
    """What the tests say of a night, and how ordinary nights behaved."""

    # of each statistic that tonight has, where its positions are known
    checks: dict[str, StatisticCheck]
    above_threshold: CountCheck  # count of images above the threshold as they came
    suspects: CountCheck  # the same after matching the light
    # how far images stand out from their cells (`watch.contrast`); of none where their positions
    # are not known
    contrast: ContrastCheck
    # (N, K) standard normal scores of the ordinary nights that were tested, in order of
    # `STATISTICS`, those that tonight has; NaN where one was not tested
    ordinary_scores: NDArray[np.float64]
    autocorrelation: NDArray[np.float64]  # (K,) how much a night resembles the one before
    # False where tonight saw no position that the nights before know, so that its statistics cannot
    # be compared
    is_placed: bool = True
    faults: tuple[CameraFault, ...] = ()  # where the camera hangs or is silent


def watch_night(
    baseline: Baseline, tonight: NightStatistics, false_alarms_per_year: float
) -> Watch:
    """Test tonight against the nights before it.

    ``false_alarms_per_year`` are allowed for this product over all its tests.
    """
    history, normal, new_levels = baseline.nights, baseline.normal, baseline.new_levels
    names = [name for name in statistics.STATISTICS if name in tonight.values]
    limit = limits(false_alarms_per_year, max(1, len(names)))
    charted = _chart(baseline, tonight, names, limit.jump)
    of_level = [night for night in history if night.night in normal]
    known = comparable(history, normal, tonight.model_version)
    unresolved = comparable(history, baseline.ordinary, tonight.model_version)
    effect = _night_effect(known)
    return Watch(
        checks={
            name: _check(charted.tonight, k, name, limit)
            for k, name in enumerate(names)
            if math.isfinite(charted.tonight.value[k])
        },
        above_threshold=_check_count(*_above_threshold(known, tonight, new_levels), effect, limit),
        suspects=_check_count(
            [each.suspects for each in _alike(unresolved, tonight)], tonight.suspects, effect, limit
        ),
        contrast=_check_contrast(unresolved, tonight.outliers, limit),
        ordinary_scores=charted.ordinary_scores,
        autocorrelation=charted.autocorrelation,
        is_placed=is_placed(of_level, tonight),
        faults=camera_faults(of_level, tonight, new_levels),
    )


@dataclass(frozen=True, eq=False)
class _Charted:
    """What the charts of all statistics say once they have seen every night."""

    tonight: Scores
    ordinary_scores: NDArray[np.float64]  # (N, K) of the nights that set the level
    autocorrelation: NDArray[np.float64]  # (K,)


def _chart(
    baseline: Baseline, tonight: NightStatistics, names: Sequence[str], jump: float
) -> _Charted:
    """Feed the charts night by night, tonight last: the level begins anew where the world has a
    new one, and that of scores where another version scored."""
    nights = [*baseline.nights, tonight]
    is_normal = np.array([night.night in baseline.normal for night in baseline.nights] + [False])
    sets_level = np.stack([_baseline(nights, is_normal, name) for name in names], axis=1)  # (T, K)
    is_score = np.array([name in statistics.SCORE_STATISTICS for name in names])
    charts = Charts(np.array([statistics.STEADY_DEVIATION[name] for name in names]))
    scores: list[NDArray[np.float64]] = []
    scored_by: str | None = None
    for index, measured in enumerate(_measure(nights, sets_level, names)):
        night = nights[index]
        if night.night in baseline.new_levels:
            charts.reset_level(np.ones(len(names), bool))
        if night.model_version != scored_by:
            charts.reset_level(is_score)  # scores of two versions do not compare
            if not scored_by:  # nights before the first version are normal on the owner's word
                charts.admit_waiting()
            scored_by = night.model_version
        tested = charts.score(measured, jump)
        charts.update(measured, sets_level[index])
        if is_normal[index]:
            scores.append(tested.score)
    return _Charted(tested, np.array(scores).reshape(-1, len(names)), charts.autocorrelation)


def _measure(
    nights: Sequence[NightStatistics], sets_level: NDArray[np.bool_], names: Sequence[str]
) -> Iterator[Night]:
    """Put each night's statistics together as charts take them."""
    found = [_values(nights, sets_level[:, k], name) for k, name in enumerate(names)]
    values = np.stack([value for value, _ in found], axis=1)
    images = np.maximum(1, np.stack([count for _, count in found], axis=1))
    variances = _image_variances(nights, sets_level, names)
    for index, night in enumerate(nights):
        day = date.fromisoformat(night.night).toordinal()
        yield Night(day, values[index], variances[index], images[index])


def comparable(
    history: Sequence[NightStatistics], normal: Collection[str], version: str
) -> list[NightStatistics]:
    """Choose the nights whose images a night can be held against one by one: normal ones that the
    same version scored and did not learn from."""
    return [
        night
        for night in history
        if night.night in normal and not night.is_trained_on and night.model_version == version
    ]


def chance_of(seen: Exceedances, night_effect: float = NIGHT_EFFECT) -> float:
    """Compute the chance that a normal night shows so many images above the threshold.

    The share above a threshold is known from the calibration's images as well as their number
    allows, and differs from night to night, by ``night_effect`` deviations of single images: both
    widen a beta-binomial law. With no images of either nothing is out of the ordinary.
    """
    if not seen.images or not seen.calibration_images:
        return 1.0
    above = max(seen.calibration_above, 1)
    below = seen.calibration_images - above + 1
    share = above / (above + below)
    slope = stats.norm.pdf(stats.norm.isf(share)) * night_effect
    worth = share * (1 - share) / slope**2  # images that are worth as little as one night
    kept = worth / (worth + above + below)
    return beta_binomial_tail(seen.above, seen.images, above * kept, below * kept)


def _check_count(
    known: Sequence[Exceedances], tonight: Exceedances, night_effect: float, limit: Limits
) -> CountCheck:
    """Hold a count against the calibration's and the ordinary nights' of the same version."""
    pooled = replace(
        tonight,
        calibration_images=tonight.calibration_images + sum(night.images for night in known),
        calibration_above=tonight.calibration_above + sum(night.above for night in known),
    )
    share = pooled.calibration_above / max(1, pooled.calibration_images)
    chance = chance_of(pooled, night_effect)
    return CountCheck(tonight.above, tonight.images, share, chance, limit.count)


def _above_threshold(
    known: Sequence[NightStatistics], tonight: NightStatistics, new_levels: Collection[str]
) -> tuple[list[Exceedances], Exceedances]:
    """Choose the counts of images above the threshold as they came, before and tonight.

    Where a person said that a night of this version is the new normal, it and those after it
    count alone, and the calibration, which knows another world, does not. Suspects and contrast
    are no part of that: what may be a defect stays one. Nights that were held against another
    threshold, since a person set one, do not count; the calibration's images do.
    """
    since = max((night.night for night in known if night.night in new_levels), default=None)
    known = _alike(known, tonight)
    if since is None:
        return [night.above_threshold for night in known], tonight.above_threshold
    counted = [night.above_threshold for night in known if night.night >= since]
    return counted, replace(tonight.above_threshold, calibration_images=0, calibration_above=0)


def _alike(known: Sequence[NightStatistics], tonight: NightStatistics) -> list[NightStatistics]:
    """Choose the nights that were held against the same threshold, by calibration or a person."""
    return [each for each in known if each.set_threshold == tonight.set_threshold]


def _check_contrast(
    known: Sequence[NightStatistics], tonight: Outliers | None, limit: Limits
) -> ContrastCheck:
    """Hold a night's contrast against that of the ordinary nights of the same version, as far as
    it was measured alike."""
    seen = [night.outliers for night in known if night.outliers is not None]
    before = [
        each for each in seen if tonight and each.is_of_difference == tonight.is_of_difference
    ]
    if tonight is None or len(before) < LEAST_NIGHTS:
        return ContrastCheck(above=0, images=0, expected_share=0.0, chance=1.0, limit=limit.count)
    images = np.array([night.images for night in before])
    contrasts = np.array([night.contrast for night in before])
    chance = chance_of_contrast(np.array(tonight.contrast), tonight.images, contrasts, images)
    share = sum(night.above for night in before) / max(1, int(images.sum()))
    return ContrastCheck(tonight.above, tonight.images, share, float(chance), limit.count)


def _night_effect(known: Sequence[NightStatistics]) -> float:
    """Deviation between nights of the matched score, in deviations of single images."""
    name = statistics.MATCHED_SCORE_STATISTIC
    seen = [night for night in known if name in night.values and night.deviations.get(name)]
    believed, weight = NIGHT_EFFECT**2, NIGHT_EFFECT_NIGHTS
    freedom = len(seen) - 1
    if freedom < 1:
        return NIGHT_EFFECT
    image_variance = np.mean([night.deviations[name] ** 2 for night in seen])
    of_images = np.mean([night.deviations[name] ** 2 / images_of(night) for night in seen])
    between = np.var([night.values[name] for night in seen], ddof=1) - of_images
    ratio = max(0.0, float(between / image_variance))
    return math.sqrt((freedom * ratio + weight * believed) / (freedom + weight))


def _baseline(
    nights: Sequence[NightStatistics], is_normal: NDArray[np.bool_], name: str
) -> NDArray[np.bool_]:
    """Whether each night is one of those that a statistic is held against."""
    is_unseen = np.array([not night.is_trained_on for night in nights])
    return np.asarray(is_normal & is_unseen) if name in statistics.SCORE_STATISTICS else is_normal


def _values(
    nights: Sequence[NightStatistics], baseline: NDArray[np.bool_], name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Night values and images; scores of each version by themselves."""
    if name not in statistics.SCORE_STATISTICS:
        return night_values(nights, baseline, name)
    values, images = np.full(len(nights), np.nan), np.zeros(len(nights))
    for version in {night.model_version for night in nights}:
        at = [index for index, night in enumerate(nights) if night.model_version == version]
        values[at], images[at] = night_values([nights[index] for index in at], baseline[at], name)
    return values, images


def _image_variances(
    nights: Sequence[NightStatistics], baseline: NDArray[np.bool_], names: Sequence[str]
) -> NDArray[np.float64]:
    """Estimate the variance of single images on each night, (T, K).

    Few images say little of theirs, and one a position nothing: it is drawn to that of the
    ordinary nights.
    """
    own = np.array([[night.deviations.get(name, 0.0) ** 2 for name in names] for night in nights])
    freedom = np.array([[images_of(night) - max(1, len(night.positions))] for night in nights])
    counted = freedom * baseline * (own > 0)
    known = counted.sum(0)
    usual = (counted * own).sum(0) / np.maximum(known, 1)
    weight = np.where(known > 0, USUAL_IMAGES, 0)
    return np.asarray((freedom * own + weight * usual) / np.maximum(freedom + weight, 1))


def _check(tested: Scores, chart: int, name: str, limit: Limits) -> StatisticCheck:
    found = (tested.expected, tested.effect, tested.score, tested.average)
    expected, effect, score, average = (
        float(each[chart]) if math.isfinite(each[chart]) else None for each in found
    )
    value = float(tested.value[chart])
    return StatisticCheck(name, value, expected, effect, score, average, limit.jump, limit.average)
