"""The checks of a machine with a GPU, with small networks on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checks(monkeypatch):
    """The module, which stands beside the benchmarks' workers."""
    monkeypatch.syspath_prepend(CHECKOUT / "benchmarks")
    import cuda_checks

    return cuda_checks


def test_the_whole_runs_with_small_networks(tmp_path):
    """The script ends with 0 and one JSON with all figures, or with 1 where the tests failed."""
    file = tmp_path / "cuda.json"

    ended = subprocess.run(
        ["bash", CHECKOUT / "benchmarks" / "cuda.sh", file],
        env={**os.environ, "DEVICE": "cpu", "TINY": "1", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )

    assert ended.returncode == 0, ended.stderr
    said = json.loads(file.read_text())
    assert (said["device"], said["contract"], said["failed"]) == ("cpu", "passed", [])
    assert said["draem"]["steps"] > 0
    assert set(said["throughput"]["ours"]) == {"prepared tensors, 32 px", "training loop, 32 px"}
    assert said["throughput"]["peer"].startswith("left out")


def test_floors_fail_where_scores_differ(checks):
    """Each of them, and an undefined figure too."""
    scores = np.linspace(0, 1, 20)

    assert checks.below_floors({"float32": checks.compare(scores, scores)}) == []
    assert checks.below_floors({"float32": checks.compare(scores, scores + 0.02)}) == [
        "in float32: scores may differ by 0.01 of their range"
    ]
    assert len(checks.below_floors({"bfloat16": checks.compare(scores, scores[::-1])})) == 2
    undefined = {"rank": np.nan, "largest_difference": np.nan}
    assert len(checks.below_floors({"float32": undefined})) == 2
