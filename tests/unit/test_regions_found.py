"""Areas of a map above the pixel threshold, in pixels of the picture."""

import base64
import io
import json
from dataclasses import replace

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.pyfunc.scoring_server import predictions_to_json
from PIL import Image

from mlflow_models import flavor
from mlflow_models.serving.pyfunc import DetectorPyfunc
from mlflow_models.serving.version import ServedVersion
from reconad_plugin.detector.prediction import predict_encoded
from reconad_plugin.detector.regions_found import (
    MOST_REPORTED,
    FoundRegion,
    RegionsFound,
    find_regions,
)
from reconad_plugin.detector.torch_engine import TorchEngine
from reconad_plugin.networks.base import AnomalyNetwork

ORIENTATION = 0x0112


class Brightness(AnomalyNetwork):
    """Rebuilds black, so that its map is the picture's red."""

    smooths_map = False

    def reconstruct(self, image):
        return torch.zeros_like(image)

    def anomaly_map(self, image):
        return image[:, 0]


@pytest.fixture
def detector(tiny_detector):
    """Marks what is brighter than a half."""
    calibration = replace(tiny_detector.calibration, pixel_threshold=0.5)
    return replace(
        tiny_detector, engine=TorchEngine(Brightness().eval(), 1), calibration=calibration
    )


@pytest.fixture
def encoded(encode):
    """A black picture of 96 x 64 pixels with a bright box, as base64 of a PNG."""
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[20:30, 60:72] = 255
    return base64.b64encode(encode(picture, "PNG")).decode()


def test_areas_by_hand():
    """Pixels that touch at a corner are one area; boxes are in pixels of the picture."""
    shown = np.zeros((4, 4), np.float32)
    shown[0, 0], shown[1, 1], shown[3, 2:] = 0.6, 0.8, 1.0
    shown[0, 3] = 0.5  # at the threshold, not above

    found = find_regions(shown, 0.5, (8, 20))

    assert found == RegionsFound(
        2, (FoundRegion(4, 15, 4, 5, 20, 2.0), FoundRegion(0, 0, 4, 10, 20, pytest.approx(1.6)))
    )


def test_a_picture_smaller_than_its_map_has_whole_pixels():
    """A box is never empty, and covers all that it stands for."""
    shown = np.zeros((32, 32), np.float32)
    shown[5, 9] = 1

    (box,) = find_regions(shown, 0.5, (20, 10)).regions

    assert (box.x, box.y, box.width, box.height, box.area_px) == (5, 1, 2, 1, 1)


def test_every_pixel_above_is_in_an_area():
    """Of random maps: areas add up, their boxes hold them, and the highest stand first."""
    for seed in range(5):
        shown = np.random.default_rng(seed).random((24, 24), np.float32)

        found = find_regions(shown, 0.9, (24, 24))

        assert found.count == len(found.regions)
        assert sum(each.area_px for each in found.regions) == (shown > 0.9).sum()
        covered = np.zeros((24, 24), np.bool_)
        for each in found.regions:
            box = shown[each.y : each.y + each.height, each.x : each.x + each.width]
            covered[each.y : each.y + each.height, each.x : each.x + each.width] = True
            assert box.max() / 0.9 >= each.peak * (1 - 1e-6)
        assert covered[shown > 0.9].all()
        peaks = [each.peak for each in found.regions]
        assert peaks == sorted(peaks, reverse=True)
        assert peaks[0] == pytest.approx(shown.max() / 0.9)


def test_a_hundred_are_reported_and_all_are_counted():
    """A map that is above the threshold in many places makes no answer of megabytes."""
    shown = np.zeros((64, 64), np.float32)
    shown[::2, ::2] = np.random.default_rng(0).uniform(1, 2, (32, 32))

    found = find_regions(shown, 0.5, (64, 64))

    assert (found.count, len(found.regions)) == (1024, MOST_REPORTED)
    lowest = np.sort(shown[::2, ::2].ravel())[-MOST_REPORTED]
    assert found.regions[-1].peak == pytest.approx(lowest / 0.5)


def test_what_is_found_is_where_the_picture_has_it(detector, encoded):
    """In pixels of the picture, not of the network; nothing without being asked."""
    asked, broken = predict_encoded(detector, [encoded, "?"], "1", with_regions=True)
    (silent,) = predict_encoded(detector, [encoded], "1")

    (box,) = asked.regions_found.regions
    assert abs(box.x - 60) <= 3 and abs(box.y - 20) <= 2  # noqa: PT018  a pixel of the map
    assert abs(box.width - 12) <= 6 and abs(box.height - 10) <= 4  # noqa: PT018
    assert box.peak == pytest.approx(2)
    assert (broken.regions_found, silent.regions_found) == (None, None)


def test_boxes_are_upright(detector):
    """As people see the picture, whatever its camera's orientation tag says."""
    picture = Image.fromarray(np.zeros((64, 96, 3), np.uint8))
    picture.paste((255, 255, 255), (0, 32, 96, 64))
    buffer, tags = io.BytesIO(), Image.Exif()
    tags[ORIENTATION] = 6  # the right side of the file is the bottom
    picture.save(buffer, "JPEG", exif=tags)

    text = base64.b64encode(buffer.getvalue()).decode()
    (row,) = predict_encoded(detector, [text], "1", with_regions=True)

    (box,) = row.regions_found.regions
    assert (box.x, box.y, box.width, box.height) == (0, 0, 32, 96)


def test_a_version_without_a_pixel_threshold_reports_none(detector, encoded):
    """None, which is not the same as nothing found."""
    old = replace(detector, calibration=replace(detector.calibration, pixel_threshold=None))

    (row,) = predict_encoded(old, [encoded], "1", with_regions=True)

    assert row.regions_found is None


def test_served_answers_have_the_column_where_it_is_asked_for(
    detector, tiny_detector, encoded, tmp_path
):
    """As nested JSON; else the columns are what they were."""
    flavor.save_model(tiny_detector, str(tmp_path / "model"))
    served = DetectorPyfunc(ServedVersion(detector, "7"))
    rows = pd.DataFrame({"image": [encoded]})

    plain, asked = served.predict(rows), served.predict(rows, {"regions_found": True})

    assert [*asked] == [*plain, "regions_found"]
    outputs = [column.name for column in flavor.SIGNATURE.outputs]
    assert [*plain] == [name for name in outputs if name not in ("context", "reference", "overlay")]
    text = io.StringIO()
    predictions_to_json(asked, text)
    (answer,) = json.loads(text.getvalue())["predictions"]
    assert answer["regions_found"]["count"] == 1
    assert set(answer["regions_found"]["regions"][0]) == {
        "x", "y", "width", "height", "area_px", "peak"
    }  # fmt: skip
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    both = loaded.predict(rows, params={"regions_found": True, "anomaly_map": True})
    assert both["anomaly_map"].notna().all()
    assert "regions_found" in both
