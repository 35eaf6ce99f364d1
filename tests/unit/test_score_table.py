"""The table of a night's scores."""

import numpy as np
import pandas as pd
import pytest

from reconad_plugin.detector import score_table as module
from reconad_plugin.detector.score_table import (
    CELLS,
    COLUMNS,
    FLOOR,
    map_cells,
    map_extent,
    score_table,
)
from reconad_plugin.images.features import FEATURES


@pytest.fixture
def rows():
    """Accepted rows of a manifest, with an index that does not begin at zero."""
    table = pd.DataFrame(
        {
            "key": ["p/a", "p/b", "p/c"],
            "sha256": ["1", "2", "3"],
            "pixels_sha256": ["4", "5", "6"],
            "position": ["left", "", "right"],
            "night": "2024-05-01",
        },
        index=[4, 7, 9],
    )
    return table.assign(split="train", size_bytes=1, **dict.fromkeys(FEATURES, 0.5))


def test_table_has_each_images_own_scores(tiny_detector, make_normal, plant_defect, rows):
    """Row by row: score, label, p-value, and the same with the light matched."""
    images = make_normal(3, 50)
    images[1] = plant_defect(images[1])

    table = score_table(tiny_detector, rows, images, "4")

    assert tuple(table.columns) == COLUMNS
    assert table["key"].tolist() == ["p/a", "p/b", "p/c"]
    assert table["position"].tolist() == ["left", "", "right"]
    assert table.index.tolist() == [0, 1, 2]
    scores = tiny_detector.score(images).pred_score
    matched = tiny_detector.score_matched(images).pred_score
    np.testing.assert_array_equal(table["pred_score"], scores)
    np.testing.assert_array_equal(table["matched_score"], matched)
    threshold = tiny_detector.calibration.image_threshold
    assert table["pred_label"].tolist() == (scores > threshold).tolist()
    matched_threshold = tiny_detector.matched_calibration.image_threshold
    assert table["is_suspect"].tolist() == (matched > matched_threshold).tolist()
    np.testing.assert_array_equal(table["p_value"], tiny_detector.calibration.p_values(scores))
    assert set(table["model_version"]) == {"4"}
    maps = tiny_detector.score_matched(images).anomaly_map
    np.testing.assert_allclose(table["map_extent"], map_extent(maps), rtol=1e-6)
    cells = map_cells(maps, matched_threshold)
    np.testing.assert_allclose(np.stack(table["map_cells"]), cells, rtol=1e-5, atol=1e-6)


def test_what_was_said_is_taken(tiny_detector, make_normal, rows):
    """Where a row has it, but for the label, which is of the threshold in force; the light is
    matched anew, and the others are as they would be."""
    images = make_normal(3, 50)
    whole = score_table(tiny_detector, rows, images, "4")
    high = 2 * tiny_detector.calibration.image_threshold
    said = pd.DataFrame(
        {"pred_score": [None, high, None], "p_value": 0.125},
        index=rows.index,
    )

    table = score_table(tiny_detector, rows, images, "4", said)

    assert table.loc[1, ["pred_score", "pred_label", "p_value"]].tolist() == [high, True, 0.125]
    assert table.dtypes.equals(whole.dtypes)
    taken = ["pred_score", "pred_label", "p_value"]
    pd.testing.assert_frame_equal(table.drop(columns=taken), whole.drop(columns=taken))
    pd.testing.assert_frame_equal(table.iloc[[0, 2]], whole.iloc[[0, 2]], rtol=1e-4)


def test_a_night_that_was_served_whole_is_not_scored_again(
    tiny_detector, make_normal, rows, monkeypatch
):
    """Only the light is matched."""
    images = make_normal(3, 50)
    whole = score_table(tiny_detector, rows, images, "4")
    said = whole[["pred_score", "p_value"]].set_index(rows.index)
    scored = []
    score = type(tiny_detector).score
    monkeypatch.setattr(
        type(tiny_detector),
        "score",
        lambda self, images, positions: (
            scored.append(len(images)) or score(self, images, positions)
        ),
    )

    table = score_table(tiny_detector, rows, images, "4", said)

    assert scored == [0]
    pd.testing.assert_frame_equal(table, whole)


def test_labels_are_truth_values(tiny_detector, make_normal, rows):
    """Labels can be negated, also after they were stored."""
    table = score_table(tiny_detector, rows, make_normal(3, 50), "4")

    assert table["pred_label"].dtype == bool
    assert table["is_suspect"].dtype == bool


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_chunks_do_not_change_the_table(tiny_detector, make_normal, rows, monkeypatch, chunk):
    """However many images are scored at once, each has the same row."""
    images = make_normal(3, 51)
    whole = score_table(tiny_detector, rows, images, "4")

    monkeypatch.setattr(module, "CHUNK_IMAGES", chunk)

    chunked = score_table(tiny_detector, rows, images, "4")
    pd.testing.assert_frame_equal(chunked, whole, rtol=1e-4)


def spot(size, side):
    """A map that is empty but for a square at its corner."""
    anomaly_map = np.zeros((size, size), np.float32)
    anomaly_map[:side, :side] = 0.3
    return anomaly_map


@pytest.mark.parametrize(
    ("anomaly_map", "extent"),
    [
        pytest.param(spot(8, 1), 1 / 64, id="one pixel"),
        pytest.param(spot(8, 4), 1 / 4, id="a quarter of the picture"),
        pytest.param(np.full((8, 8), 0.7, np.float32), 1.0, id="everywhere alike"),
        pytest.param(np.zeros((8, 8), np.float32), 1.0, id="nothing anywhere"),
        pytest.param(np.array([[3, 1], [0, 0]], np.float32), 16 / 10 / 4, id="two unlike pixels"),
    ],
)
def test_extent_of_a_map_by_hand(anomaly_map, extent):
    """The share of the picture that a map covers, whatever its height."""
    found = map_extent(np.stack([anomaly_map, 1000 * anomaly_map]))

    assert found == pytest.approx([extent, extent])


def test_extent_is_of_each_map_alone():
    """Maps that are scored together do not know of each other, nor does an empty one spoil them."""
    maps = np.stack([spot(8, 1), spot(8, 0), spot(8, 8)])

    assert map_extent(maps) == pytest.approx([1 / 64, 1, 1])


def test_cells_are_logarithms_of_means_over_the_threshold():
    """Row by row; a cell without anything is as low as a hundredth of the threshold."""
    maps = np.zeros((2, 32, 32), np.float32)
    maps[1, 0:2, 30:32] = 3.0  # the last cell of the first row
    maps[1, 4, 0] = 4.0  # a quarter of the first cell of the third row

    cells = map_cells(maps, 0.5)

    assert cells.shape == (2, CELLS**2)
    np.testing.assert_allclose(cells[0], np.log(FLOOR), rtol=1e-6)
    assert cells[1, CELLS - 1] == pytest.approx(np.log(6 + FLOOR))
    assert cells[1, 2 * CELLS] == pytest.approx(np.log(2 + FLOOR))
    assert np.isfinite(map_cells(maps, 0.0)).all()


def test_a_threshold_that_a_person_set_decides_and_changes_no_figure(
    tiny_detector, make_normal, rows
):
    """Labels and suspects follow it, by the same ratio; scores, p-values and cells compare with
    those of the nights before."""
    images = make_normal(3, 50)
    before = score_table(tiny_detector, rows, images, "4")
    low, high = (
        score_table(tiny_detector.held_against(threshold), rows, images, "4")
        for threshold in (before["pred_score"].min() / 2, before["pred_score"].max() * 100)
    )

    assert low["pred_label"].all()
    assert not high["pred_label"].any()
    assert not high["is_suspect"].any()
    same = [name for name in COLUMNS if name not in ("pred_label", "is_suspect")]
    for table in (low, high):
        pd.testing.assert_frame_equal(table[same], before[same])
    ratio = tiny_detector.held_against(3 * tiny_detector.calibration.image_threshold)
    matched = tiny_detector.matched_calibration.image_threshold
    assert ratio.matched_threshold == pytest.approx(3 * matched)
    back = ratio.held_against(tiny_detector.calibration.image_threshold)
    assert back.matched_threshold == pytest.approx(matched)
    assert (back.set_threshold, tiny_detector.set_threshold) == (
        tiny_detector.calibration.image_threshold,
        None,
    )
