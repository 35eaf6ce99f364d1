"""One night in numbers."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from reconad_plugin.images.features import FEATURES
from reconad_plugin.watch.statistics import (
    CAMERA_STATISTICS,
    LIGHT_STATISTICS,
    SCORE_STATISTICS,
    STATISTICS,
    STEADY_DEVIATION,
    SURFACE_STATISTIC,
    Exceedances,
    NightStatistics,
    PositionMeans,
    describe_light,
    image_statistics,
    summarise_night,
)


@pytest.fixture
def table():
    """A night of four images of two positions, scored by version 3."""
    return pd.DataFrame(
        {
            "pred_score": [0.1, 0.2, 0.4, 0.8],
            "matched_score": [0.3, 0.1, 0.6, 0.2],
            "p_value": [0.5, 0.1, 0.25, 0.01],
            "map_extent": [0.5, 0.25, 0.5, 0.125],
            "position": ["left", "left", "left", "right"],
            "model_version": "3",
            **{name: [0.1, 0.2, 0.3, 0.0] for name in FEATURES},
            "luminance": [0.4, 0.5, 0.6, 0.5],
            "contrast": [0.1, 0.1, 0.2, 0.2],
            "clipped_share": [0.0, 0.0, 0.0, 0.04],
            "sharpness": [-2.0, -2.0, -2.0, -4.0],
        },
        index=[3, 5, 8, 9],
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
    """Light and camera statistics are the manifests' features by the same names; contrast alone
    is watched as a share of the brightness."""
    assert {*LIGHT_STATISTICS, *CAMERA_STATISTICS} == set(FEATURES) - {"contrast"}
    assert set(STEADY_DEVIATION) == set(STATISTICS)
    assert len(STATISTICS) == len(set(STATISTICS))


def test_summary_by_hand(table):
    """Means over the images, and counts above the thresholds."""
    night = summarise(table)

    assert (night.night, night.model_version, night.is_trained_on) == ("2024-05-01", "3", False)
    assert night.images == 4
    assert set(night.values) == set(STATISTICS)
    assert night.values["luminance"] == pytest.approx(0.5)
    assert night.values["clipped_share"] == pytest.approx(0.01)
    assert night.values["sharpness"] == pytest.approx(-2.5)
    # 0.8 is above 0.4, and 0.4 is not; of the calibration's scores 0.4 is at it
    assert night.above_threshold == Exceedances(1, 4, 3, 1)
    # 0.3 and 0.6 are above 0.25; of the calibration's 0.25, 0.3 and 0.9 are at or above it
    assert night.suspects == Exceedances(2, 4, 4, 3)


def test_statistics_of_single_images_by_hand(table):
    """Logs of scores, extents and p-values, and contrast as a share of the brightness."""
    images = image_statistics(table)

    assert set(images) == set(STATISTICS)
    assert images.index.tolist() == [3, 5, 8, 9]
    first = images.loc[3]
    assert first["log_score"] == pytest.approx(math.log(0.1))
    assert first["log_matched_score"] == pytest.approx(math.log(0.3))
    assert first["surprise"] == pytest.approx(math.log(2))
    assert first["log_map_extent"] == pytest.approx(math.log(0.5))
    assert first[SURFACE_STATISTIC] == pytest.approx(math.log(0.1 / 0.4))
    assert images["tail_share"].tolist() == [0, 1, 0, 1]  # p at most 0.1


def test_lamp_moves_the_brightness_and_not_the_surface(table):
    """Half the light halves the contrast too: their ratio stays."""
    dimmed = table.assign(luminance=table["luminance"] / 2, contrast=table["contrast"] / 2)

    before, after = summarise(table).values, summarise(dimmed).values

    assert after["luminance"] == pytest.approx(before["luminance"] / 2)
    assert after[SURFACE_STATISTIC] == pytest.approx(before[SURFACE_STATISTIC])


def test_positions_by_hand(table):
    """Each position has its images and their means."""
    found = summarise(table).positions

    assert set(found) == {"left", "right"}
    assert (found["left"].images, found["right"].images) == (3, 1)
    assert found["left"].values["luminance"] == pytest.approx(0.5)
    assert found["left"].values["sharpness"] == pytest.approx(-2.0)
    assert found["right"].values["sharpness"] == pytest.approx(-4.0)
    assert set(found["left"].values) == set(STATISTICS)


def test_deviations_are_those_within_a_position(table):
    """What tells positions apart is not scatter of images: it is pooled about their own means."""
    with_positions = summarise(table).deviations
    without = summarise(table.drop(columns="position")).deviations

    # left: 0.4, 0.5, 0.6; right: one image; four images less two positions are two degrees
    assert with_positions["luminance"] == pytest.approx(math.sqrt(0.02 / 2))
    assert with_positions["sharpness"] == pytest.approx(0)
    assert without["sharpness"] == pytest.approx(np.std([-2, -2, -2, -4], ddof=1))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda table: table.drop(columns="position"), id="not told"),
        pytest.param(lambda table: table.assign(position=""), id="the product has one"),
    ],
)
def test_without_positions_there_are_none(table, change):
    """Then the night is its images' mean alone."""
    night = summarise(change(table))

    assert night.positions == {}
    assert night.images == 4


def test_single_image_has_no_scatter(table):
    """One image is a night too; how far images differ is not known of it."""
    night = summarise(table[:1])

    assert night.deviations["luminance"] == 0
    assert night.positions["left"] == PositionMeans(1, night.values)


def test_summary_of_what_a_served_model_wrote(table):
    """Statistics that a table lacks are left out, also those of optional columns."""
    night = summarise(table[["pred_score", "matched_score", "model_version", "luminance"]])

    assert set(night.values) == {"luminance", "log_score", "log_matched_score"}
    assert set(night.deviations) == set(night.values)


def test_feature_that_an_old_manifest_lacks_is_left_out(table):
    """A column without any number has no mean; a single gap does not spoil the others."""
    table["noise"] = np.nan
    table.loc[9, "framing_x"] = np.nan

    night = summarise(table)

    assert "noise" not in night.values
    assert "noise" not in night.positions["left"].values
    assert night.values["framing_x"] == pytest.approx(0.2)
    assert "framing_x" not in night.positions["right"].values


def test_score_of_zero_is_survived(table):
    """A score of zero has no logarithm, and the night's mean is a number all the same."""
    table.loc[3, "pred_score"] = 0.0

    assert math.isfinite(summarise(table).values["log_score"])


def test_empty_night_is_refused(table):
    """A night without images has no statistics."""
    with pytest.raises(ValueError, match="at least one scored image; got none"):
        summarise(table[:0])


def test_night_before_any_version_has_its_light(table):
    """Before any version served, light and camera are known, and nothing of scores."""
    scores = ["pred_score", "matched_score", "p_value", "map_extent", "model_version"]
    night = describe_light("2024-05-01", table.drop(columns=scores))

    assert set(night.values) == set(STATISTICS) - set(SCORE_STATISTICS)
    assert night.values["luminance"] == pytest.approx(0.5)
    assert set(night.positions) == {"left", "right"}
    assert night.images == 4
    assert night.above_threshold.images == night.suspects.images == 0
    assert night.is_trained_on


@pytest.mark.parametrize(
    "is_trained_on", [pytest.param(True, id="yes"), pytest.param(False, id="no")]
)
def test_night_survives_json(table, is_trained_on):
    """What is written into a night's record is read back equal."""
    night = summarise(table, is_trained_on=is_trained_on)

    again = NightStatistics.from_dict(json.loads(json.dumps(night.to_dict())))

    assert again == night
