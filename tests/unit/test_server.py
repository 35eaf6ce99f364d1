"""MLflow's address: no password in it, and the server is asked with it all the same."""

import base64
import errno
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mlflow_models import flavor, registry
from mlflow_models.flavor import load_model
from mlflow_models.password import hide_password
from mlflow_models.server import outage
from mlflow_models.tracking import check_ready
from reconad_plugin.errors import ConfigError, ModelFormatError, PlatformError

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


@pytest.fixture
def answer(monkeypatch):
    """Lets MLflow's server answer everything with a status and a body."""
    said = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(said["status"])
            self.end_headers()
            self.wfile.write(said["body"].encode())

        def do_POST(self):
            self.do_GET()

        def log_message(self, *_):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # loopback goes past it
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{server.server_port}")
    yield said.update
    server.shutdown()
    thread.join()
    server.server_close()


REFUSED = "MLflow at 127.0.0.1 refuses: "


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        pytest.param(401, "Who are you?", "MLFLOW_TRACKING_TOKEN", id="nobody known"),
        pytest.param(403, "Invalid Host header", "MLFLOW_SERVER_ALLOWED_HOSTS", id="host"),
        pytest.param(404, "<html>no page</html>", "correct MLFLOW_TRACKING_URI", id="no MLflow"),
        pytest.param(200, "<html>Sign in</html>", "<html>Sign in</html>", id="a login page"),
        pytest.param(500, "oops", "see the server's log", id="its own failure"),
        pytest.param(500, "x" * 5000, "see the server's log", id="a long page"),
    ],
)
def test_what_a_server_says_is_one_line_with_what_to_do(answer, status, body, words):
    """By status and type, and never with the password of the address."""
    answer(status=status, body=body)

    for ask in (lambda: registry.versions("screw"), lambda: check_ready("screw")):
        with pytest.raises(PlatformError) as caught:
            ask()
        said = str(caught.value)
        assert said.startswith(REFUSED)
        assert words in said
        assert "secret" not in said
        assert len(said) < 600


def test_what_only_the_caller_can_judge_is_no_outage(answer):
    """A wrong argument stays one, also where the server speaks of an exception."""
    content = {"error_code": "INVALID_PARAMETER_VALUE", "message": "API request: exception"}
    answer(status=400, body=json.dumps(content))

    with pytest.raises(ConfigError, match="a model URI must lead to a model"):
        load_model("models:/reconad-screw/1")


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        pytest.param("", "got '': it is empty", id="empty"),
        pytest.param("models:/caf\udce9/1", "or no text", id="bytes that are no text"),
        pytest.param("models:/", "Not a proper models:/ URI", id="no name"),
        pytest.param("foo", "No such artifact: 'foo'", id="a file that is not there"),
        pytest.param("s3://foo", "got 's3://foo': Unable to locate cred", id="no credentials"),
        pytest.param("http://127.0.0.1:9/x", "got 'http://127.0.0.1:9/x': ", id="no server"),
        pytest.param("http://[bad/x", "Invalid IPv6 URL", id="no address"),
        pytest.param("nfs://foo/x", "repository for: nfs://foo", id="unknown scheme"),
    ],
)
def test_what_leads_to_no_model_is_one_line_with_the_reason(
    mlflow_in_a_file, monkeypatch, uri, why
):
    """Whatever the store behind it raises."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)

    with pytest.raises(ConfigError, match=r"^a model URI must lead to a model, such") as caught:
        load_model(uri)

    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_no_wrong_address(mlflow_in_a_file, monkeypatch):
    """A command ends with 1."""

    def fail(uri, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(flavor, "_download_artifact_from_uri", fail)

    with pytest.raises(OSError, match="No space left"):
        load_model("models:/reconad-screw/1")


def test_a_folder_that_is_no_detector_is_named_as_it_was_given(tmp_path):
    """And not by the place that it was copied to."""
    with pytest.raises(ModelFormatError, match=f"; {tmp_path} has none"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        pytest.param("sqlite:///{file}", "file is not a database", id="no database"),
        pytest.param("nosql://me:secret@db/x", "nosql", id="unknown scheme"),
        pytest.param("http://[bad", "MLflow at MLFLOW_TRACKING_URI refuses: Inv", id="no address"),
        pytest.param("mssql://me:secret@db/x", "correct MLFLOW_TRACKING_URI, or", id="no driver"),
    ],
)
def test_an_address_that_leads_to_no_mlflow_is_one_line(tmp_path, monkeypatch, address, said):
    """Whoever opens it, and without its password."""
    (tmp_path / "no.db").write_text("a text, and no database at all")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.format(file=tmp_path / "no.db"))
    asked = (
        lambda: check_ready("screw"),
        lambda: load_model("models:/reconad-screw/1"),
        lambda: registry.versions("screw"),
    )

    for ask in asked:
        with pytest.raises(PlatformError, match=r"^MLflow at .* refuses: ") as caught:
            ask()
        assert said in str(caught.value)
        assert "secret" not in str(caught.value)


def test_databricks_has_a_name(monkeypatch):
    """Its address has no host."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")

    assert "MLflow at databricks refuses: no" in str(outage(MlflowException("no")))


def test_a_training_logs_to_a_run_of_its_own(mlflow_in_a_file, monkeypatch):
    """Whatever run the shell names; and what was tried before the training leaves no trace."""
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)

    check_ready("screw")

    experiment = mlflow.get_experiment_by_name("reconad/screw")
    assert MlflowClient().search_runs([experiment.experiment_id]) == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(
            lambda client: client.delete_experiment(client.create_experiment("reconad/screw")),
            "You can restore the experiment",
            id="an experiment that somebody deleted",
        ),
        pytest.param(
            lambda client: client.create_experiment("reconad/screw", "/proc/none/files"),
            "/proc/none",
            id="a place for files that this machine has not",
        ),
        pytest.param(
            lambda client: client.create_experiment("reconad/screw", "gs://nowhere/files"),
            "No module named",
            id="a place for files that needs another library",
        ),
    ],
)
def test_what_would_fail_after_a_training_fails_before(mlflow_in_a_file, spoil, words):
    """In one line."""
    spoil(MlflowClient())

    with pytest.raises(PlatformError, match=r"needs? (an|the) experiment") as caught:
        check_ready("screw")

    assert words in str(caught.value)
