"""The prediction log of a server: what was said of each picture, without a request that waits.

A request leaves what it answered in a queue in memory. One thread computes the rest and writes
rows to the local disk; another sends what lies there to the bucket. So neither a slow disk, nor a
bucket that does not answer, nor a bug here is felt by whoever asks.
"""

import logging
import os
import random
import secrets
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Final

import pyarrow as pa

from mlflow_models.serving.answered import Answered, describe
from mlflow_models.serving.log_settings import LogSettings
from mlflow_models.serving.shadow import Shadow
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.prediction import Observe, Observed
from reconad_plugin.ledger.served import SERVED_SCHEMA, ServedRow, to_part
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore
from reconad_plugin.store.spool import Spool, SpoolFile

OUTCOMES: Final = (
    "offered",
    "dropped",  # the queue was full
    "undescribed",  # there was no time for their features
    "lost",  # the disk was full or broken, or what the log has of them could not be computed
    "sent",
)
_PARQUET: Final = "application/vnd.apache.parquet"
_NICENESS: Final = 19  # of the threads, the most: requests go first
_MOST_TEXT: Final = 1_000  # characters of a client's name for a row
_FASTEST_S: Final = 0.01  # between two looks, while the process ends
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LogLimits:
    """How much is held back, and for how long."""

    queue_rows: int = 1_000  # that wait in memory; more are dropped
    queue_bytes: int = 256 * 2**20  # of their pictures and maps
    look_s: float = 1.0  # between two looks into the queue; what lies there is lost by a kill
    behind_s: float = 2.0  # a row that waited longer goes without what takes time to compute
    described_pixels: int = 20_000_000  # a larger picture, which takes seconds, goes without too
    part_s: float = 60.0  # the oldest row of a part waits as long until it is sent
    part_rows: int = 10_000
    part_bytes: int = 64 * 2**20
    spool_bytes: int = 2**30  # on the disk, while the bucket cannot be reached
    retry_s: tuple[float, float] = (1.0, 300.0)  # the first and the longest pause after a failure


DEFAULT_LIMITS: Final = LogLimits()


def _utc_now() -> datetime:
    return datetime.now(UTC)


class PredictionLog:
    """Takes what was answered and never keeps anybody waiting. Safe for many threads."""

    def __init__(
        self,
        settings: LogSettings,
        store: ObjectStore,
        limits: LogLimits = DEFAULT_LIMITS,
        now: Callable[[], datetime] = _utc_now,
        dice: random.Random | None = None,
    ) -> None:
        """Open the log, and start its threads.

        Raises:
            OSError: the spool cannot be written.
        """
        self._settings, self._store, self._limits, self._now = settings, store, limits, now
        self._layout = ProductLayout(settings.product)
        self._dice = dice or random.Random(secrets.randbits(64))  # noqa: S311  of pauses
        folder = settings.spool / settings.bucket / settings.product
        self._spool = Spool(folder, secrets.token_hex(8), SERVED_SCHEMA, limits.spool_bytes)
        self.shadow: Shadow | None = None  # a version that sees some of the pictures too
        self._queue: deque[Answered] = deque()
        self._queue_bytes = 0
        self._guard = threading.Lock()  # of the queue and the counts
        self._counts: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self._counted: Callable[[str, int], None] | None = None  # told of each count too
        self._said: set[str] = set()  # failures that the log of the server has already
        self._dropped_said = 0
        self._is_ending = threading.Event()  # all is written and sent at once from now on
        self._is_closed = threading.Event()
        self._end_s = float("inf")  # when a log that is closed tries no more
        self._describes_s = float("inf")  # when one that ends takes no more time for features
        self._sealed_s = time.monotonic()
        self._threads = [
            threading.Thread(target=each, name=f"prediction log {each.__name__}", daemon=True)
            for each in (self._write, self._send)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def counts(self) -> dict[str, int]:
        """Rows so far by what became of them, of ``OUTCOMES`` those that there were."""
        with self._guard:
            return dict(+self._counts)

    def count_by(self, counted: Callable[[str, int], None]) -> None:
        """Tell somebody of the counts too, those until now and each that is added."""
        with self._guard:
            for outcome, rows in self._counts.items():
                counted(outcome, rows)
            self._counted = counted

    def observe(self, detector: Detector, references: Sequence[object] | None = None) -> Observe:
        """Return what is shown the answers to one request, whose time runs from here.

        ``references`` are the client's own names of all its rows, if it gives some.
        """
        came, came_s = self._now(), time.perf_counter()
        names = chain(references or (), repeat(None))

        def take(rows: Sequence[Observed]) -> None:
            latency_ms = (time.perf_counter() - came_s) * 1000
            answered_s = time.monotonic()
            try:
                self.offer(
                    [
                        Answered(row, detector, came, latency_ms, _text(name), answered_s)
                        for row, name in zip(rows, names, strict=False)
                    ]
                )
            except Exception as error:  # a bug of ours must fail no request
                self._count("dropped", len(rows))
                self._say_once("taking", f"the prediction log cannot take rows: {error!r}")

        return take

    def offer(self, rows: Sequence[Answered]) -> None:
        """Take what fits into the queue; drop and count the others."""
        sizes, dropped = [row.size_bytes for row in rows], 0
        with self._guard:
            for row, size_bytes in zip(rows, sizes, strict=True):
                is_full = len(self._queue) >= self._limits.queue_rows
                if is_full or self._queue_bytes + size_bytes > self._limits.queue_bytes:
                    dropped += 1
                else:
                    self._queue.append(row)
                    self._queue_bytes += size_bytes
        self._count("offered", len(rows))
        self._count("dropped", dropped)

    def end_soon(self) -> None:
        """From now on write and send at once: the process is about to end."""
        ends_s = time.monotonic() + self._limits.behind_s
        self._describes_s = min(self._describes_s, ends_s)
        self._is_ending.set()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is in the queue, and send what can be sent in that time. What is left is sent
        by the next process. Nothing may be offered afterwards."""
        self._end_s = time.monotonic() + timeout_s
        self._is_closed.set()
        self.end_soon()
        for thread in self._threads:
            thread.join(max(0.0, self._end_s - time.monotonic()))

    def _write(self) -> None:
        """Queue to disk, until the log is closed."""
        _go_behind_requests()
        is_last = False
        while not is_last:
            self._wait(self._limits.look_s)
            is_last = self._is_closed.is_set()
            try:
                self._write_what_waits()
            except Exception as error:  # a bug of ours must not end the log, nor a request
                self._say_once("writing", f"the prediction log cannot write rows: {error!r}")
        self._spool.seal()

    def _write_what_waits(self) -> None:
        rows: list[ServedRow] = []
        written_s = time.monotonic()
        while (answered := self._next()) is not None:
            waited_s = time.monotonic() - answered.answered_s
            is_in_time = waited_s <= self._limits.behind_s and time.monotonic() < self._describes_s
            is_in_time = is_in_time and answered.pixels <= self._limits.described_pixels
            if not is_in_time:
                self._count("undescribed", 1)
            shadow = self.shadow if is_in_time else None
            try:
                rows.append(describe(answered, self._settings.keeps_pictures, is_in_time, shadow))
            except Exception as error:  # a bug of ours must cost no other row
                self._count("lost", 1)
                self._say_once("describing", f"the prediction log loses rows: {error!r}")
            if time.monotonic() - written_s > self._limits.look_s:
                self._spool_rows(rows)
                rows, written_s = [], time.monotonic()
        self._spool_rows(rows)
        age_s = time.monotonic() - self._sealed_s
        if self._is_ending.is_set() or age_s >= self._limits.part_s:
            self._seal()

    def _next(self) -> Answered | None:
        with self._guard:
            if not self._queue:
                return None
            answered = self._queue.popleft()
            self._queue_bytes -= answered.size_bytes
            return answered

    def _spool_rows(self, rows: list[ServedRow]) -> None:
        nights: dict[str, list[ServedRow]] = {}
        for row in rows:
            night = self._settings.border.night_of(row.time).isoformat()
            nights.setdefault(night, []).append(row)
        for night, own in sorted(nights.items()):
            if not self._spool.open_rows:
                self._sealed_s = time.monotonic()
            records = [row.to_record() for row in own]
            try:
                self._spool.append(night, pa.RecordBatch.from_pylist(records, SERVED_SCHEMA))
            except Exception as error:  # the disk is full, or a bug of ours
                self._count("lost", len(own))
                self._say_once("disk", f"the prediction log cannot write to its spool: {error}")
            if (
                self._spool.open_rows >= self._limits.part_rows
                or self._spool.open_bytes >= self._limits.part_bytes
            ):
                self._seal()

    def _seal(self) -> None:
        self._spool.seal()
        self._sealed_s = time.monotonic()
        dropped = self.counts.get("dropped", 0)
        if dropped > self._dropped_said:
            _logger.warning(
                "the prediction log dropped %d rows: more were answered than it could write",
                dropped - self._dropped_said,
            )
            self._dropped_said = dropped
        if lost := self._spool.trim():
            self._count("lost", lost)
            self._say_once(
                "room",
                "the prediction log has no more room on the disk while its bucket cannot be "
                "reached: the oldest rows are lost",
            )

    def _send(self) -> None:
        """Disk to bucket, until the log is closed."""
        _go_behind_requests()
        first_s, longest_s = self._limits.retry_s
        failures, is_last = 0, False
        while not is_last:
            pause_s = min(longest_s, first_s * 2 ** min(failures, 30))
            self._wait(pause_s * self._dice.uniform(0.5, 1.0) if failures else self._limits.look_s)
            is_last = self._is_closed.is_set() and not self._threads[0].is_alive()
            try:
                self._spool.take_over()
                for file in self._spool.files():
                    self._send_file(file)
                    if failures:
                        self._said.clear()
                        _logger.warning("the prediction log reaches its bucket again")
                    failures = 0
            except Exception as error:  # whatever a store says, or a bug of ours
                failures += 1
                kind = type(error).__name__  # its text names an object, each time another
                self._say_once(kind, f"the prediction log keeps its rows on the disk: {error}")
                is_last = is_last and time.monotonic() >= self._end_s
        self._spool.close()

    def _send_file(self, file: SpoolFile) -> None:
        batches = file.read()
        if batches:
            key = self._layout.served_part(datetime.fromisoformat(file.group).date(), file.name)
            self._store.write(key, to_part(batches), _PARQUET)
            self._count("sent", sum(batch.num_rows for batch in batches))
        self._spool.remove(file)

    def _wait(self, seconds: float) -> None:
        if self._is_ending.wait(seconds):
            time.sleep(_FASTEST_S)

    def _count(self, outcome: str, rows: int) -> None:
        with self._guard:
            self._counts[outcome] += rows
            if self._counted is not None:
                with suppress(Exception):  # such as a full disk: no request fails by a count
                    self._counted(outcome, rows)

    def _say_once(self, kind: str, text: str) -> None:
        """Warn, once of a kind until the bucket is reached again."""
        if kind not in self._said:
            self._said.add(kind)
            _logger.warning("%s", text)


def _go_behind_requests() -> None:
    """Lower this thread's priority; Linux alone has one for each thread."""
    if sys.platform == "linux":
        with suppress(OSError):  # of a sandbox that forbids it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _text(reference: object) -> str | None:
    """Return what a client calls a row; None where it does not."""
    return None if reference is None or reference != reference else str(reference)[:_MOST_TEXT]
