"""An MLflow server with a SQLite database of its own, for a benchmark that needs a registry."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow

from flows.platform.processes import LOOPBACK, answers, end_processes, free_ports


@contextmanager
def mlflow_server(folder: Path, port: int | None = None) -> Iterator[int]:
    """Start it in a folder, on a port if one is given, and make it this process's; its port."""
    port = free_ports(1)[0] if port is None else port
    url = f"http://{LOOPBACK}:{port}"
    with (folder / "mlflow.log").open("ab") as log:
        server = subprocess.Popen(
            [
                str(Path(sys.executable).parent / "mlflow"), "server",
                "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
                "--artifacts-destination", str(folder / "artifacts"),
                "--host", LOOPBACK, "--port", str(port), "--workers", "1",
            ],
            stdout=log,
            stderr=log,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )  # fmt: skip
    try:
        deadline_s = time.monotonic() + 120
        while not answers(f"{url}/health"):
            if server.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"MLflow must answer: {(folder / 'mlflow.log').read_text()}")
            time.sleep(0.2)
        mlflow.set_tracking_uri(url)
        yield port
    finally:
        end_processes([server])
