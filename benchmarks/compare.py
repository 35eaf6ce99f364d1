"""Ours and the peer by turns, each time in a fresh process of its own interpreter.

Taking turns treats both alike when a machine slows down or warms up in between. A worker is a
script beside this file that prints one JSON object on its last line: ``figures`` by name, and
``notes``.
"""

import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconad_plugin.errors import ConfigError, ReconadError

OURS, PEER = "ours", "peer"


class WorkerFailedError(ReconadError, RuntimeError):
    """A worker did not end with figures."""


@dataclass(frozen=True)
class Benchmark:
    """What two workers measure, and which of their figures belong together.

    Attributes:
        title: what is measured.
        pairs: names of a figure of ours and of the peer's to hold against it.
        unit: of all figures.
        is_rate: whether higher is faster; else figures are durations.
        threads: of either worker.
        needs_peer: whether the peer's worker runs in the peer's environment, not in ours.
        needs_data: whether there must be a folder of images.
    """

    title: str
    pairs: tuple[tuple[str, str], ...]
    unit: str = "s"
    is_rate: bool = False
    threads: int = 1
    needs_peer: bool = True
    needs_data: bool = False


@dataclass(frozen=True)
class Worker:
    """One side of a comparison.

    Attributes:
        name: ``ours`` or ``peer``.
        command: what to run.
        environment: of the process.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


@dataclass(frozen=True)
class Spread:
    """Least, middle and greatest of a figure over the rounds."""

    min: float
    median: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value."""
        return cls(min(values), statistics.median(values), max(values))

    def __str__(self) -> str:
        """Return the three with four digits, for a person."""
        return " / ".join(f"{value:.4g}" for value in (self.min, self.median, self.max))


@dataclass(frozen=True)
class Comparison:
    """A figure of ours against one of the peer's.

    Attributes:
        ours_figure: name.
        peer_figure: name.
        ours: over the rounds.
        peer: over the rounds.
        ratio: of the medians: how many times faster ours is.
    """

    ours_figure: str
    peer_figure: str
    ours: Spread
    peer: Spread
    ratio: float


Results = dict[str, list[dict[str, Any]]]  # side -> what its worker printed, round by round


def alternate(
    ours: Worker,
    peer: Worker,
    rounds: int,
    on_start: Callable[[str], object] = lambda line: None,
) -> Results:
    """Run ours, the peer, ours, the peer, and so on.

    Args:
        ours: one side.
        peer: the other.
        rounds: how often each runs, at least once.
        on_start: called with a line on what begins.

    Raises:
        ConfigError: no round is asked for.
        WorkerFailedError: a worker did not end with figures; no other runs after it.
    """
    if not rounds >= 1:
        raise ConfigError(f"rounds must be at least 1; got {rounds}")
    results: Results = {OURS: [], PEER: []}
    for number in range(1, rounds + 1):
        for worker in (ours, peer):
            on_start(f"round {number} of {rounds}: {worker.name}")
            results[worker.name].append(run_worker(worker))
    return results


def run_worker(worker: Worker) -> dict[str, Any]:
    """Run a worker in an empty folder; its last line, read.

    Raises:
        WorkerFailedError: see there.
    """
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            list(worker.command),
            env=dict(worker.environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    if done.returncode != 0:
        line = _last_line(done.stderr) or _last_line(done.stdout) or "it said nothing"
        raise WorkerFailedError(
            f"the worker of {worker.name} must end well; it ended with {done.returncode}: {line}: "
            f"run {' '.join(worker.command)}"
        )
    line = _last_line(done.stdout)
    try:
        result: dict[str, Any] = json.loads(line)
        figures = {name: float(value) for name, value in result["figures"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WorkerFailedError(
            f"the worker of {worker.name} must print figures as JSON on its last line; it printed "
            f"{line!r}: run {' '.join(worker.command)}"
        ) from None
    return {"figures": figures, "notes": result.get("notes", {})}


def compare(benchmark: Benchmark, results: Results) -> list[Comparison]:
    """Spreads and the ratio of the medians, for every pair of figures.

    Raises:
        WorkerFailedError: a figure is missing, or is not above 0.
    """
    comparisons = []
    for ours_figure, peer_figure in benchmark.pairs:
        ours = Spread.of(_values(OURS, ours_figure, results))
        peer = Spread.of(_values(PEER, peer_figure, results))
        faster, slower = (ours, peer) if benchmark.is_rate else (peer, ours)
        ratio = faster.median / slower.median
        comparisons.append(Comparison(ours_figure, peer_figure, ours, peer, ratio))
    return comparisons


def _values(side: str, figure: str, results: Results) -> list[float]:
    values = [result["figures"].get(figure, float("nan")) for result in results[side]]
    for value in values:
        if not value > 0:
            raise WorkerFailedError(
                f"the worker of {side} must measure {figure!r} as a number above 0; got {value}"
            )
    return values


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
