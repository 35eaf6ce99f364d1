"""Promotions beside one another and cut off, in processes of their own and many times."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlflow_models import registry
from tests.alias_moves import compete_before_calls
from tests.command_line import RECONAD
from tests.factory import Factory
from tests.world import TRAINED, aliases

CHECKOUT = Path(__file__).parents[2]
KILLS = 40


def test_two_commands_at_once_cannot_both_promote(forked: Callable[..., Factory]) -> None:
    """Two commands promote two versions of a product that nothing serves: one wins, and the other
    is judged against it."""
    factory = forked(TRAINED, width=None)
    product, client = factory.product, MlflowClient()
    name, first = registry.model_name(product), registry.version(product, "1")
    entries = [client.create_model_version(name, first.uri, first.run_id) for _ in range(2)]
    client.delete_registered_model_alias(name, registry.CHAMPION)
    files = {
        str(entry.version): factory.settings.parent / f"{entry.version}.json" for entry in entries
    }

    runs = [
        subprocess.Popen(
            [RECONAD, "promote", product, "--version", number, "--json", str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, file in files.items()
    ]
    printed = [run.communicate(timeout=180) for run in runs]

    assert [run.returncode for run in runs] == [0, 0], printed
    answers = {number: json.loads(file.read_text()) for number, file in files.items()}
    (winner,) = [number for number in files if answers[number]["outcome"] == "promoted"]
    (loser,) = set(files) - {winner}
    assert aliases(product)[registry.CHAMPION] == winner
    assert answers[loser]["outcome"] == "rejected"
    assert answers[loser]["verdict"]["judged_against"] == winner
    assert answers[loser]["night"] == TRAINED.isoformat()  # the last one taken in
    assert "is_better" in "".join(output for output, _ in printed)


@pytest.mark.usefixtures("mlflow_in_a_file")
def test_without_a_common_lock_at_most_one_wins() -> None:
    """One promoter comes in before any call that another makes to the registry."""
    assert compete_before_calls(every=1) > 20


@pytest.mark.timeout(900)
def test_kills_at_random_moments_leave_a_whole_version(tmp_path: Path) -> None:
    """Processes that promote and roll back are killed, at random and before each write: a whole
    version serves at once, and all is right after one more run."""
    file = tmp_path / "kills.json"

    ended = subprocess.run(
        [
            sys.executable, str(CHECKOUT / "benchmarks" / "promotion_kills.py"),
            "--kills", str(KILLS), "--json", str(file),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(file.read_text())
    assert found["violations"] == 0
    assert found["kills"] > KILLS
