"""A server under load, while the champion changes, and under attack: named benchmarks, short."""

import json
import subprocess
from statistics import median
from typing import Any

import pytest

from tests.command_line import RECONAD


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The whole benchmark by its name, with numbers of its own; its JSON."""
    file = tmp_path_factory.mktemp("serving") / "found.json"
    own = ["--turns", "5", "--requests", "1000", "--malformed", "500", "--soak-s", "10"]
    own += ["--patience", "6"]  # other tests run beside
    ended = subprocess.run(
        [RECONAD, "benchmark", "serving", "--json", file, "--", *own],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_each_promise_is_kept(found: dict[str, Any]) -> None:
    assert list(found) == ["latency", "swaps", "malformed", "soak", "violations"]
    assert found["violations"] == []


def test_each_answer_is_right_while_the_champion_changes(found: dict[str, Any]) -> None:
    """Five times, one of them back and one after an outage of the registry."""
    assert found["swaps"]["requests"] >= 1000
    assert len(found["swaps"]["seconds_to_swap"]) == 5
    assert median(found["swaps"]["seconds_to_swap"]) <= 5


def test_damaged_requests_do_no_harm(found: dict[str, Any]) -> None:
    """None is a fault of the server's own, shows a trace or hangs."""
    assert set(found["malformed"]["statuses"]) >= {"200", "400"}
    assert not [status for status in found["malformed"]["statuses"] if status.startswith("5")]


def test_memory_settles(found: dict[str, Any]) -> None:
    """Though one request in a hundred is wrong."""
    assert found["soak"]["requests"] > 50
