"""Servers for benchmarks: MLflow with a SQLite database of its own, and a model that is served."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import mlflow

from flows.platform.processes import LOOPBACK, answers, end_processes, free_ports

START_TIMEOUT_S = 120
COMMANDS = Path(sys.executable).parent


@contextmanager
def running(
    command: Sequence[str], health: str, log: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of this Python's environment until its address answers, and end it after.

    Raises:
        RuntimeError: it ends, or does not answer in time.
    """
    with log.open("ab") as file:
        server = subprocess.Popen(
            [str(COMMANDS / command[0]), *command[1:]],
            stdout=file,
            stderr=file,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not answers(health):
            if server.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"{command[0]} must answer at {health}: {log.read_text()}")
            time.sleep(0.2)
        yield server
    finally:
        end_processes([server])


@contextmanager
def mlflow_server(folder: Path, port: int | None = None) -> Iterator[int]:
    """Start MLflow in a folder, on a port if one is given, and make it this process's; its port."""
    port = free_ports(1)[0] if port is None else port
    url = f"http://{LOOPBACK}:{port}"
    command = ["mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with running(command, f"{url}/health", folder / "mlflow.log", environment):
        mlflow.set_tracking_uri(url)
        yield port


@contextmanager
def scoring_server(
    model_uri: str, log: Path, workers: int = 1, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Serve a model as people do; its process and its port."""
    (port,) = free_ports(1)
    command = ["mlflow", "models", "serve", "-m", model_uri, "--env-manager", "local"]
    path = os.pathsep.join([str(COMMANDS), os.environ.get("PATH", "")])  # MLflow starts uvicorn
    health = f"http://{LOOPBACK}:{port}/ping"
    command += ["--port", str(port), "--workers", str(workers)]
    with running(command, health, log, {"PATH": path, **(environment or {})}) as process:
        yield process, port
