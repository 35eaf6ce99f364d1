"""MLflow's scoring server with a detector in it: limits, a token, clear refusals, counts."""

import asyncio
import base64
import json
import re
import shutil
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import mlflow
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server

from mlflow_models import flavor

GRAFANA = Path(__file__).parents[2] / "docs" / "grafana-serving.json"
TOKEN = "a-token-of-ours"
SERVER = "mlflow.pyfunc.scoring_server.app"


@pytest.fixture(scope="module")
def encoded(encode, make_normal):
    """A normal picture as base64."""
    return base64.b64encode(encode(make_normal(1, 5)[0].permute(1, 2, 0).numpy(), "PNG")).decode()


@pytest.fixture
def start(tiny_detector, tmp_path, monkeypatch):
    """Starts MLflow's application on a saved detector, as `mlflow models serve` does."""
    flavor.save_model(tiny_detector, str(tmp_path / "model"))
    monkeypatch.setitem(sys.modules, SERVER, sys)

    def begin(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        import prometheus_client

        registry = prometheus_client.CollectorRegistry()
        monkeypatch.setattr(prometheus_client, "REGISTRY", registry)
        for kind in ("Counter", "Histogram"):
            plain = getattr(prometheus_client, kind)
            monkeypatch.setattr(
                prometheus_client,
                kind,
                lambda *args, plain=plain, **options: plain(*args, **options, registry=registry),
            )
        return scoring_server.init(mlflow.pyfunc.load_model(str(tmp_path / "model")))

    return begin


def ask(app, content=None, path="/invocations", **headers):
    """One request; its status and what came back."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    head = {"Content-Type": "application/json"} | headers

    async def call():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://serving") as client:
            if content is None:
                return await client.get(path, headers=headers)
            return await client.post(path, content=body, headers=head)

    return asyncio.run(call())


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


ROW = {"image": "?"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"{", "the body must be JSON in UTF-8; it breaks", id="cut off"),
        pytest.param(b"\xff\xfe", "the body must be JSON in UTF-8", id="no UTF-8"),
        pytest.param(b"[" * 1000, "the body must be JSON in UTF-8", id="nested too deep"),
        pytest.param([], "the body must be a JSON object", id="a list"),
        pytest.param({}, "the body must have one of dataframe_records", id="empty"),
        pytest.param({"messages": [ROW]}, "the body has 1 keys that mean nothing", id="a chat"),
        pytest.param({"dataframe_records": ROW}, "must be a list of rows", id="no list"),
        pytest.param({"dataframe_records": []}, "there must be at least one row", id="no row"),
        pytest.param({"instances": ["?"]}, "each row must be a JSON object; row 0", id="no object"),
        pytest.param(
            {"dataframe_records": [{"picture": "SECRET"}]},
            "each row must have the column 'image'; row 0 has none",
            id="another column",
        ),
        pytest.param(
            {"dataframe_split": {"columns": ["x"], "data": [["?"]]}},
            "dataframe_split must have the column 'image'",
            id="another column, split",
        ),
        pytest.param({"inputs": "SECRET"}, "inputs must be lists of base64", id="inputs"),
        pytest.param(
            {"dataframe_records": [ROW], "params": {"threshold": -3}},
            "threshold must be a number above 0",
            id="threshold below 0",
        ),
        pytest.param(
            {"dataframe_records": [ROW], "params": {"anomaly_map": "SECRET"}},
            "params.anomaly_map must be true or false",
            id="no flag",
        ),
        pytest.param(
            {"dataframe_records": [ROW], "params": []}, "params must be a JSON", id="no params"
        ),
        pytest.param(
            b'{"dataframe_records": [{"image": "?"}], "par\\u0061ms": {"SECRET": 1}}',
            "params must have no names but",
            id="a parameter in other letters",
        ),
        pytest.param(
            {"dataframe_records": [ROW], "params": {"SECRET": 0.5, "regions": True}},
            "params must have no names but anomaly_map, overlay, regions",
            id="a parameter that means nothing",
        ),
        pytest.param(
            {"dataframe_records": [ROW], "params": {"threshold": 10**400}},
            "threshold must be a number above 0",
            id="a number too large",
        ),
        pytest.param(
            {"dataframe_records": [{"image": "?", "reference": 12345678901234567}]},
            "the column 'reference' must be text; in row 0 it is",
            id="a reference that is a number",
        ),
        pytest.param(
            {"dataframe_records": [{"image": "?", "reference": "\ud800"}]},
            "the column 'reference' must be text; in row 0 it is",
            id="half a character",
        ),
        pytest.param(
            {"instances": [ROW, {**ROW, "reference": "SECRET"}]},
            "all rows of instances must have the same columns; row 1 has others",
            id="uneven rows",
        ),
        pytest.param(
            {"messages": [], "dataframe_records": [ROW]}, "1 keys that mean nothing", id="a key"
        ),
        pytest.param(
            {"dataframe_records": [ROW], "parms": {"threshold": 3}},
            "1 keys that mean nothing",
            id="a mistyped key",
        ),
        pytest.param(
            json.dumps({"dataframe_records": [ROW], "params": {"SECRET": 3}}).encode("utf-16"),
            "params must have no names but",
            id="a parameter in UTF-16",
        ),
        pytest.param(
            b'{"dataframe_records":[' + b"[]," * 20_000 + b"[]]}",
            "it has far more values",
            id="far too many values",
        ),
        pytest.param(
            {"dataframe_records": [ROW] * 3},
            "at most 2 rows; got 3: send them in several requests",
            id="too many rows",
        ),
    ],
)
def test_a_wrong_request_is_refused_in_one_sentence(start, content, sentence):
    """A 400 with what is wrong, without a trace, and without what came."""
    answer = ask(start(RECONAD_MAX_ROWS="2"), content)

    assert answer.status_code == 400
    assert [*answer.json()] == ["error_code", "message"]
    assert sentence in answer.json()["message"]
    assert "Traceback" not in answer.text
    assert "SECRET" not in answer.text


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        pytest.param("image/png", "Content-Type must be application/json", id="a picture"),
        pytest.param("", "Content-Type must be application/json", id="none"),
        pytest.param("application/json; charset=latin1", "no charset but utf-8", id="charset"),
        pytest.param("text/csv", "Content-Type must be application/json", id="CSV"),
        pytest.param(
            "application/vnd.apache.parquet", "Content-Type must be application/json", id="Parquet"
        ),
    ],
)
def test_another_kind_of_content_is_refused(start, kind, sentence):
    """The header is named where it is at fault."""
    answer = ask(start(), b"SECRET", **{"Content-Type": kind})

    assert answer.status_code == 400
    assert sentence in answer.json()["message"]
    assert "SECRET" not in answer.text


@pytest.mark.parametrize(
    "kind", ["Application/JSON", 'application/json; charset="UTF-8"', "application/json; a=b"]
)
def test_json_is_taken_however_it_is_called(start, encoded, kind):
    """The standard leaves case, quotes and further options to the client."""
    body = json.dumps({"dataframe_records": [{"image": encoded}]}).encode()

    assert ask(start(), body, **{"Content-Type": kind}).status_code == 200


def test_a_parameter_that_is_null_is_as_if_it_were_left_out(start, encoded):
    """Clients write so what is not set."""
    body = {"dataframe_records": [{"image": encoded}], "params": {"overlay": None, "regions": None}}

    (row,) = ask(start(), body).json()["predictions"]

    assert row.keys().isdisjoint({"overlay", "regions_found"})


def test_a_large_body_is_refused_before_it_is_read(start):
    """Neither a stated length nor one that goes on is read to its end."""
    app = start(RECONAD_MAX_BODY_MB="0.001")

    assert ask(app, b"x" * 1001).status_code == 413
    answer = ask(app, b"x" * 5000, **{"Content-Length": "3"})

    assert answer.status_code == 413
    assert "at most 0.001 MB: send fewer pictures at once" in answer.json()["message"]


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


def test_other_methods_are_refused(start):
    """What is asked for by GET is not by POST, nor the other way round."""
    app = start()

    assert ask(app, path="/invocations").status_code == 405
    assert ask(app, {}, path="/ready").status_code == 405
    assert ask(app, {}, path="/metrics").status_code == 405


def test_a_model_loaded_elsewhere_is_plain(tiny_detector, tmp_path, encoded):
    """In a notebook no limit holds, and nothing is followed."""
    flavor.save_model(tiny_detector, str(tmp_path / "model"))

    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))

    assert len(served.predict(pd.DataFrame({"image": ["?"] * 300}))) == 300
