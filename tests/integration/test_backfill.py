"""A dashboard that was lost is whole again from what S3 keeps."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from flows.jobs.backfill import backfill
from flows.jobs.product import open_product
from reconad_plugin.errors import ConfigError
from tests.command_line import run
from tests.factory import Factory
from tests.world import GATHERED, LEARNT, NIGHTS, TRAINED, Story


def runs(product: str) -> dict[str, dict]:
    """Night -> metric -> value, as the workspace has it."""
    found = {}
    for file in Path(open_product(product).workspace).glob("*/snapshots/*.json"):
        content = json.loads(file.read_text())
        found[content["name"]] = {
            name: result["value"] for name, result in content["metric_results"].items()
        }
    return found


def test_a_lost_workspace_is_whole_again(story: Story, forked: Callable[..., Factory]) -> None:
    """The same nights with the same values; a part of them on request; no night is an error."""
    before = runs(story.product)
    product = forked(LEARNT).product  # its dashboard is empty
    assert runs(product) == {}

    last = run("backfill", product, "--from", LEARNT.isoformat())
    only_last = runs(product)
    everything = backfill(product)

    assert last.returncode == 0, last.stderr
    assert "nights put on the dashboard: 1" in last.stdout
    assert only_last == {f"night {LEARNT}": before[f"night {LEARNT}"]}
    watched = [night for night in NIGHTS if night > TRAINED]
    assert everything == len(before) == len(watched)
    assert runs(product) == before
    with pytest.raises(ConfigError, match="needs nights that the watch has seen"):
        backfill(product, last=GATHERED - timedelta(1))
