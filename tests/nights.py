"""Made-up nights, and what the watch says of the last of them, for the tests."""

from datetime import date, timedelta

import numpy as np

from reconad_plugin.watch.night_tests import Baseline, watch_night
from reconad_plugin.watch.statistics import Exceedances, NightStatistics, PositionMeans

NOTHING = Exceedances(above=0, images=0, calibration_images=0, calibration_above=0)


def name_of(place):
    """The date of the night at a place of a series."""
    return (date(2024, 1, 1) + timedelta(days=place)).isoformat()


def quiet(seed, count, mean=0.4, deviation=0.01):
    """Independent normal nights."""
    return np.random.default_rng(seed).normal(mean, deviation, count)


def night(place, model_version="1", is_trained_on=False, deviations=None, images=0, **values):
    """A night with some statistics."""
    return NightStatistics(
        name_of(place),
        model_version,
        values,
        NOTHING,
        NOTHING,
        is_trained_on,
        deviations=deviations or {},
        images=images,
    )


def seen_from(place, **positions):
    """A night with, for each position of the camera, its images and their luminance."""
    seen = {name: PositionMeans(n, {"luminance": value}) for name, (n, value) in positions.items()}
    images = sum(n for n, _ in positions.values())
    values = {"luminance": sum(n * value for n, value in positions.values()) / images}
    return NightStatistics(
        name_of(place), "1", values, NOTHING, NOTHING, False, positions=seen, images=images
    )


def series(values, statistic="luminance", **details):
    """A night for each value of one statistic."""
    return [night(place, **{statistic: value}, **details) for place, value in enumerate(values)]


def watch(nights, ordinary=None, new_levels=(), rate=1.0):
    """The watch of the last night; by default all nights before it are ordinary."""
    *history, tonight = nights
    if ordinary is None:
        ordinary = {past.night for past in history}
    baseline = Baseline(history, {*ordinary, *new_levels}, ordinary, new_levels)
    return watch_night(baseline, tonight, rate)


def check(nights, ordinary=None, new_levels=(), rate=1.0):
    """The checks of the last night."""
    return watch(nights, ordinary, new_levels, rate).checks
