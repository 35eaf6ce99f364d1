"""The charts' formulas once more, in plain Python, from the list of the nights learnt."""

import math
import statistics
from itertools import pairwise

from scipy import stats

from reconad_plugin.watch.limits import EWMA_WEIGHT

PRIOR, PRIOR_WEIGHT, HIGHEST = 0.2, 10, 0.8  # of the autocorrelation
LENT_FREEDOM = 4
NAMES = ("expected", "predicted", "effect", "score")


def judge_by_hand(nights, is_ordinary, starts, steady, limit):
    """What charts must say of each night; see ``Charts`` and ``Scores``.

    Args:
        nights: in their order.
        is_ordinary: whether each is ordinary.
        starts: places of the nights that begin a new level.
        steady: deviation of each chart.
        limit: of a jump.
    """
    judged = [_judge(nights, is_ordinary, starts, steady, place) for place in range(len(nights))]
    answers = []
    for place, charts in enumerate(judged):
        answer = {name: [chart[name] for chart in charts] for name in NAMES}
        answer["average"] = [
            _average([each[k] for each in judged[: place + 1]], starts, limit)
            for k in range(len(steady))
        ]
        answers.append(answer)
    return answers


def _judge(nights, is_ordinary, starts, steady, place):
    """Each chart's level, prediction, effect and score of the night at a place."""
    segments = _segments_learnt(nights, is_ordinary, starts, place)
    every = [night for segment in segments for night in segment]
    tonight, before = nights[place], nights[place - 1] if place else None
    if place in starts or not is_ordinary[place - 1]:  # of an odd night nothing is carried over
        before = None
    charts = range(len(steady))
    likeness = [_likeness(segments, k) for k in charts]
    freedom = sum(max(0, len(segment) - 1) for segment in segments)
    of_nights = [_between(segments, every, freedom, likeness[k], k) for k in charts]
    usual = statistics.median(
        [(of_nights[k] or 0.0) / float(tonight.image_variance[k]) for k in charts]
    )
    now = segments[-1]
    answers = []
    for k in charts:
        answer = dict.fromkeys(NAMES, math.nan)
        answers.append(answer | {"nights": len(now)})
        if not now:
            continue
        level, r, value = _mean(now, k), likeness[k], float(tonight.value[k])
        gap = tonight.day - before.day if before else 99
        carried = r**gap if gap <= 7 else 0.0
        last = float(before.value[k]) - level if carried else 0.0
        answers[k]["expected"], answers[k]["predicted"] = level, level + carried * last
        if freedom < 3:
            continue
        of_an_image = float(tonight.image_variance[k])
        moderated = freedom * of_nights[k] + LENT_FREEDOM * usual * of_an_image
        variance = moderated / (freedom + LENT_FREEDOM) + of_an_image / float(tonight.images[k])
        variance = max(variance, steady[k] ** 2)
        pairs = len(_pairs(segments, k))
        error = variance * (1 - carried**2)  # of tonight, given last night
        error += (1 - carried) ** 2 * variance * (1 + r) / (1 - r) / len(now)  # of the level
        error += last**2 * (1 - r**2) / (pairs + PRIOR_WEIGHT) if carried else 0.0  # of r
        t = (value - level - carried * last) / math.sqrt(error)
        answers[k]["effect"] = (value - level) / math.sqrt(variance)
        chance = stats.t.sf(abs(t), freedom + LENT_FREEDOM)
        answers[k]["score"] = math.copysign(min(stats.norm.isf(chance), 8.0), t)
    return answers


def _segments_learnt(nights, is_ordinary, starts, place):
    """Ordinary nights before a place, segment by segment, without the last that still wait."""
    borders = [0, *sorted(start for start in starts if start <= place), place]
    segments = []
    for first, end in pairwise(borders):
        is_last = first == borders[-2]
        came = end - first
        end -= min(7, came // 5) if is_last else 0
        segments.append([nights[at] for at in range(first, end) if is_ordinary[at]])
    return segments


def _mean(segment, k):
    return statistics.fmean(float(night.value[k]) for night in segment)


def _pairs(segments, k):
    """Distances from the level of each night and of the calendar night before it."""
    found = []
    for segment in segments:
        for before, night in pairwise(segment):
            if night.day - before.day == 1:
                level = _mean(segment, k)
                found.append((float(before.value[k]) - level, float(night.value[k]) - level))
    return found


def _pooled_variance(segments, k):
    squares = sum(
        (float(night.value[k]) - _mean(segment, k)) ** 2
        for segment in segments
        for night in segment
    )
    freedom = sum(max(0, len(segment) - 1) for segment in segments)
    return squares / freedom if freedom else math.nan


def _likeness(segments, k):
    """Autocorrelation: Marriott and Pope's correction, then a mean with the prior."""
    pairs = _pairs(segments, k)
    if not pairs or not _pooled_variance(segments, k) > 0:
        return max(0.0, PRIOR_WEIGHT * PRIOR / (PRIOR_WEIGHT + len(pairs)))
    raw = statistics.fmean(a * b for a, b in pairs) / _pooled_variance(segments, k)
    corrected = max(-1.0, min(1.0, raw + (1 + 3 * raw) / len(pairs)))
    weighed = (len(pairs) * corrected + PRIOR_WEIGHT * PRIOR) / (len(pairs) + PRIOR_WEIGHT)
    return max(0.0, min(HIGHEST, weighed))


def _between(segments, every, freedom, r, k):
    """Variance between nights beyond that of their images."""
    if not freedom:
        return None
    shown = max(0.3, min(1.0, 1 - 2 * r / ((1 - r) * (freedom + 1))))
    of_images = statistics.fmean(
        float(night.image_variance[k]) / float(night.images[k]) for night in every
    )
    return max(0.0, _pooled_variance(segments, k) / shown - of_images)


def _average(judged, starts, limit):
    """Weighted mean of the segment's scores over its deviation on ordinary nights."""
    first = max([0, *(start for start in starts if start < len(judged))])
    scores = [each["score"] for each in judged[first:] if math.isfinite(each["score"])]
    if not math.isfinite(judged[-1]["score"]):
        return math.nan
    weights = [EWMA_WEIGHT * (1 - EWMA_WEIGHT) ** age for age in range(len(scores))]
    heeded = [max(-limit, min(limit, score)) for score in reversed(scores)]
    variance = sum(weight**2 for weight in weights) + sum(weights) ** 2 / judged[-1]["nights"]
    return sum(weight * score for weight, score in zip(weights, heeded, strict=True)) / math.sqrt(
        variance
    )
