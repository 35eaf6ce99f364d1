"""``reconad clean`` on a copy of the story: what is large goes, and no decision changes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient

from flows.commands import clean
from flows.commands.product_status import read_status
from flows.commands.review import review_night
from flows.jobs.ledger import open_ledger_to_train, read_history
from flows.jobs.product import open_product
from flows.nightly import nightly
from flows.runtime.locks import JUDGING, one_at_a_time
from mlflow_models import flavor, registry, removal, version_tags
from mlflow_models.tracking import log_night
from reconad_plugin.ledger.deciding import Decision
from reconad_plugin.ledger.night_record import NORMAL
from reconad_plugin.ledger.retention import WAITING
from tests.alias_moves import copies
from tests.command_line import run
from tests.factory import BUCKET, Factory
from tests.world import LEARNT, QUIET, SCRATCHED, aliases

KEEP = """
[keep]
nights = 3
rejected = 0
unfinished_days = 7
"""
LONG_AGO_MS = 1_775_000_000_000  # of 1970: 2026-03-31
CUT_OFF = "train 2026-03-31"
DRAWN = {"evidently.html": "<html>", "notes.txt": "stays"}


@pytest.fixture
def untidy(forked: Callable[..., Factory]) -> Factory:
    """A product with three nights that were drawn, of which one waits for a person, a run that was
    cut off with a model, and two refused versions: one of its own, and one whose files another
    product has as well."""
    factory = forked(LEARNT)
    factory.settings.write_text(factory.settings.read_text() + KEEP)
    product = factory.product
    review_night(product, QUIET, ["all"], Decision(NORMAL))  # where chance let some wait
    for night in (QUIET, SCRATCHED, LEARNT):
        tags = version_tags.watch_tags("none", "1", "fine")
        log_night(product, str(night), {"images": 24}, tags, {"maps.png": Figure((1, 1))}, DRAWN)
    detector = flavor.load_model(registry.champion(product).uri, "torch")
    experiment = MlflowClient().get_experiment_by_name(f"reconad/{product}").experiment_id
    cut_off = MlflowClient().create_run(experiment, LONG_AGO_MS, run_name=CUT_OFF)
    with mlflow.start_run(cut_off.info.run_id):
        flavor.log_model(detector)
    MlflowClient().update_run(cut_off.info.run_id, "RUNNING")
    with mlflow.start_run(experiment_id=experiment):
        own = registry.register(
            product, flavor.log_model(detector), {version_tags.NIGHT_TAG: str(QUIET)}
        )
    (shared,) = copies(product, 1, like=registry.champion(product))
    for number in (own.number, shared):
        registry.set_tags(product, number, {version_tags.STATE_TAG: registry.REJECTED})
    return factory


def decided(product: str) -> dict[str, Any]:
    """All that later nights and people go by."""
    opened = open_product(product)
    images = open_ledger_to_train(opened).training_images(opened.settings.target_fpr)
    return {
        "status": read_status(product).to_dict(),
        "history": read_history(opened),
        "aliases": aliases(product),
        "learnt": images[["key", "split"]].to_numpy().tolist(),
    }


def keys(factory: Factory) -> dict[str, str]:
    """Key -> ETag of all that lies in the product's bucket."""
    pages = factory.client.get_paginator("list_objects_v2").paginate(
        Bucket=BUCKET, Prefix=f"{factory.product}/"
    )
    return {entry["Key"]: entry["ETag"] for page in pages for entry in page["Contents"]}


def files_of_runs(product: str) -> dict[str, set[str]]:
    """Name of each run -> its files."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name(f"reconad/{product}")
    return {
        run.info.run_name: {file.path for file in client.list_artifacts(run.info.run_id)}
        for run in client.search_runs([experiment.experiment_id])
        if run.info.run_name.startswith(("night", "train"))
    }


def test_what_is_large_goes_and_no_decision_changes(
    untidy: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run changes nothing; the real one removes the same, once; while a version is judged
    its weights stay. Nights go on as before."""
    product, file = untidy.product, tmp_path / "clean.json"
    before, bucket, runs = decided(product), keys(untidy), files_of_runs(product)
    own, shared = (registry.version(product, number) for number in "34")
    whole = {*DRAWN, "maps.png"}
    assert runs[f"night {QUIET}"] == runs[f"night {LEARNT}"] == whole

    dry = run("clean", product, "--dry-run", "--json", file, COLUMNS="160")

    assert dry.returncode == 0, dry.stderr
    found = {each["kind"]: each for each in json.loads(file.read_text())["found"]}
    assert found["drawings of nights"]["goes"] == [f"night {QUIET}"]
    assert found["drawings of nights"]["stays"] == {"they are the newest 3": 1, WAITING: 1}
    assert found["weights of rejected versions"]["goes"] == ["version 3"]
    assert found["weights of rejected versions"]["stays"] == {
        "they served": 2,
        "another registered model leads to them": 1,
    }
    assert [each[:16] for each in found["runs that were cut off"]["goes"]] == [CUT_OFF]
    assert all(each["size_bytes"] > 0 for each in found.values())
    assert (decided(product), keys(untidy), files_of_runs(product)) == (before, bucket, runs)

    monkeypatch.setattr(clean, "WAIT_S", 0.2)
    with one_at_a_time(JUDGING, product):
        busy = run("clean", product, "--yes")
    assert busy.returncode == 1
    assert "the weights stay while a version may be judged" in busy.stderr
    assert "removed 2 of 3" in busy.stdout
    assert flavor.load_model(own.uri)

    last = run("clean", product, "--yes")
    again = run("clean", product, "--yes", "--json", file)

    assert (last.returncode, again.returncode) == (0, 0), last.stderr + again.stderr
    assert "removed 1 of 1" in last.stdout
    assert json.loads(file.read_text())["removed"] == 0
    assert "nothing was removed" in again.stdout
    assert files_of_runs(product) == {
        f"night {QUIET}": {"notes.txt"},
        f"night {SCRATCHED}": whole,
        f"night {LEARNT}": whole,
    }
    assert removal.size_of_weights(product, own) == 0
    for number in ("1", "2", shared.number):
        assert flavor.load_model(registry.version(product, number).uri)
    assert (decided(product), keys(untidy)) == (before, bucket)
    assert "rejected, without weights" in run("status", product, COLUMNS="200").stdout
    number = "--version", own.number
    for asked in (
        ("promote", product, *number),
        ("rescore", product, "--nights", str(QUIET), *number),
        ("predict", own.uri, untidy.settings),
    ):
        refused = run(*asked)
        assert refused.returncode == 2
        assert f"`reconad clean` removed those of {own.uri}, which was" in refused.stderr
    record = open_product(product).records.record(SCRATCHED)
    assert nightly(product, SCRATCHED).record == record
    assert run("rollback", product).returncode == 0
    assert aliases(product)["champion"] == "1"


def test_a_version_whose_removal_was_cut_off_goes_the_next_time(
    untidy: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never taken for a whole one meanwhile. One that became the challenger stays."""
    product = untidy.product
    own = registry.version(product, "3")
    real = removal.get_artifact_repository

    class Dying:
        def delete_artifacts(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(removal, "get_artifact_repository", lambda address: Dying())
    with pytest.raises(KeyboardInterrupt):
        removal.remove_weights(product, own)
    monkeypatch.setattr(removal, "get_artifact_repository", real)
    assert not registry.version(product, "3").has_weights

    registry.challenge(product, "3")
    assert "version 3" not in run("clean", product, "--yes").stdout
    assert removal.size_of_weights(product, own) > 0
    registry.withdraw_challenger(product, ["3"])
    assert run("clean", product, "--yes").returncode == 0

    assert removal.size_of_weights(product, own) == 0
    assert registry.version(product, "3").tags[version_tags.CLEANED_TAG] == removal.DONE
