"""Past nights of the story, scored anew by the version that served first."""

import json
from pathlib import Path

import pandas as pd
import pytest

from mlflow_models import registry
from tests.command_line import run
from tests.factory import BUCKET
from tests.world import LEARNT, QUIET, SCRATCHED, TRAINED, Story


def written(story: Story) -> dict[str, str]:
    """Key -> ETag of all that lies in the product's bucket."""
    pages = story.factory.client.get_paginator("list_objects_v2").paginate(
        Bucket=BUCKET, Prefix=f"{story.product}/"
    )
    return {entry["Key"]: entry["ETag"] for page in pages for entry in page["Contents"]}


def test_a_version_says_again_what_it_said(story: Story, tmp_path: Path) -> None:
    """Of nights that it scored itself nothing is news; of its founding nights it learnt images.

    The bucket stays as it is.
    """
    before, line = written(story), ("--out", tmp_path / "out", "--json", tmp_path / "said.json")

    ended = run(
        "rescore", story.product, "--version", "previous_champion",
        "--nights", f"{TRAINED}..{SCRATCHED}", *line,
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr
    assert written(story) == before
    said = json.loads((tmp_path / "said.json").read_text())
    assert (said["version"], said["clear_nights"], said["left_out"]) == ("1", [], [])
    nights = {night["whole"]["night"]: night["whole"] for night in said["nights"]}
    assert nights[str(TRAINED)]["learnt"] > 0 == nights[str(QUIET)]["learnt"]
    scratched = nights[str(SCRATCHED)]
    assert scratched["above_then"] == scratched["above_now"] == scratched["images"]
    pictures = pd.read_csv(tmp_path / "out" / "pictures.csv", dtype={"version_then": str})
    own = pictures[pictures["version_then"] == "1"]
    assert {str(QUIET), str(SCRATCHED)} <= {*own["night"]}
    assert own["score_now"].to_numpy() == pytest.approx(own["score_then"].to_numpy(), rel=1e-5)
    assert own["threshold_now"].to_numpy() == pytest.approx(own["threshold_then"].to_numpy())
    assert (tmp_path / "out" / f"{SCRATCHED}.png").is_file()


def test_another_version_sees_more_since_a_night(story: Story, tmp_path: Path) -> None:
    """The dimmed light, which the version that serves has learnt, is news to the first."""
    ended = run(
        "rescore", story.product, "--version", "1", "--nights", f"{QUIET}..{LEARNT}",
        "--json", tmp_path / "said.json",
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "said.json").read_text())["clear_nights"] == [str(LEARNT)]
    assert f"{LEARNT} is the first night of which version 1 sees clearly more" in ended.stdout


def test_a_version_that_is_not_there_is_exit_code_2(story: Story) -> None:
    """MLflow is asked for it."""
    ended = run("rescore", story.product, "--version", "99", "--nights", str(QUIET))

    assert ended.returncode == 2
    assert f"a version must be one of {registry.model_name(story.product)}; got 99" in ended.stderr
