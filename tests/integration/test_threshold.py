"""A threshold that a person tries and sets on the version that serves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.jobs.product import open_product
from flows.nightly import nightly
from mlflow_models import flavor, registry
from reconad_plugin.errors import ConfigError
from tests.command_line import run
from tests.factory import Factory
from tests.world import LAST_QUIET, SCRATCHED, TRAINED


def asked(factory: Factory, file: Path, *arguments: object) -> dict[str, Any]:
    ended = run("threshold", factory.product, *arguments, "--json", file)
    assert ended.returncode == 0, ended.stderr
    return json.loads(file.read_text())


def test_a_threshold_is_tried_set_and_followed(
    forked: Callable[..., Factory], tmp_path: Path
) -> None:
    """What it would reject and miss is said; set, the night, a load, `status` and `rescore` follow
    it, who and why are known, and it goes again without a training."""
    factory, file = forked(LAST_QUIET), tmp_path / "said.json"
    product, records = factory.product, open_product(factory.product).records
    defects = records.review(SCRATCHED)["key"].tolist()[:3]
    assert run("review", product, SCRATCHED, "--defect", *defects).returncode == 0
    high = ("--set", 1e6, "--by", "Ana", "--why", "the glare of the new lamp")

    tried = asked(factory, file, "--try", 1e6)["tried"]

    assert [(each["what"], each["defects"], each["missed"]) for each in tried] == [
        ("calibrated", 3, 0),
        ("to try", 3, 3),
    ]
    assert tried[0]["images"] > tried[0]["rejected"] > tried[1]["rejected"] == 0
    assert run("threshold", product, "--set", 0.5, "--by", "Ana").returncode == 2

    said = asked(factory, file, *high)
    again = nightly(product, LAST_QUIET)

    assert (said["in_force"], said["settings"][0]["by"]) == (1e6, "Ana")
    champion = registry.champion(product)
    assert flavor.load_model(champion.uri).calibration.image_threshold == 1e6
    assert flavor.load_calibrated(champion.uri).calibration.image_threshold == said["calibrated"]
    assert again.record is not None
    assert again.record.cause == "none"
    assert again.record.statistics.set_threshold == 1e6
    assert again.record.statistics.above_threshold.above == 0
    assert again.record.above_threshold.expected_share < 0.05  # no night of before is counted
    status = run("status", product, COLUMNS="200").stdout
    assert "its threshold was set to 1e+06, by Ana" in status
    scored = ("--version", "champion", "--nights", f"{TRAINED}..{LAST_QUIET}", "--out", tmp_path)
    assert run("rescore", product, *scored).returncode == 0
    then = pd.read_csv(tmp_path / "pictures.csv").groupby("night")["threshold_then"].first()
    assert then[str(LAST_QUIET)] == 1e6
    assert then[str(SCRATCHED)] == pytest.approx(said["calibrated"])

    with pytest.raises(ConfigError, match="meanwhile: look again"):  # the page saw none
        registry.set_threshold(product, champion.number, champion.thresholds[0], seen=0)

    back = asked(factory, file, "--calibrated", "--by", "Bo", "--why", "the old lamp is back")

    assert (back["in_force"], len(back["settings"])) == (None, 2)
    assert flavor.load_model(champion.uri).set_threshold is None
