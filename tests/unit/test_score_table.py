"""The table of a night's scores."""

import numpy as np
import pandas as pd
import pytest

from reconad_plugin.images.features import FEATURES
from reconad_plugin.score_table import COLUMNS, score_table


@pytest.fixture
def rows():
    """Accepted rows of a manifest, with an index that does not begin at zero."""
    table = pd.DataFrame(
        {"key": ["p/a", "p/b", "p/c"], "sha256": ["1", "2", "3"], "night": "2024-05-01"},
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


def test_labels_are_truth_values(tiny_detector, make_normal, rows):
    """Labels can be negated, also after they were stored."""
    table = score_table(tiny_detector, rows, make_normal(3, 50), "4")

    assert table["pred_label"].dtype == bool
    assert table["is_suspect"].dtype == bool
