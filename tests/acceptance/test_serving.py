"""A server under load, while the champion changes, and under attack: named benchmarks, short."""

import json
import subprocess
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.command_line import RECONAD


def run(folder: Path, name: str, *own: str) -> dict[str, Any]:
    """Run a benchmark by its name, with options of its own; its JSON."""
    file = folder / "found.json"
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


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one server shows, under load and then under attack."""
    own = ["--only", "latency", "swaps", "malformed", "--turns", "5"]
    own += ["--requests", "1500", "--malformed", "600"]
    return run(tmp_path_factory.mktemp("serving"), "serving", *own)


def test_each_answer_is_right_while_the_champion_changes(found: dict[str, Any]) -> None:
    """Five times, one of them back and one after an outage of the registry."""
    assert found["swaps"]["requests"] >= 1500
    assert len(found["swaps"]["seconds_to_swap"]) == 5
    assert median(found["swaps"]["seconds_to_swap"]) <= 5  # though other tests run beside


def test_damaged_requests_do_no_harm(found: dict[str, Any]) -> None:
    """None is a fault of the server's own, shows a trace or hangs."""
    assert list(found) == ["latency", "swaps", "malformed", "violations"]
    assert set(found["malformed"]["statuses"]) >= {"200", "400"}


def test_memory_settles(tmp_path: Path) -> None:
    """Of a server that has just started, though one request in a hundred is wrong."""
    found = run(tmp_path, "soak", "--soak-s", "10")

    assert list(found) == ["soak", "violations"]
    assert found["soak"]["requests"] > 50
