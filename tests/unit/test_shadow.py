"""A version that sees some of the pictures, for the log and the gate alone."""

from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from mlflow_models.serving.answered import Answered, describe
from mlflow_models.serving.shadow import Shadow
from mlflow_models.serving.start import Origin, serve
from mlflow_models.serving.version import ServedVersion
from reconad_plugin.detector import prediction
from reconad_plugin.detector.prediction import predict_contents
from reconad_plugin.errors import ConfigError
from reconad_plugin.gate.judge import judge
from reconad_plugin.gate.rules import LivePictures
from reconad_plugin.ledger.served import read_shadowed, served_nights
from tests.fake_s3 import FakeS3, store_of
from tests.judged import BETTER, CHAMPION, LABELS, TARGET_FPR, check_of, failed
from tests.served import NOON, served_row
from tests.unit.test_served import LAYOUT, part_of


@pytest.fixture
def contents(encode, make_normal):
    """Forty picture files."""
    pictures = make_normal(40, 7).permute(0, 2, 3, 1).numpy()
    return [encode(picture, "PNG") for picture in pictures]


@pytest.fixture
def answered(tiny_detector, contents):
    """What the champion, version 1, said of them."""
    seen = []
    reads = [lambda content=content: content for content in contents]
    predict_contents(tiny_detector, reads, "1", observe=seen.extend)
    return [Answered(row, tiny_detector, NOON, 5.0, None, 0.0) for row in seen]


def test_what_a_shadow_would_have_said_stands_beside_the_answer(tiny_detector, answered):
    """Its number, score and label; the answer is the champion's."""
    strict = tiny_detector.held_against(1e-9)
    shadow = Shadow(1.0, (), ServedVersion(strict, "2"))

    row = describe(answered[0], keeps_picture=False, is_in_time=True, shadow=shadow)

    assert (row.model_version, row.pred_label) == ("1", False)
    assert (row.shadow_version, row.shadow_label) == ("2", True)
    assert row.shadow_score == pytest.approx(row.pred_score)


def test_a_share_of_the_pictures_is_seen_and_the_same_by_all(tiny_detector, answered):
    """Contents decide; without a version nothing is seen."""
    first, second = (Shadow(0.4, (), ServedVersion(tiny_detector, "2")) for _ in range(2))

    rows = [
        [describe(each, False, True, shadow).shadow_version for each in answered]
        for shadow in (first, second)
    ]

    assert rows[0] == rows[1]
    assert 8 <= rows[0].count("2") <= 24
    first.drop()
    assert first.served is None
    assert describe(answered[0], False, True, first).shadow_version is None


def test_the_gate_reads_what_both_said_of_some_nights():
    """Of the two versions alone, each content once, and rows of both labels only."""
    seen = {"shadow_version": "4", "shadow_score": 0.5}
    rows = [
        served_row(0, **seen, shadow_label=True),
        served_row(1, **seen, shadow_label=False),
        replace(served_row(2, **seen, shadow_label=True), sha256="bytes of 0"),
        served_row(3, **seen | {"shadow_version": "5"}, shadow_label=True),
        served_row(4, model_version="2", **seen, shadow_label=True),
        served_row(5),
        served_row(6, **seen, shadow_label=None),
    ]
    older = NOON.date().replace(day=1)
    objects = {
        LAYOUT.served_part(NOON.date(), "w-000001"): part_of(*rows),
        LAYOUT.served_part(older, "w-000001"): part_of(served_row(7, **seen, shadow_label=True)),
    }
    store = store_of(FakeS3(objects))

    assert served_nights(store, LAYOUT) == [older, NOON.date()]
    found = read_shadowed(store, LAYOUT, "3", "4", [NOON.date()])

    assert found.to_dict("list") == {
        "pred_label": [False, False],
        "shadow_label": [True, False],
    }
    assert read_shadowed(store_of(FakeS3({})), LAYOUT, "3", "4", []).empty


@pytest.mark.parametrize(
    ("more", "less", "is_passed"),
    [
        pytest.param(12, 1, False, id="flags far more"),
        pytest.param(4, 1, True, id="a few more may be chance"),
        pytest.param(0, 9, True, id="flags fewer"),
        pytest.param(0, 0, True, id="alike"),
    ],
)
def test_a_challenger_that_flags_more_of_what_was_served_is_refused(more, less, is_passed):
    """A version that is better by the golden set is kept out by the line itself."""
    challenger, champion = np.zeros(200, bool), np.zeros(200, bool)
    challenger[:more] = champion[50 : 50 + less] = True

    found = judge(BETTER, CHAMPION, LABELS, TARGET_FPR, 0, LivePictures(challenger, champion))

    assert failed(found) == ([] if is_passed else ["live_alarms"])
    sentence = check_of(found, "live_alarms").sentence
    assert f"of 200 pictures that it saw as a shadow, {more} lie" in sentence


def test_a_shadow_needs_the_log(tiny_detector, monkeypatch):
    """What it says would stand nowhere."""
    monkeypatch.setenv("RECONAD_FOLLOW", "off")
    monkeypatch.setenv("RECONAD_SHADOW", "challenger")
    monkeypatch.delenv("RECONAD_PREDICTION_LOG", raising=False)
    version = ServedVersion(tiny_detector, "1")
    origin = Origin("reconad-gear", (), lambda path: version, lambda uri, folder: None)

    with pytest.raises(ConfigError, match="RECONAD_SHADOW needs RECONAD_PREDICTION_LOG"):
        serve(Path("model"), origin)


def test_a_shadow_that_fails_costs_no_row(tiny_detector, answered, caplog):
    """What was answered stands in the log, and why nothing stands beside it is said once."""

    class Broken:
        name = "torch"

        def score(self, *args: object) -> None:
            raise RuntimeError("out of memory")

    shadow = Shadow(1.0, (), ServedVersion(replace(tiny_detector, engine=Broken()), "2"))

    rows = [describe(each, False, True, shadow) for each in answered[:3]]

    assert [row.model_version for row in rows] == ["1"] * 3
    assert [row.shadow_version for row in rows] == [None] * 3
    assert caplog.text.count("version 2 fails as a shadow: RuntimeError('out of memory')") == 1


def test_no_request_waits_for_a_shadow(tiny_detector, contents, monkeypatch):
    """Nor does a shadow for requests, one of which has a large picture in memory here."""
    monkeypatch.setattr(prediction, "SIDE_BY_SIDE_PIXELS", 1)
    shadow = Shadow(1.0, (), ServedVersion(tiny_detector, "2"))
    seen = []
    look = Thread(target=lambda: seen.append(shadow.look(contents[0], "0" * 64, None)), daemon=True)

    with prediction.turn_of(contents[0]):
        look.start()
        look.join(60)

    assert [row.error for row in seen] == [None]
