"""The golden floor on real servers: the champion misses what persons put into the golden set."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from flows.commands.product_status import golden_lines, read_status
from flows.jobs.exporting import ExportJob, export
from flows.jobs.ledger import open_ledger, see_history
from flows.jobs.product import open_product
from flows.nightly import nightly
from mlflow_models import registry
from reconad_plugin.errors import ConfigError
from tests.factory import Factory, normal_picture, to_png, with_scratch
from tests.integration.test_nightly import run_of
from tests.world import IMAGES, LAST_QUIET, QUIET_TOO


def ordinary_part(seed: int) -> bytes:
    picture = normal_picture(np.random.default_rng(seed)).clip(0, 1) * 255
    return to_png(picture.astype(np.uint8))


def put_golden(factory: Factory, defects: int, is_seen: bool = False) -> None:
    """Let the factory put so many golden defects into the bucket, such as a version sees or not."""
    source = np.random.default_rng(47)
    for number in range(defects):
        picture = normal_picture(source)
        shown = (with_scratch(picture) if is_seen else picture).clip(0, 1) * 255
        name = f"golden/{'scratch' if is_seen else 'haze'}/{number}.png"
        factory.put_key(f"{factory.product}/{name}", to_png(shown.astype(np.uint8)))


def test_defects_that_the_champion_misses_lead_to_one_training(
    forked: Callable[..., Factory],
) -> None:
    """The night says why it trained, and notes it with the version and on the dashboard's values;
    the next one would train nothing more; a golden image that cannot be read stops no night."""
    factory = forked(QUIET_TOO, golden_floor=0.9)
    product, opened = factory.product, open_product(factory.product)
    factory.train_for(steps=20)
    next_night = date.fromordinal(LAST_QUIET.toordinal() + 1)
    factory.deliver(LAST_QUIET, IMAGES)
    factory.deliver(next_night, IMAGES)
    put_golden(factory, 10, is_seen=True)

    seen = nightly(product, QUIET_TOO)
    put_golden(factory, 12)
    missed = nightly(product, LAST_QUIET)

    assert seen.record is not None
    assert seen.record.golden is not None
    assert missed.record is not None
    assert missed.record.golden is not None
    assert (str(seen.action), seen.record.golden.is_below) == ("none", False)
    assert seen.record.golden.defects == 10
    assert seen.record.golden.auroc > 0.95
    assert str(missed.action).startswith("retrained, rejected 2; champion 1: image_AUROC 0.")
    assert missed.record.golden.defects == 22
    assert missed.record.golden.recall < seen.record.golden.recall
    assert registry.version(product, "2").cause == "golden_floor"
    assert run_of(product, LAST_QUIET).data.metrics["golden_floor"] == 0.9
    (line,) = golden_lines(read_status(product).watch)
    assert line == f"golden set, version 1: {missed.record.golden}"

    known = open_ledger(opened, see_history(opened))
    assert known.is_floor_to_answer(missed.record)  # run again, it finds the same training
    assert not known.is_floor_to_answer(replace(missed.record, night=next_night.isoformat()))

    factory.put_key(f"{product}/golden/haze/broken.png", b"no picture")
    broken = nightly(product, next_night)

    assert broken.record is not None
    assert (str(broken.action), broken.record.golden) == ("none", None)
    assert opened.records.record(next_night) == broken.record


def test_an_engine_is_compared_on_the_golden_set(
    forked: Callable[..., Factory], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From ten defects on, as the floor; with fewer on simulated anomalies. Settings that cannot be
    read are not taken for none."""
    factory = forked(QUIET_TOO)
    job = ExportJob(f"models:/{registry.model_name(factory.product)}/1", ["openvino"])
    put_golden(factory, 9, is_seen=True)
    factory.put_key(f"{factory.product}/golden/normal/0.png", ordinary_part(1))

    few = export(job)
    put_golden(factory, 10, is_seen=True)
    enough = export(job)

    assert few.anomalies == "simulated"
    assert enough.anomalies == "golden"
    assert enough.figures[0].anomalous == 10
    assert enough.figures[0].normal == few.figures[0].normal + 1
    assert enough.figures[0].engine_auroc > 0.95
    damaged = tmp_path / "reconad.toml"
    damaged.write_text("[products")
    monkeypatch.setenv("RECONAD_CONFIG", str(damaged))
    with pytest.raises(ConfigError, match="settings must be TOML"):
        export(job)
