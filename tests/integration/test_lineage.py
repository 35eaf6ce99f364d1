"""The story's versions: what they learnt from, who scored what, and that they come out the same
again."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flows.jobs import reproducing
from flows.jobs.product import open_product
from mlflow_models import flavor, registry
from reconad_plugin.detector.detector import TORCH
from reconad_plugin.ledger.served import SERVED_SCHEMA, to_part
from reconad_plugin.store.layout import ProductLayout
from tests.command_line import Ended, run
from tests.factory import BUCKET, Factory
from tests.served import NOON, served_row
from tests.world import DIMMED, QUIET, TRAINED, Story


def ask(tmp_path: Path, *arguments: object) -> tuple[Ended, dict[str, Any]]:
    """How ``reconad lineage`` ended, and its JSON."""
    file = tmp_path / "said.json"
    ended = run("lineage", *arguments, "--json", file, COLUMNS="200")
    assert ended.returncode == 0, ended.stderr
    return ended, json.loads(file.read_text())


def test_a_version_leads_to_its_manifests_and_objects(story: Story, tmp_path: Path) -> None:
    """Each object is there with the ETag that is noted, and its bytes have the hash."""
    ended, said = ask(tmp_path, story.product, "--version", "champion")

    assert "goes back to version 1" in ended.stdout
    assert (said["version"], said["bases"], said["cause"]) == ("2", ["1"], "light")
    assert said["environment"]["torch"]
    layout = ProductLayout(story.product)
    assert f"s3://{BUCKET}/{layout.manifest(DIMMED)}" in said["manifests"]
    assert {image["night"] for image in said["images"]} >= {str(TRAINED), str(DIMMED)}
    last = said["images"][-1]
    there = story.factory.client.get_object(Bucket=BUCKET, Key=last["key"])
    assert there["ETag"].strip('"') == last["etag"]
    assert sha256(there["Body"].read()).hexdigest() == last["sha256"]


def test_an_image_leads_to_those_who_scored_it_and_learnt_from_it(
    forked: Callable[..., Factory], tmp_path: Path
) -> None:
    """By key, by hash, and by what a client called it when a server answered."""
    factory = forked(DIMMED)
    product = open_product(factory.product)
    manifest = product.manifest(QUIET)  # after version 1
    assert manifest is not None
    image = manifest[manifest["split"] == "train"].iloc[0]
    row = served_row(1, reference="part 7", model_version="1", sha256=image["sha256"])
    part = to_part([_batch(row)])
    product.store.write(product.layout.served_part(NOON.date(), "a-1"), part, "application/parquet")

    said = [
        ask(tmp_path, factory.product, "--image", asked)[1]
        for asked in (image["key"], f"s3://{BUCKET}/{image['key']}", image["sha256"][:10], "part 7")
    ]

    assert said[0]["objects"] == said[1]["objects"] == said[2]["objects"] == said[3]["objects"]
    (found,) = said[0]["objects"]
    assert (found["key"], found["night"], found["verdict"]) == (
        image["key"],
        str(QUIET),
        "accepted",
    )
    at_night, served = said[3]["scored"]
    assert (at_night["when"], at_night["by"], at_night["version"]) == (str(QUIET), "night", "1")
    assert (served["by"], served["version"], served["reference"]) == ("torch", "1", "part 7")
    assert served["pred_score"] == pytest.approx(row.pred_score)
    assert all(each["version"] == "2" for each in said[0]["learnt"])  # 1 came before that night


def test_what_a_base_learnt_is_in_what_started_from_it(story: Story, tmp_path: Path) -> None:
    """A founding image trained version 1, and version 2 goes back to it."""
    manifest = open_product(story.product).manifest(TRAINED)
    assert manifest is not None
    image = manifest[manifest["split"] == "train"].iloc[0]

    ended, said = ask(tmp_path, story.product, "--image", image["key"])

    learnt = [(each["version"], each["split"], each["through"]) for each in said["learnt"]]
    assert ("1", "train", None) in learnt
    assert ("2", "train", "1") in learnt
    assert "version 1" in ended.stdout


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        pytest.param((), "--version N, or --image", id="nothing"),
        pytest.param(("--version", "1", "--image", "a"), "--version N, or --image", id="both"),
        pytest.param(("--image", "nobody's"), 'got "nobody\'s", which no manifest', id="no image"),
        pytest.param(("--version", "99"), "a version must be one of", id="no version"),
    ],
)
def test_what_is_not_there_is_exit_code_2(story: Story, asked: tuple[str, ...], said: str) -> None:
    """One line says what can be asked."""
    ended = run("lineage", story.product, *asked)

    assert ended.returncode == 2
    assert said in ended.stderr


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_version_trained_again_is_the_same(story: Story, tmp_path: Path, version: str) -> None:
    """To the last bit: one from scratch, and one that was fine-tuned for a dimmed lamp; nothing is
    registered."""
    before = registry.versions(story.product)

    ended = run("reproduce", story.product, version, "--json", tmp_path / "said.json")

    assert ended.returncode == 0, ended.stderr
    assert f"version {version} was trained again in" in ended.stdout
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["is_same_fingerprint"]
    assert (said["is_same"], said["different"], said["environment"]) == (True, {}, {})
    assert said["reasons"] == []
    assert registry.versions(story.product) == before


def test_a_version_that_comes_out_otherwise_is_exit_code_3(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By how much is said, and what was not as it was."""
    other = flavor.load_calibrated(registry.version(story.product, "2").uri, engine=TORCH)
    monkeypatch.setattr(reproducing, "fit_detector", lambda *_: (other, _Report()))
    noted = reproducing.describe_environment("cpu") | {"torch": "0.1", "processor": "an abacus"}
    monkeypatch.setattr(reproducing, "describe_environment", lambda device: noted)

    ended = run("reproduce", story.product, "1", "--json", tmp_path / "said.json")

    assert ended.returncode == 3
    assert "version 1, trained again, differs in" in ended.stderr
    assert "is an abacus" in ended.stdout
    said = json.loads((tmp_path / "said.json").read_text())
    assert not said["is_same"]
    assert said["score_difference"] > 0
    assert said["environment"]["torch"]["now"] == "0.1"


class _Report:
    """Of a training that was not done."""

    steps, elapsed_s = 250, 1.0


def _batch(row: Any) -> Any:
    return pa.RecordBatch.from_pylist([row.to_record()], SERVED_SCHEMA)
