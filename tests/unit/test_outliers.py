"""Images that stand out from their position of the camera, whatever the whole night does."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from monitoring.alarms import comparable, watch_night
from monitoring.night import NightStatistics, Outliers, summarise_night
from monitoring.outliers import find_outliers, with_outliers

LEVELS = {"left": -3.0, "right": -1.0}  # of the logarithm of a score
DEVIATION = 0.1
ORDINARY = 12


def table(seed, shift=0.0, images=30, spoilt=(), version="1", with_position=True):
    """Scores of a night whose positions score differently; ``spoilt`` stand out on the left."""
    random = np.random.default_rng(seed)
    position = ["left", "right"] * (images // 2)
    logarithm = np.array([LEVELS[each] for each in position]) + shift
    logarithm += DEVIATION * random.standard_normal(images)
    for place, height in enumerate(spoilt):
        logarithm[2 * place] = LEVELS["left"] + shift + height * DEVIATION
    score = np.exp(logarithm)
    columns = {"pred_score": score, "matched_score": score, "model_version": version}
    return pd.DataFrame(columns | ({"position": position} if with_position else {}))


def summarised(place, scores, is_trained_on=False):
    """A night as the watch sees it; no image is above the threshold."""
    return summarise_night(
        f"2026-03-{place + 1:02}", scores, (0.1, 0.2), 9.0, (0.1, 0.2), 9.0, is_trained_on
    )


@pytest.fixture
def known():
    """Twelve ordinary nights."""
    nights = []
    for place in range(ORDINARY):
        scores = table(seed=place)
        summary = summarised(place, scores)
        nights.append(with_outliers(summary, scores, nights, {night.night for night in nights}))
    return nights


def test_a_defect_at_a_quiet_position_stands_out(known):
    """Three images ten deviations above their own position score below the other position."""
    scores = table(seed=50, spoilt=(10, 10, 10))

    found = find_outliers(scores, known)

    assert (found.above, found.images) == (3, 30)
    assert found.highest == pytest.approx(10, rel=0.25)
    assert scores["matched_score"].iloc[0] < np.exp(LEVELS["right"] - 5 * DEVIATION)


@pytest.mark.parametrize("shift", [-1.0, 0.5, 2.0])
def test_what_moves_all_images_makes_none_stand_out(known, shift):
    """A night of dirt or of another light has no outliers, and hides none."""
    assert find_outliers(table(seed=51, shift=shift), known).above == 0
    assert find_outliers(table(seed=51, shift=shift, spoilt=(9, 9)), known).above == 2


def test_without_positions_an_image_is_held_against_all(known):
    """Then the positions' own differences are the deviation, and only what is far from all
    stands out."""
    known = [summarised(place, table(seed=place, with_position=False)) for place in range(ORDINARY)]

    found = find_outliers(table(seed=52, spoilt=(60,), with_position=False), known)

    assert (found.above, found.images) == (1, 30)


def test_positions_that_are_not_known_do_not_count(known):
    """An image at a new position is held against nothing; with none known there is no count."""
    moved = table(seed=53).replace({"position": {"right": "new"}})

    assert find_outliers(moved, known).images == 15
    assert find_outliers(moved, known[:1]) is None
    assert find_outliers(moved, []) is None


def test_positions_seen_once_a_night_tell_no_deviation():
    """Where no night has two images of one position, nothing says how far apart they may lie."""
    single = [table(seed=place, images=2) for place in range(ORDINARY)]
    nights = [summarised(place, scores) for place, scores in enumerate(single)]

    assert find_outliers(table(seed=54, spoilt=(30,)), nights) is None


def test_records_without_images_tell_no_level(known):
    """Records of a time when a night did not say how many images it had do not count."""
    old = [replace(night, images=0, positions={}) for night in known]

    assert find_outliers(table(seed=55), old) is None


def test_only_comparable_nights_are_known(known):
    """Nights of another version, nights that it learnt from and nights with an alarm are not."""
    other = summarised(20, table(seed=20, version="2"))
    learnt = summarised(21, table(seed=21), is_trained_on=True)
    history = [*known, other, learnt]
    ordinary = {night.night for night in history} - {known[0].night}

    assert comparable(history, ordinary, "1") == known[1:]


def test_many_outliers_are_an_alarm_and_ordinary_nights_are_none(known):
    """Held against the nights before: quiet nights stay quiet, six of thirty do not."""
    ordinary = {night.night for night in known}

    def watched(scores):
        tonight = with_outliers(summarised(30, scores), scores, known, ordinary)
        return watch_night(known, tonight, ordinary, (), 1.0)

    quiet, spoilt = watched(table(seed=60)), watched(table(seed=60, spoilt=(8,) * 6))

    assert not quiet.outliers.is_alarm
    assert spoilt.outliers.is_alarm
    assert not spoilt.suspects.is_alarm
    assert spoilt.highest_chance == pytest.approx(1 / 11)  # the first two nights had none known
    assert quiet.highest_chance > spoilt.highest_chance


def test_outliers_survive_json(known):
    """A night's record gives them back, also one of a time when there were none."""
    content = known[-1].to_dict()

    assert NightStatistics.from_dict(content) == known[-1]
    assert isinstance(NightStatistics.from_dict(content).outliers, Outliers)
    del content["outliers"]
    assert NightStatistics.from_dict(content).outliers is None
