"""A server of two processes, and one that may not ask the registry."""

import base64
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import mlflow
import psutil
import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils

from benchmarks.servers import mlflow_server, scoring_server
from flows.platform.processes import LOOPBACK
from mlflow_models import flavor
from reconad_plugin.detector.detector import Detector

NAME = "reconad-twice"
FEW_REQUESTS = 40  # more than one worker answers all of them by chance
WORKER = "from multiprocessing.spawn import spawn_main"
PATIENCE_S = 60


@dataclass(frozen=True)
class Registry:
    """An MLflow server with two versions, which can be taken away."""

    thresholds: dict[str, float]  # version -> its own
    take_away: Callable[[], None]


@pytest.fixture
def registry(
    tiny_detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Registry]:
    """Two versions with thresholds of their own; the first is champion."""
    monkeypatch.setattr(utils, "_tracking_uri", None)  # so that both are as before afterwards
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    with ExitStack() as server:
        server.enter_context(mlflow_server(tmp_path))
        own = tiny_detector.calibration
        other = replace(own, image_threshold=2 * own.image_threshold)
        for calibration in (own, other):
            with mlflow.start_run(experiment_id="0"):  # not that of a test before
                detector = replace(tiny_detector, calibration=calibration)
                flavor.log_model(detector, registered_model_name=NAME)
        MlflowClient().set_registered_model_alias(NAME, "champion", "1")
        thresholds = {"1": own.image_threshold, "2": other.image_threshold}
        yield Registry(thresholds, server.close)


@pytest.fixture
def body(encode: Callable[..., bytes], make_normal: Callable) -> bytes:
    picture = encode(make_normal(1, 5)[0].permute(1, 2, 0).numpy(), "PNG")
    records = [{"image": base64.b64encode(picture).decode()}]
    return json.dumps({"dataframe_records": records}).encode()


def ask(port: int, body: bytes) -> dict:
    """One request by a connection of its own, which any worker may take."""
    request = urllib.request.Request(
        f"http://{LOOPBACK}:{port}/invocations", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())["predictions"][0]


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def count_of(port: int, figure: str) -> float:
    """A figure of /metrics, over all its labels."""
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(figure))


def workers_of(server: int) -> set[int]:
    found = set()
    for each in psutil.Process(server).children(recursive=True):
        with suppress(psutil.Error):  # one that has ended
            if any(WORKER in part for part in each.cmdline()):
                found.add(each.pid)
    return found


def test_two_workers_follow_count_and_survive_together(
    registry: Registry, body: bytes, tmp_path: Path
) -> None:
    """Begun with a version's number, they follow the alias of the variable: each answer names the
    version that gave it, and all are of the new one soon. What they count is counted together. One
    that is killed while the registry is away comes back with the version that served, and not with
    that of the start. One that cannot come back leaves the other to serve; where none
    is left the server ends."""
    log, asked = tmp_path / "serve.log", 0
    uri, environment = f"models:/{NAME}/1", {"RECONAD_FOLLOW": "champion", "TMPDIR": str(tmp_path)}
    with scoring_server(uri, log, 2, environment) as (process, port):
        wait_until(lambda: log.read_text().count(f"models:/{NAME}@champion is followed") == 2)

        MlflowClient().set_registered_model_alias(NAME, "champion", "2")
        newest = 0
        deadline_s = time.monotonic() + PATIENCE_S
        while newest < FEW_REQUESTS:
            answer, asked = ask(port, body), asked + 1
            assert answer["image_threshold"] == registry.thresholds[answer["model_version"]]
            newest = newest + 1 if answer["model_version"] == "2" else 0
            assert time.monotonic() < deadline_s

        assert count_of(port, 'reconad_requests_total{status="200"}') == asked
        assert count_of(port, "reconad_pictures_total") == asked

        registry.take_away()
        before = workers_of(process.pid)
        assert len(before) == 2
        psutil.Process(min(before)).kill()
        wait_until(lambda: len(workers_of(process.pid) - before) == 1)
        wait_until(lambda: log.read_text().count(f"models:/{NAME}@champion is followed") == 3)
        for _ in range(FEW_REQUESTS):
            assert ask(port, body)["model_version"] == "2"
        (left,) = workers_of(process.pid) & before

        (kept,) = tmp_path.glob("reconad-serving-*/*/version-2")
        (kept / flavor.DATA_FOLDER / "detector.json").unlink()
        (killed,) = workers_of(process.pid) - before
        psutil.Process(killed).kill()
        wait_until(lambda: "reconad: the server cannot start: " in log.read_text())
        for _ in range(FEW_REQUESTS):
            assert ask(port, body)["model_version"] == "2"
        assert left in workers_of(process.pid)
        assert process.poll() is None

        psutil.Process(left).kill()
        wait_until(lambda: process.poll() is not None)


def test_a_server_that_may_not_ask_the_registry_says_so_and_serves(
    registry: Registry, body: bytes, tmp_path: Path
) -> None:
    """As in a container without credentials: one line in the log, at the start."""
    folder = mlflow.artifacts.download_artifacts(f"models:/{NAME}/2", dst_path=str(tmp_path / "2"))
    log = tmp_path / "serve.log"
    with refusing_registry() as url:
        environment = {"RECONAD_FOLLOW": "champion", "MLFLOW_TRACKING_URI": url}
        with scoring_server(folder, log, 1, environment) as (_, port):
            answer = ask(port, body)
            with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/ready", timeout=5) as ready:
                assert ready.status == 200  # it serves what it was told to
            time.sleep(3)

    assert answer["model_version"] == "2"
    said = log.read_text()
    (line,) = re.findall(r"^reconad: models:/reconad-twice@champion cannot be .*$", said, re.M)
    assert "version 2 stays: " in line
    assert "401" in line
    assert "Traceback" not in said


@contextmanager
def refusing_registry() -> Iterator[str]:
    """An MLflow that knows nobody; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *values: object) -> None:
            pass

    listening = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{listening.server_port}"
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
