"""One night in numbers."""

import json
import math

import pandas as pd
import pytest

from monitoring.night import (
    CAMERA_STATISTICS,
    LIGHT_STATISTICS,
    SCORE_STATISTIC,
    STATISTICS,
    STEADY_DEVIATION,
    Exceedances,
    NightStatistics,
    describe_light,
    summarise_night,
)
from reconad_plugin.images.features import FOCUS_FEATURES, LIGHT_FEATURES


@pytest.fixture
def table():
    """A night of four images, scored by version 3."""
    return pd.DataFrame(
        {
            "pred_score": [0.1, 0.2, 0.4, 0.8],
            "matched_score": [0.3, 0.1, 0.6, 0.2],
            "model_version": "3",
            "luminance": [0.4, 0.5, 0.6, 0.5],
            "contrast": [0.1, 0.1, 0.2, 0.2],
            "red_green_balance": 0.05,
            "blue_green_balance": -0.05,
            "clipped_share": [0.0, 0.0, 0.0, 0.04],
            "sharpness": [-2.0, -2.0, -2.0, -4.0],
        }
    )


def summarise(table, **changes):
    """The night's statistics with thresholds of 0.4 and 0.25."""
    arguments = {
        "calibration_scores": (0.1, 0.2, 0.4),
        "image_threshold": 0.4,
        "matched_calibration_scores": (0.2, 0.25, 0.3, 0.9),
        "matched_threshold": 0.25,
    }
    return summarise_night("2024-05-01", table, **arguments | changes)


def test_statistics_are_those_of_the_manifest():
    """Light and camera statistics are the features that manifests hold, by the same names."""
    assert LIGHT_STATISTICS == LIGHT_FEATURES
    assert CAMERA_STATISTICS == FOCUS_FEATURES
    assert set(STEADY_DEVIATION) == set(STATISTICS)


def test_summary_by_hand(table):
    """Means of the features, mean of the log of the scores, and counts above the thresholds."""
    night = summarise(table)

    assert (night.night, night.model_version, night.is_trained_on) == ("2024-05-01", "3", False)
    assert set(night.values) == set(STATISTICS)
    assert night.values["luminance"] == pytest.approx(0.5)
    assert night.values["clipped_share"] == pytest.approx(0.01)
    assert night.values["sharpness"] == pytest.approx(-2.5)
    expected = (math.log(0.1) + math.log(0.2) + math.log(0.4) + math.log(0.8)) / 4
    assert night.values[SCORE_STATISTIC] == pytest.approx(expected)
    # 0.8 is above 0.4, and 0.4 is not; of the calibration's scores 0.4 is at it
    assert night.alarming == Exceedances(1, 4, 3, 1)
    # 0.3 and 0.6 are above 0.25; of the calibration's 0.25, 0.3 and 0.9 are at or above it
    assert night.suspects == Exceedances(2, 4, 4, 3)


def test_summary_of_what_a_served_model_wrote(table):
    """Statistics that a table lacks are left out."""
    night = summarise(table[["pred_score", "matched_score", "model_version", "luminance"]])

    assert set(night.values) == {"luminance", SCORE_STATISTIC}


def test_score_of_zero_is_survived(table):
    """A score of zero has no logarithm, and the night's mean is a number all the same."""
    table.loc[0, "pred_score"] = 0.0

    assert math.isfinite(summarise(table).values[SCORE_STATISTIC])


def test_empty_night_is_refused(table):
    """A night without images has no statistics."""
    with pytest.raises(ValueError, match="at least one scored image; got none"):
        summarise(table[:0])


def test_night_before_any_version_has_its_light(table):
    """Before any version served, light and focus are known, and nothing of scores."""
    night = describe_light("2024-05-01", table.drop(columns=["pred_score", "model_version"]))

    assert set(night.values) == {*LIGHT_STATISTICS, *CAMERA_STATISTICS}
    assert night.values["luminance"] == pytest.approx(0.5)
    assert night.alarming.images == night.suspects.images == 0
    assert night.is_trained_on


@pytest.mark.parametrize(
    "is_trained_on", [pytest.param(True, id="yes"), pytest.param(False, id="no")]
)
def test_night_survives_json(table, is_trained_on):
    """What is written into a night's record is read back equal."""
    night = summarise(table, is_trained_on=is_trained_on)

    again = NightStatistics.from_dict(json.loads(json.dumps(night.to_dict())))

    assert again == night
