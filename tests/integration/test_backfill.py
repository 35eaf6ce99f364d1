"""A dashboard that was lost is whole again from what S3 keeps."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.jobs.backfill import Backfilled, backfill
from flows.jobs.product import open_product
from mlflow_models import registry
from reconad_plugin.errors import ConfigError
from tests.command_line import run
from tests.factory import Factory
from tests.world import GATHERED, LEARNT, NIGHTS, QUIET_TOO, TRAINED, Story


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
    assert everything == Backfilled(len(before), [])
    assert len(before) == len(watched)
    assert runs(product) == before
    with pytest.raises(ConfigError, match="needs nights that the watch has seen"):
        backfill(product, last=GATHERED - timedelta(1))


def test_a_damaged_night_and_a_deleted_version_stop_no_other(
    story: Story, forked: Callable[..., Factory]
) -> None:
    """The damaged one is named; nights of the deleted version are shown, without its threshold."""
    before = runs(story.product)
    factory = forked(LEARNT)
    opened = open_product(factory.product)
    factory.put_key(opened.layout.night_record(QUIET_TOO), b"{")
    MlflowClient().delete_model_version(registry.model_name(factory.product), "1")

    done = run("backfill", factory.product)

    shown = runs(factory.product)
    watched = [f"night {night}" for night in NIGHTS if night > TRAINED and night != QUIET_TOO]
    assert (done.returncode, sorted(shown)) == (2, watched)
    assert f"they are gone or damaged of {QUIET_TOO}: run these nights again" in done.stderr
    missing = {night: len(before[night].keys() - shown[night].keys()) for night in shown}
    assert missing == {**dict.fromkeys(shown, 1), watched[-1]: 0}  # version 2 served the last one
