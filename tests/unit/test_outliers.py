"""Images that stand out from their places, whatever the whole night does."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reconad_plugin.watch.cells import known_cells, summarise_cells
from reconad_plugin.watch.contrast import (
    LEAST_LEAD,
    chance_of_contrast,
    contrast,
    find_outliers,
    with_outliers,
)
from reconad_plugin.watch.night_tests import Baseline, comparable, watch_night
from reconad_plugin.watch.statistics import NightStatistics, Outliers, summarise_night

CELLS = 64
ORDINARY = 12


def table(seed, shift=0.0, images=60, spoilt=(), version="1"):
    """Maps of a night; each of the first images has a cell that is so many deviations up."""
    random = np.random.default_rng(seed)
    position = np.array(["left", "right"] * (images // 2))
    cells = random.standard_normal((images, CELLS)) + 3 * (position == "right")[:, None]
    cells += shift * (np.arange(CELLS) < 8)  # dirt, on all images in the same place
    for place, height in enumerate(spoilt):
        cells[place, 20 + place] = 3 * (position[place] == "right") + height
    columns = {"pred_score": 0.1, "matched_score": 0.1, "model_version": version}
    return pd.DataFrame(columns | {"position": position, "map_cells": list(cells)})


def summarised(place, scores, is_trained_on=False):
    """A night as the watch sees it; no image is above the threshold."""
    return summarise_night(
        f"2026-03-{place + 1:02}", scores, (0.1, 0.2), 9.0, (0.1, 0.2), 9.0, is_trained_on
    )


@pytest.fixture(scope="module")
def nights():
    """Twelve ordinary nights, and what each place showed on them."""
    known, places = [], []
    for place in range(ORDINARY):
        scores = table(seed=place)
        known.append(with_outliers(summarised(place, scores), scores, known_cells(places)))
        places.append(summarise_cells(scores))
    return known, known_cells(places)


def test_images_that_stand_out_are_counted(nights):
    """Three of sixty have a cell that is ten deviations up."""
    found = find_outliers(table(seed=50, spoilt=(10, 10, 10)), nights[1])

    assert (found.above, found.images) == (3, 60)
    assert found.contrast > find_outliers(table(seed=50), nights[1]).contrast + 0.5


@pytest.mark.parametrize("shift", [3.0, 6.0])
def test_what_all_images_show_makes_no_contrast(nights, shift):
    """Dirt in the same place on all images lifts the median as well, and hides no defect."""
    ordinary = [night.outliers.contrast for night in nights[0] if night.outliers]
    soiled = find_outliers(table(seed=51, shift=shift), nights[1])
    spoilt = find_outliers(table(seed=51, shift=shift, spoilt=(25,) * 6), nights[1])

    assert soiled.contrast < max(ordinary) + 0.3
    assert spoilt.contrast > max(ordinary) + 1


def test_contrast_by_hand():
    """Two of twenty are six deviations above the median, whatever lifts all of them."""
    prominences = np.array([2.0] * 18 + [8.0] * 2)

    assert contrast(prominences) == pytest.approx(np.log(6))
    assert contrast(10 + prominences) == pytest.approx(np.log(6))
    assert contrast(np.zeros(20)) == pytest.approx(np.log(LEAST_LEAD))
    assert contrast(np.stack([prominences, np.ones(20)])).shape == (2,)


def test_too_few_images_tell_no_highest_tenth(nights):
    """Nineteen at known positions say nothing, and neither does a night before others are known."""
    moved = table(seed=53, images=38).replace({"position": {"right": "new"}})

    assert find_outliers(moved, nights[1]) is None
    assert find_outliers(table(seed=53, images=20), nights[1]) is not None
    assert find_outliers(table(seed=53), None) is None


def test_only_comparable_nights_are_known(nights):
    """Nights of another version, nights that it learnt from and nights with an alarm are not."""
    known = nights[0]
    other = summarised(20, table(seed=20, version="2"))
    learnt = summarised(21, table(seed=21), is_trained_on=True)
    history = [*known, other, learnt]
    ordinary = {night.night for night in history} - {known[0].night}

    assert comparable(history, ordinary, "1") == known[1:]


def test_images_that_stand_out_are_an_alarm_and_ordinary_nights_are_none(nights):
    """Held against the nights before: quiet nights stay quiet, five of sixty do not."""
    known, places = nights
    ordinary = {night.night for night in known}

    def watched(scores, history=known):
        tonight = with_outliers(summarised(30, scores), scores, places)
        return watch_night(Baseline(history, ordinary, ordinary), tonight, 1.0)

    quiet = [watched(table(seed=seed)).contrast for seed in range(60, 80)]
    spoilt = watched(table(seed=60, spoilt=(12,) * 5))

    assert not any(contrast.is_alarm for contrast in quiet)
    assert spoilt.contrast.is_alarm
    assert (spoilt.contrast.above, spoilt.contrast.images) == (5, 60)
    assert not spoilt.suspects.is_alarm
    early = watched(table(seed=60, spoilt=(12,) * 5), known[:4]).contrast  # two of them count
    assert (early.images, early.chance) == (0, 1.0)


def test_the_chance_is_that_of_a_normal_law():
    """Over many made-up nights, one in a hundred has a chance below a hundredth."""
    random = np.random.default_rng(5)
    known, tonight = random.normal(1, 0.1, (30, 4000)), random.normal(1, 0.1, 4000)

    chance = chance_of_contrast(tonight, 60, known, np.full(30, 60.0))

    assert (chance < 0.01).mean() == pytest.approx(0.01, abs=0.005)
    assert (chance < 0.5).mean() == pytest.approx(0.5, abs=0.03)


def test_a_night_of_few_images_is_less_certain():
    """The same contrast is further from the ordinary with two hundred images than with twenty."""
    known, images = np.array([0.9, 1.0, 1.1, 1.0]), np.full(4, 200.0)

    few, many = (
        float(chance_of_contrast(np.array(1.4), count, known, images)) for count in (20, 200)
    )

    assert few > 2 * many


def test_nights_that_are_not_ordinary_do_not_count():
    """A night without a value changes nothing; with two nights nothing is known."""
    known, images = np.array([0.9, np.nan, 1.1, 1.0]), np.full(4, 60.0)
    tonight = np.array(1.4)

    assert chance_of_contrast(tonight, 60, known, images) == pytest.approx(
        chance_of_contrast(tonight, 60, known[[0, 2, 3]], images[:3])
    )
    assert chance_of_contrast(tonight, 60, known[:3], images[:3]) == 1


def test_contrasts_that_were_measured_otherwise_do_not_count(nights):
    """A record of before has the logarithm of a ratio: tonight is held against none of these."""
    known = [each for each in nights[0] if each.outliers]
    old = [replace(each, outliers=replace(each.outliers, is_of_difference=False)) for each in known]
    tonight = with_outliers(summarised(30, table(seed=60)), table(seed=60), nights[1])
    names = {each.night for each in known}

    mixed, alike = (
        watch_night(Baseline(before, names, names), tonight, 1.0).contrast
        for before in (old, known)
    )

    assert (mixed.images, mixed.chance) == (0, 1.0)
    assert alike.images == 60


def test_a_record_of_before_is_read(nights):
    """It does not say how its contrast was measured."""
    content = nights[0][-1].to_dict()
    del content["outliers"]["is_of_difference"]

    assert not NightStatistics.from_dict(content).outliers.is_of_difference


def test_outliers_survive_json(nights):
    """A night's record gives them back, and also that there were none."""
    night = nights[0][-1]
    content = night.to_dict()

    assert NightStatistics.from_dict(content) == night
    assert isinstance(NightStatistics.from_dict(content).outliers, Outliers)
    without = replace(night, outliers=None)
    assert NightStatistics.from_dict(without.to_dict()) == without
