"""MLflow's scoring server with a detector in it: what it answers, a token, counts, and failures."""

import asyncio
import base64
import re
import shutil
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pandas as pd
import pytest

from mlflow_models import flavor
from tests.scoring_app import *  # noqa: F403  its fixtures
from tests.scoring_app import ask

GRAFANA = Path(__file__).parents[2] / "docs" / "grafana-serving.json"
TOKEN = "a-token-of-ours"


def test_a_reference_comes_back_and_a_threshold_can_be_tried(start, encoded):
    """Rows keep their own ids; another threshold changes the label and nothing else."""
    app = start()
    rows = [{"image": encoded, "reference": "lot 7"}, {"image": encoded}]

    own = ask(app, {"dataframe_records": rows}).json()["predictions"]
    tried = ask(app, {"dataframe_records": rows, "params": {"threshold": 1e-9}}).json()

    assert [row["reference"] for row in own] == ["lot 7", None]
    assert not own[0]["pred_label"]
    assert tried["predictions"][0] == own[0] | {"pred_label": True, "image_threshold": 1e-9}


def test_an_overlay_is_drawn_where_it_is_asked_for(start, encoded):
    """A PNG for each picture that could be read, and no map but where that is asked for too."""
    app, rows = start(), [{"image": encoded}, {"image": "?"}]

    for params, has_map in (
        ({"overlay": True}, False),
        ({"overlay": True, "anomaly_map": True}, True),
    ):
        drawn, broken = ask(app, {"dataframe_records": rows, "params": params}).json()[
            "predictions"
        ]
        assert base64.b64decode(drawn["overlay"]).startswith(b"\x89PNG")
        assert (drawn["anomaly_map"] is not None) is has_map
        assert broken["overlay"] is None


def test_a_token_is_asked_for(start, encoded):
    """Who has none learns whether the server is ready, and no more."""
    app, row = start(RECONAD_TOKEN=TOKEN), {"dataframe_records": [{"image": encoded}]}

    for wrong in (None, "Bearer another", TOKEN, f"Basic {TOKEN}"):
        answer = ask(app, row, **({} if wrong is None else {"Authorization": wrong}))
        assert answer.status_code == 401
        assert TOKEN not in answer.text
    assert ask(app, path="/metrics").status_code == 401
    assert ask(app, path="/ready").status_code == 200
    assert ask(app, row, Authorization=f"Bearer {TOKEN}").status_code == 200
    figures = ask(app, path="/metrics", Authorization=f"Bearer {TOKEN}").text
    assert 'reconad_requests_total{status="401"} 5.0' in figures
    assert "reconad_request_seconds_count 1.0" in figures  # of what was read


def test_a_request_that_breaks_off_is_none(start):
    """Nobody is there to be told what is wrong with it."""
    app, sent = start(), []
    begun = {"type": "http.request", "body": b'{"dataframe_records": []}', "more_body": True}
    messages = iter([begun, {"type": "http.disconnect"}])

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"999")]
    scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": headers}
    asyncio.run(app(scope, receive, send))

    assert sent == []
    assert "reconad_request_seconds_count 0.0" in ask(app, path="/metrics").text


def test_what_was_asked_is_counted(start, encoded):
    """Requests by status, pictures by version and label, and how long they took."""
    app = start()
    ask(app, {"dataframe_records": [{"image": encoded}, {"image": "?"}]})
    ask(app, b"{")

    text = ask(app, path="/metrics").text

    for line in (
        'reconad_requests_total{status="200"} 1.0',
        'reconad_requests_total{status="400"} 1.0',
        'reconad_pictures_total{label="normal",version="unregistered"} 1.0',
        'reconad_pictures_total{label="unreadable",version="unregistered"} 1.0',
        "reconad_request_seconds_count 2.0",
        'reconad_ready{version="unregistered"} 1',
    ):
        assert line in text
    named = set(re.findall(r"reconad_\w+", GRAFANA.read_text()))
    text = text.replace("\n# TYPE ", "\n")
    assert len(named) == 5
    assert [name for name in named if f"\n{name}" not in text] == []


def test_what_became_of_logged_rows_is_counted(start, encoded, tmp_path, monkeypatch):
    """Those of before the server listens, too; none is dropped here."""
    log = SimpleNamespace(
        observe=lambda *args: lambda rows: log.counted("offered", len(rows)),
        count_by=lambda counted: (setattr(log, "counted", counted), counted("dropped", 0)),
    )
    monkeypatch.setattr("mlflow_models.serving.start.open_log", lambda settings: log)
    app = start(RECONAD_PREDICTION_LOG="s3://factory/part")

    ask(app, {"dataframe_records": [{"image": encoded}] * 3})

    text = ask(app, path="/metrics").text
    assert 'reconad_logged_rows_total{outcome="offered"} 3.0' in text
    assert 'reconad_logged_rows_total{outcome="dropped"} 0.0' in text


def test_a_server_does_not_begin_with_a_version_that_fails_its_self_test(
    start, tiny_detector, make_normal, tmp_path, monkeypatch, capsys
):
    """Nobody would learn that its scores are not those of the training."""
    shutil.rmtree(tmp_path / "model")
    tested = tiny_detector.with_self_test(make_normal(1, 5)[0].numpy())
    for weight in tested.engine.network.parameters():
        weight.data.mul_(1.5)
    flavor.save_model(tested, str(tmp_path / "model"))

    monkeypatch.setattr("mlflow_models.serving.start.os._exit", sys.exit)

    with pytest.raises(SystemExit, match="2"):
        start()

    said = capsys.readouterr().err
    assert "reconad: the server cannot start: " in said
    assert "must score its self-test image as when" in said


def test_our_own_failure_is_no_fault_of_the_client(start, encoded, monkeypatch, caplog):
    """It is a 500 without a word of what failed, which the log has."""
    app = start()
    monkeypatch.setattr("mlflow_models.serving.pyfunc.to_table", None)

    answer = ask(app, {"dataframe_records": [{"image": encoded}]})

    assert answer.status_code == 500
    assert answer.json()["message"] == "the server could not answer this request: its log says why"
    assert encoded not in caplog.text
    assert "reconad_pictures_total{" not in ask(app, path="/metrics").text


def test_what_takes_too_long_is_not_counted_and_says_so(start, encoded, monkeypatch, caplog):
    """The answer comes after that time, whatever the server still works on; the pictures were not
    answered, and are not logged."""
    monkeypatch.setenv("MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT", "1")
    logged, over = [], threading.Event()
    log = SimpleNamespace(observe=lambda *args: logged.extend, count_by=lambda counted: None)
    monkeypatch.setattr("mlflow_models.serving.start.open_log", lambda settings: log)
    app = start(RECONAD_PREDICTION_LOG="s3://factory/part")

    def predict_late(*args):
        time.sleep(2.5)
        over.set()
        args[-1](["a row"])
        pytest.fail("nothing more is scored")

    monkeypatch.setattr("mlflow_models.serving.pyfunc.predict_encoded", predict_late)

    answer = ask(app, {"dataframe_records": [{"image": encoded}]})

    assert answer.status_code == 504
    assert answer.elapsed.total_seconds() < 2.4  # before the work is done
    assert "send fewer pictures at once" in answer.json()["message"]
    assert 'reconad_requests_total{status="504"} 1.0' in ask(app, path="/metrics").text
    assert over.wait(10)
    assert logged == []
    assert "nothing more is scored" not in caplog.text


def test_a_model_loaded_elsewhere_is_plain(tiny_detector, tmp_path, encoded):
    """In a notebook no limit holds, and nothing is followed."""
    flavor.save_model(tiny_detector, str(tmp_path / "model"))

    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))

    assert len(served.predict(pd.DataFrame({"image": ["?"] * 300}))) == 300
