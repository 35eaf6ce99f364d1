"""Base64 pictures to predictions, row by row."""

import base64
import io
import json
import math
import threading
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from reconad_plugin.detector import prediction
from reconad_plugin.detector.answer import MAP_FULL_SCALE, Prediction, encode_map
from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.calibration_groups import CalibrationGroups, luminances
from reconad_plugin.detector.prediction import predict_encoded, to_table
from reconad_plugin.images.geometry import stack_images
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize


@pytest.fixture
def picture(make_normal, plant_defect):
    """(40, 48, 3) uint8 of a part with a defect."""
    part = plant_defect(make_normal(1, 30))[0].permute(1, 2, 0).numpy()
    return np.asarray(Image.fromarray(part).resize((48, 40)))


@pytest.fixture
def encoded(encode, picture):
    """The picture as base64 of a PNG."""
    return as_text(encode(picture, "PNG"))


def as_text(content):
    """Bytes as base64 text."""
    return base64.b64encode(content).decode()


def map_pixels(text):
    """A map's grey values."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_observer_is_shown_what_is_answered(tiny_detector, picture, encoded, encode, monkeypatch):
    """Row by row, also where one could not be read: its answer, its file and its map."""
    monkeypatch.setattr(prediction, "CHUNK", 2)
    broken = as_text(encode(picture, "PNG")[:50])
    seen = []

    rows = predict_encoded(
        tiny_detector, [encoded, "@", broken, encoded], "7", observe=lambda more: seen.append(more)
    )

    assert [len(more) for more in seen] == [2, 2]
    first, unread, torn, last = (each for more in seen for each in more)
    assert [each.prediction for each in (first, unread, torn, last)] == rows
    assert first.content == last.content == encode(picture, "PNG")
    assert (unread.content, unread.anomaly_map) == (None, None)
    assert (torn.content, torn.anomaly_map) == (encode(picture, "PNG")[:50], None)
    images = stack_images([picture], ImageSize.square(32))
    scores = tiny_detector.score(images)
    np.testing.assert_allclose(last.anomaly_map, scores.anomaly_map[0], rtol=1e-5)


def test_prediction_is_the_detectors_own(tiny_detector, picture, encoded):
    """Score, label, p-value and threshold are those of the detector on the resized picture."""
    (row,) = predict_encoded(tiny_detector, [encoded], "7")

    score = tiny_detector.score(stack_images([picture], ImageSize.square(32))).pred_score[0]
    assert row.pred_score == pytest.approx(score)
    assert row.image_threshold == tiny_detector.calibration.image_threshold
    assert row.pred_label is bool(score > row.image_threshold)
    assert row.p_value == tiny_detector.calibration.p_values(np.array([score]))[0]
    assert (row.model_version, row.error, row.anomaly_map) == ("7", None, None)


def test_label_says_whether_the_score_is_above_the_threshold(tiny_detector, encode, make_normal):
    """Of the calibration's own pictures those above the threshold are labelled, and no other."""
    pictures = [image.permute(1, 2, 0).numpy() for image in make_normal(9, 1)]

    rows = predict_encoded(tiny_detector, [as_text(encode(one, "PNG")) for one in pictures], "1")

    threshold = tiny_detector.calibration.image_threshold
    assert [row.pred_label for row in rows] == [row.pred_score > threshold for row in rows]
    assert all(0 < row.p_value <= 1 for row in rows)


@pytest.mark.parametrize(
    "prefix",
    [
        pytest.param("data:image/png;base64,", id="with its type"),
        pytest.param("data:;base64,", id="without a type"),
        pytest.param("data:image/png;name=a.png;base64,", id="with a file name"),
    ],
)
def test_data_prefix_is_understood(tiny_detector, encoded, prefix):
    """Text as a browser writes it gives the same prediction."""
    plain, prefixed = predict_encoded(tiny_detector, [encoded, prefix + encoded], "1")

    assert prefixed == plain


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        pytest.param("not base64 at all!", "not_base64: an image must be base64", id="words"),
        pytest.param("Zm9vö", "not_base64: an image must be base64", id="beyond ASCII"),
        pytest.param("abcd!efgh", "not_base64: an image must be base64", id="other signs within"),
        pytest.param("abc", "not_base64: an image must be base64", id="wrong length"),
        pytest.param(None, "not_base64: an image must be base64 text; got nothing", id="nothing"),
        pytest.param(
            math.nan,  # a null beside other rows
            "not_base64: an image must be base64 text; got nothing",
            id="nothing among others",
        ),
        pytest.param(3.5, "not_base64: an image must be base64 text; got float", id="a number"),
        pytest.param(b"aGk=", "not_base64: an image must be base64 text; got bytes", id="bytes"),
        pytest.param("", "empty: an image must have bytes", id="empty text"),
        pytest.param(as_text(b"hello"), "not_an_image: an image must be one of", id="no picture"),
    ],
)
def test_bad_row_has_its_error_and_spoils_no_other(tiny_detector, encoded, bad, error):
    """Rows before and after a bad one are predicted as if it were not there."""
    (alone,) = predict_encoded(tiny_detector, [encoded], "1", with_map=True)

    first, broken, last = predict_encoded(
        tiny_detector, [encoded, bad, encoded], "1", with_map=True
    )

    assert broken.error.startswith(error)
    assert (broken.pred_score, broken.pred_label, broken.p_value) == (None, None, None)
    assert broken.anomaly_map is None
    assert broken.image_threshold == alone.image_threshold
    for row in (first, last):
        assert row.error is None
        assert row.pred_score == pytest.approx(alone.pred_score, rel=1e-5)


@pytest.mark.parametrize("together", [2, 256])
def test_rows_keep_their_order(
    tiny_detector, encode, make_normal, plant_defect, monkeypatch, together
):
    """Among bad rows each good one has its own score, however few are read at a time."""
    monkeypatch.setattr(prediction, "CHUNK", together)
    images = plant_defect(make_normal(3, 31))
    images[1] = make_normal(1, 32)[0]
    good = [as_text(encode(image.permute(1, 2, 0).numpy(), "PNG")) for image in images]
    expected = tiny_detector.score(images).pred_score

    rows = predict_encoded(tiny_detector, ["?", good[0], "?", "?", good[1], good[2]], "1")

    assert [row.error is None for row in rows] == [False, True, False, False, True, True]
    found = [row.pred_score for row in rows if row.error is None]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_limits_of_the_detector_are_applied(tiny_detector, encoded):
    """A picture larger than the product allows is refused in its row."""
    strict = replace(tiny_detector, limits=ImageLimits(max_pixels=1000))

    (row,) = predict_encoded(strict, [encoded], "1")

    assert row.error.startswith("too_many_pixels: an image may have at most 1,000 pixels")


@pytest.mark.parametrize(
    "images", [pytest.param([], id="no rows"), pytest.param(["?", None], id="bad rows alone")]
)
def test_nothing_to_score_is_no_failure(tiny_detector, images):
    """Without a single readable row the answer has as many rows as the question."""
    rows = predict_encoded(tiny_detector, images, "1", with_map=True)

    assert len(rows) == len(images)
    assert all(row.error for row in rows)


def test_map_is_mid_grey_at_the_threshold():
    """Zero is black, the threshold is mid-grey, and twice the threshold and more are white."""
    anomaly_map = np.array([[0.0, 0.1], [0.2, 0.4], [0.8, 5.0]], dtype=np.float32)

    pixels = map_pixels(encode_map(anomaly_map, 0.2))

    assert MAP_FULL_SCALE == 2
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels, [[0, 63.5], [127.5, 255], [255, 255]], atol=0.6)


def test_map_of_a_prediction_is_the_detectors(tiny_detector, picture, encoded):
    """The map that is asked for is the detector's map, scaled by its threshold."""
    (row,) = predict_encoded(tiny_detector, [encoded], "1", with_map=True)

    raw = tiny_detector.score(stack_images([picture], ImageSize.square(32))).anomaly_map[0]
    pixels = map_pixels(row.anomaly_map)
    assert pixels.shape == (32, 32)
    expected = (raw / (2 * row.image_threshold) * 255).clip(0, 255)
    np.testing.assert_allclose(pixels, expected, atol=1.01)


def test_table_has_a_row_a_prediction(tiny_detector, encoded):
    """Rows and columns are those of the predictions, in their order."""
    rows = predict_encoded(tiny_detector, [encoded, "?"], "3")

    table = to_table(rows, with_regions=True, with_contexts=True)

    assert table.to_dict("records") == [asdict(row) for row in rows]


def test_table_can_be_sent_as_json(tiny_detector, encoded):
    """What is absent becomes null, never NaN, and labels stay truth values."""
    rows = predict_encoded(tiny_detector, [encoded, "?"], "3", with_map=True)

    sent = to_table(rows).to_json(orient="records")
    again = json.dumps(to_table(rows).to_dict("records"), allow_nan=False)

    good, bad = json.loads(sent)
    assert isinstance(good["pred_label"], bool)
    assert (good["error"], bad["pred_score"], bad["pred_label"]) == (None, None, None)
    assert json.loads(again)[1]["error"] == bad["error"]
    assert json.loads(again)[1]["p_value"] is None


def test_table_of_nothing_has_its_columns():
    """Without rows the columns are still there."""
    assert list(to_table([], with_regions=True, with_contexts=True).columns) == list(
        Prediction.__dataclass_fields__
    )


def test_prediction_follows_the_light(tiny_detector, encode, make_normal):
    """With levels of light a row has the threshold, label and p-value of its own level."""
    bright, dark = make_normal(1, 33).numpy(), make_normal(1, 33).numpy() // 2
    score = tiny_detector.score(np.concatenate([dark, bright])).pred_score
    lenient = calibrate(score.max() + np.array([1, 2]), 0.4)
    strict = calibrate(score.min() - np.array([2, 1]), 0.4)
    edge = float(luminances(np.concatenate([dark, bright])).mean())
    levels = CalibrationGroups((edge,), (lenient, strict))
    detector = replace(tiny_detector, light_levels=levels)
    pictures = [image[0].transpose(1, 2, 0) for image in (dark, bright)]

    rows = predict_encoded(detector, [as_text(encode(each, "PNG")) for each in pictures], "1")

    assert [row.pred_label for row in rows] == [False, True]
    assert [row.image_threshold for row in rows] == [
        lenient.image_threshold,
        strict.image_threshold,
    ]
    assert [row.p_value for row in rows] == pytest.approx([1, 1 / 3])


@pytest.fixture
def decoded_at_once(monkeypatch):
    """The most pictures that are decoded at one moment, once two have had time to meet."""
    decode, lock, now, most = prediction.decode_to_size, threading.Lock(), [0], [0]
    monkeypatch.setattr(prediction, "thread_count", lambda: 4)

    def counted(*arguments):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return decode(*arguments)

    monkeypatch.setattr(prediction, "decode_to_size", counted)
    return most


def test_small_pictures_are_decoded_side_by_side(tiny_detector, encoded, decoded_at_once):
    """On as many threads as there are cores."""
    predict_encoded(tiny_detector, [encoded] * 8, "1")

    assert decoded_at_once == [4]


def test_who_is_shown_the_rows_can_end_it_soon(tiny_detector, encoded):
    """After sixteen pictures, such as where nobody waits for the answer any more."""
    seen = []

    def take(rows):
        seen.append(len(rows))
        raise TimeoutError

    with pytest.raises(TimeoutError):
        predict_encoded(tiny_detector, [encoded] * 40, "1", observe=take)

    assert seen == [16]


def test_large_pictures_are_decoded_one_by_one(
    tiny_detector, encoded, decoded_at_once, monkeypatch
):
    """So that a request takes the memory of one of them, also beside another request."""
    monkeypatch.setattr(prediction, "SIDE_BY_SIDE_PIXELS", 40 * 48 - 1)

    rows = predict_encoded(tiny_detector, [encoded] * 4, "1")

    assert decoded_at_once == [1]
    assert len({row.pred_score for row in rows}) == 1
