"""A server under load, while the champion changes, and under attack: named benchmarks, short."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.command_line import RECONAD

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def benchmark(tmp_path: Path) -> Run:
    """Run one by its name, with options of its own; its JSON."""

    def run(name: str, *own: str) -> dict[str, Any]:
        file = tmp_path / "found.json"
        ended = subprocess.run(
            [RECONAD, "benchmark", name, "--json", file, "--", *own, "--patience", "6"],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
        found: dict[str, Any] = json.loads(file.read_text())
        assert found["violations"] == []
        return found

    return run


def test_each_answer_is_right_while_the_champion_changes(benchmark: Run) -> None:
    """Five times, one of them back and one after an outage of the registry."""
    found = benchmark("serving", "--only", "latency", "swaps", "--requests", "1500")

    assert found["swaps"]["requests"] >= 1500
    assert len(found["swaps"]["seconds_to_swap"]) == 5
    assert median(found["swaps"]["seconds_to_swap"]) <= 5  # though other tests run beside


def test_damaged_requests_do_no_harm(benchmark: Run) -> None:
    """None is a fault of the server's own, shows a trace or hangs."""
    found = benchmark("fuzz", "--malformed", "600")

    assert list(found) == ["malformed", "violations"]
    assert set(found["malformed"]["statuses"]) >= {"200", "400"}


def test_memory_settles(benchmark: Run) -> None:
    """Though one request in a hundred is wrong."""
    found = benchmark("soak", "--soak-s", "10")

    assert list(found) == ["soak", "violations"]
    assert found["soak"]["requests"] > 50
