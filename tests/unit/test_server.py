"""MLflow's address: no password in it, and the server is asked with it all the same."""

import base64
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mlflow_models.server import hide_password

SECRET = "http://me:p%40ss@mlflow:5000/base"


@pytest.mark.parametrize(
    ("environment", "quiet"),
    [
        pytest.param(
            {"MLFLOW_TRACKING_URI": SECRET, "MLFLOW_TRACKING_PASSWORD": "older"},
            {
                "MLFLOW_TRACKING_URI": "http://mlflow:5000/base",
                "MLFLOW_TRACKING_USERNAME": "me",
                "MLFLOW_TRACKING_PASSWORD": "p@ss",
            },
            id="what the address says counts, as before",
        ),
        pytest.param({}, {}, id="no address"),
        pytest.param(
            {"MLFLOW_TRACKING_URI": "https://mlflow", "MLFLOW_TRACKING_USERNAME": "me"},
            {"MLFLOW_TRACKING_URI": "https://mlflow", "MLFLOW_TRACKING_USERNAME": "me"},
            id="no password",
        ),
        pytest.param(
            {"MLFLOW_TRACKING_URI": "postgresql://me:pass@db/mlflow"},
            {"MLFLOW_TRACKING_URI": "postgresql://me:pass@db/mlflow"},
            id="a database, which has no other place for it",
        ),
        pytest.param(
            {"MLFLOW_TRACKING_URI": "http://[::1"},
            {"MLFLOW_TRACKING_URI": "http://[::1"},
            id="no address at all, left to MLflow",
        ),
    ],
)
def test_password_leaves_the_address(environment, quiet):
    """It moves to MLflow's own variables."""
    hide_password(environment)

    assert environment == quiet


def test_import_hides_the_password():
    """Whatever of ours speaks with MLflow, nobody has to remember it."""
    shown = subprocess.run(
        [sys.executable, "-c", "import mlflow_models, mlflow; print(mlflow.get_tracking_uri())"],
        env=os.environ | {"MLFLOW_TRACKING_URI": SECRET},
        capture_output=True,
        check=True,
        text=True,
    )

    assert shown.stdout.strip() == "http://mlflow:5000/base"


@pytest.fixture
def asked():
    """A server that knows no model, its port, and what it was asked with."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers["Authorization"])
            content = json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"})
            self.send_response(404)
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *line):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, seen
    server.shutdown()
    server.server_close()


def test_the_server_is_still_asked_with_the_password(asked, monkeypatch):
    """MLflow sends what was moved, with signs that an address has to write otherwise."""
    port, seen = asked
    moved = {"MLFLOW_TRACKING_URI": f"http://me:p%40ss@127.0.0.1:{port}"}
    hide_password(moved)
    for name, value in moved.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(MlflowException, match="none"):
        MlflowClient(moved["MLFLOW_TRACKING_URI"]).get_registered_model("reconad-screw")

    (header,) = seen
    assert base64.b64decode(header.removeprefix("Basic ")) == b"me:p@ss"
