"""Counts and latencies of a server, in Prometheus' format, and whether it is ready."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypedDict

from mlflow_models.serving.pyfunc import DetectorPyfunc, RequestNotes

LATENCIES_S: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
OK: Final = 200
FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


class ServingState(TypedDict):
    """What is answered to who asks whether the server is ready."""

    ready: bool  # whether the version answers that should
    model_version: str  # number of the one that does


class Figures:
    """What is counted of all workers of a server."""

    def __init__(
        self, pyfunc: DetectorPyfunc, shared: Path | None, is_up_to_date: Callable[[], bool]
    ) -> None:
        """Args:
        pyfunc: what answers.
        shared: a folder of all workers of a server, which count together; None for the only one.
        is_up_to_date: whether the version that should serve does.
        """
        if shared is not None and FOLDER_VARIABLE not in os.environ:
            counts = shared / "counts"
            counts.mkdir(exist_ok=True)
            os.environ[FOLDER_VARIABLE] = str(counts)  # read when the package is imported
        import prometheus_client as prometheus

        self._pyfunc, self._is_up_to_date, self._prometheus = pyfunc, is_up_to_date, prometheus
        self._requests = prometheus.Counter(
            "reconad_requests", "Requests by the status of their answer", ["status"]
        )
        self._seconds = prometheus.Histogram(
            "reconad_request_seconds", "Seconds a request", buckets=LATENCIES_S
        )
        self._pictures = prometheus.Counter(
            "reconad_pictures", "Pictures by version and what was said", ["version", "label"]
        )
        self._logged_rows = prometheus.Counter(
            "reconad_logged_rows", "Rows of the prediction log by what became of them", ["outcome"]
        )
        for status in ("200", "400"):
            self._requests.labels(status)

    def count(self, status: int, notes: RequestNotes, seconds: float | None = None) -> None:
        """Count a request, with its seconds unless nothing was read of it, and, where it was
        answered, the pictures in it."""
        self._requests.labels(str(status)).inc()
        if seconds is not None:
            self._seconds.observe(seconds)
        for row in notes.predictions if status == OK else ():
            label = {True: "anomalous", False: "normal", None: "unreadable"}[row.pred_label]
            self._pictures.labels(row.model_version, label).inc()

    def count_logged(self, outcome: str, rows: int) -> None:
        """Count rows of the prediction log by what became of them."""
        self._logged_rows.labels(outcome).inc(rows)

    def state(self) -> ServingState:
        """Return what serves now."""
        return {"ready": self._is_up_to_date(), "model_version": self._pyfunc.number}

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format, those of all workers together."""
        registry = self._prometheus.REGISTRY
        if FOLDER_VARIABLE in os.environ:
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = self._prometheus.CollectorRegistry()
            MultiProcessCollector(registry)
        state = self.state()
        own = (
            "# HELP reconad_ready Whether the version that should serve does, in this worker\n"
            "# TYPE reconad_ready gauge\n"
            f'reconad_ready{{version="{state["model_version"]}"}} {int(state["ready"])}\n'
        )
        return bytes(self._prometheus.generate_latest(registry)) + own.encode()
