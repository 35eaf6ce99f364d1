"""A dashboard that was lost is whole again from what S3 keeps."""

import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest

from flows.jobs.backfill import backfill
from flows.jobs.product import open_product
from flows.nightly import nightly
from reconad_plugin.errors import ConfigError
from tests.command_line import run
from tests.factory import Factory

NIGHTS = [date(2026, 6, 1) + timedelta(day) for day in range(3)]
LAST = NIGHTS[-1]


def runs(factory: Factory) -> dict[str, dict]:
    """Night -> metric -> value, as the workspace has it."""
    found = {}
    for file in Path(open_product(factory.product).workspace).glob("*/snapshots/*.json"):
        content = json.loads(file.read_text())
        found[content["name"]] = {
            name: result["value"] for name, result in content["metric_results"].items()
        }
    return found


def test_a_lost_workspace_is_whole_again(factory: Factory) -> None:
    """The same nights with the same values; a part of them on request; no night is an error."""
    for night in NIGHTS:
        factory.deliver(night)
        nightly(factory.product, night)
    before = runs(factory)
    shutil.rmtree(open_product(factory.product).workspace)

    last = run("backfill", factory.product, "--from", LAST.isoformat())
    only_last = runs(factory)
    everything = backfill(factory.product)

    assert last.returncode == 0, last.stderr
    assert "nights put on the dashboard: 1" in last.stdout
    assert only_last == {f"night {LAST}": before[f"night {LAST}"]}
    assert everything == len(before) == 2  # the first night is trained on and not watched
    assert runs(factory) == before
    with pytest.raises(ConfigError, match="needs nights that the watch has seen"):
        backfill(factory.product, last=NIGHTS[0] - timedelta(1))
