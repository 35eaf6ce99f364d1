"""What a server takes as a request, and what it refuses in one clear sentence."""

import json

import pytest

from tests.scoring_app import *  # noqa: F403  its fixtures
from tests.scoring_app import ask

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


def test_other_methods_are_refused(start):
    """What is asked for by GET is not by POST, nor the other way round."""
    app = start()

    assert ask(app, path="/invocations").status_code == 405
    assert ask(app, {}, path="/ready").status_code == 405
    assert ask(app, {}, path="/metrics").status_code == 405
