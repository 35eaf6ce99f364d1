"""``reconad rescore`` on a bucket in memory: what is written here, and what stays as it was."""

import csv
import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from flows.jobs import rescore as job
from flows.jobs.product import Product
from mlflow_models import registry
from reconad_plugin.config.product import ProductSettings
from reconad_plugin.errors import ConfigError
from reconad_plugin.ledger.manifest import IntakeRules, build_manifest, write_manifest
from reconad_plugin.ledger.night_record import NightRecords
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.layout import ProductLayout
from tests.command_line import run
from tests.factory import to_png
from tests.fake_s3 import FakeS3, store_of

START = date(2026, 5, 1)
IMAGES = 8
NIGHTS = [START + timedelta(day) for day in range(3)]
RANGE = f"{NIGHTS[0]}..{NIGHTS[-1]}"


@pytest.fixture
def bucket(make_normal, plant_defect, tmp_path, monkeypatch, tiny_detector):
    """Three nights, of which version 1 saw the last two and found nothing; the last one shows
    defects, which version 2 sees."""
    fake, layout = FakeS3({}), ProductLayout("bolts")
    store, settings = store_of(fake), ProductSettings(position_pattern="_(left|right)")
    records, cache = NightRecords(store, layout), ContentCache(tmp_path / "cache")
    for number, night in enumerate(NIGHTS):
        images = make_normal(IMAGES, 50 + number)
        images = plant_defect(images) if night == NIGHTS[-1] else images
        for index, image in enumerate(images):
            name = f"{index}_{'left' if index < 6 else 'right'}.png"
            fake.objects[f"{layout.incoming(night)}{name}"] = to_png(
                np.ascontiguousarray(image.permute(1, 2, 0).numpy())
            )
        fake.objects[f"{layout.incoming(night)}torn.png"] = b"\x89PNG"
        rules = IntakeRules(settings.limits, settings.position_pattern)
        manifest = build_manifest(store, cache, layout, night, rules)
        write_manifest(store, layout, night, manifest)
        if number:
            accepted = manifest[manifest["verdict"] == "accepted"]
            told = {"pred_score": 0.01, "pred_label": False, "is_suspect": False}
            table = accepted[["key", "sha256", "pixels_sha256"]].assign(model_version="1", **told)
            records.write_scores(night, table)
    product = Product("bolts", settings, "", "lean", store, cache, layout, records)
    versions = {each: registry.Version(each, f"models:/{each}", {}, each) for each in "12"}

    def version(name, number):
        if number not in versions:
            raise ConfigError(f"a version must be one of reconad-{name}; got {number}")
        return versions[number]

    def load(uri):
        return tiny_detector

    monkeypatch.setattr(job, "open_product", lambda name: product)
    monkeypatch.setattr(job, "trained_on", lambda version: frozenset())
    for name in ("load_model", "load_calibrated"):
        monkeypatch.setattr(job.flavor, name, load)
    monkeypatch.setattr(registry, "version", version)
    monkeypatch.setattr(
        registry, "version_by_alias", lambda name, alias: {"champion": versions["2"]}.get(alias)
    )
    return fake


def test_the_first_night_of_defects_is_named(bucket, tmp_path, tiny_detector):
    """With a table, a row a picture, a sheet a night; and nothing is written in the bucket."""
    before, out = dict(bucket.objects), tmp_path / "out"
    line = ("--out", out, "--json", tmp_path / "said.json")

    ended = run(
        "rescore", "bolts", "--version", "champion", "--nights", RANGE, *line, COLUMNS="200"
    )

    assert ended.returncode == 0, ended.stderr
    assert bucket.objects == before
    said = json.loads((tmp_path / "said.json").read_text())
    assert (said["version"], said["clear_nights"]) == ("2", [str(NIGHTS[2])])
    assert said["sentence"].startswith(f"{NIGHTS[2]} is the first night of which version 2 sees")
    assert ended.stdout.rstrip().endswith(said["sentence"])
    assert "0 of 6 (v1)" in ended.stdout
    whole = [night["whole"] for night in said["nights"]]
    assert [each["compared"] for each in whole] == [0, IMAGES, IMAGES]
    assert [each["quarantined"] for each in whole] == [1, 1, 1]
    assert whole[2]["above_now"] == whole[2]["newly_above"] == IMAGES
    assert [each["position"] for each in said["nights"][2]["by_position"]] == ["", "left", "right"]
    with (out / "pictures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * IMAGES
    last = rows[-1]
    assert (last["night"], last["version_then"], last["label_now"]) == (str(NIGHTS[2]), "1", "True")
    assert float(last["threshold_now"]) == tiny_detector.calibration.image_threshold
    assert (rows[0]["score_then"], rows[0]["position"]) == ("", "left")
    sheets = sorted(file.name for file in out.glob("*.png"))
    assert sheets == [f"{night}.png" for night in NIGHTS]


def test_scores_are_those_of_the_version(bucket, tiny_detector, make_normal):
    """Picture by picture, however many are in memory at a time."""
    rescoring = job.open_rescoring("bolts", "2", *NIGHTS[::2])
    whole = rescoring.run(NIGHTS[0]).table

    assert rescoring.nights == NIGHTS
    expected = tiny_detector.score(make_normal(IMAGES, 50)).pred_score
    np.testing.assert_allclose(whole["score_now"], expected, rtol=1e-5)


def test_chunks_change_nothing(bucket, monkeypatch):
    """Neither scores nor what a sheet shows."""
    rescoring = job.open_rescoring("bolts", "2", *NIGHTS[::2])
    whole = rescoring.run(NIGHTS[2])
    monkeypatch.setattr(job, "CHUNK_IMAGES", 3)
    chunks = rescoring.run(NIGHTS[2])

    pd.testing.assert_frame_equal(whole.table, chunks.table, rtol=1e-5, check_dtype=False)
    names = [[each.name for each in night._worst] for night in (whole, chunks)]
    assert names[0] == names[1]


def test_what_cannot_be_read_stops_nothing(bucket, tmp_path):
    """A picture that changed, a damaged manifest and a night that was never run are named."""
    first = sorted(key for key in bucket.objects if key.startswith("bolts/incoming/2026-05-01"))[0]
    bucket.objects[first] = b"other bytes"
    for file in (tmp_path / "cache").rglob("*"):
        if file.is_file():
            file.unlink()
    layout = ProductLayout("bolts")
    bucket.objects[layout.manifest(NIGHTS[1])] = b"damaged"
    never = NIGHTS[2] + timedelta(1)
    bucket.objects[f"{layout.incoming(never)}a.png"] = b"a"

    ended = run(
        "rescore", "bolts", "--version", "2", "--nights", f"{NIGHTS[0]}..{never}",
        "--json", tmp_path / "said.json", "--out", tmp_path / "out",
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["left_out"] == [str(NIGHTS[1]), str(never)]
    assert [night["whole"]["night"] for night in said["nights"]] == [str(NIGHTS[0]), str(NIGHTS[2])]
    assert [night["whole"]["unreadable"] for night in said["nights"]] == [1, 0]
    assert f"1 pictures of {NIGHTS[0]} cannot be read any more, such as {first}" in ended.stderr
    assert f"{never} was never taken in: run `reconad nightly bolts {never}`" in ended.stderr
    assert said["clear_nights"] == [str(NIGHTS[2])]


def test_a_night_without_any_picture_has_a_row(bucket, tmp_path):
    """All of it is quarantined; it has no sheet, and an older one goes."""
    layout, store = ProductLayout("bolts"), store_of(bucket)
    night = NIGHTS[2] + timedelta(1)
    bucket.objects[f"{layout.incoming(night)}torn.png"] = b"\x89PNG"
    rules = IntakeRules(ProductSettings().limits)
    manifest = build_manifest(store, ContentCache(tmp_path / "cache"), layout, night, rules)
    write_manifest(store, layout, night, manifest)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f"{night}.png").write_bytes(b"old")
    line = ("--out", tmp_path / "out", "--json", tmp_path / "said.json")

    ended = run("rescore", "bolts", "--version", "2", "--nights", night, *line)

    assert ended.returncode == 0, ended.stderr
    (only,) = json.loads((tmp_path / "said.json").read_text())["nights"]
    assert (only["whole"]["images"], only["whole"]["quarantined"]) == (0, 1)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["pictures.csv"]


def test_what_the_version_learnt_is_marked(bucket, monkeypatch):
    """It speaks for nothing."""
    rescoring = job.open_rescoring("bolts", "2", *NIGHTS[::2])
    learnt = frozenset(rescoring.product.manifest(NIGHTS[2])["sha256"])

    night = replace(rescoring, learnt=learnt).run(NIGHTS[2])

    assert night.table["is_learnt"].all()
    assert (night.counts.fresh, night.counts.chance) == (0, 1.0)


@pytest.mark.parametrize(
    ("version", "nights", "said"),
    [
        pytest.param("2", "2026-05-03..2026-05-01", "the earlier night first", id="order"),
        pytest.param("2", "2026-05-03..", "a night is a date as YYYY-MM-DD; got ''", id="half"),
        pytest.param("2", "last week", "a night is a date as YYYY-MM-DD", id="no night"),
        pytest.param("2", "2026-06-01..2026-06-09", "has none from 2026-06-01", id="no nights"),
        pytest.param("9", RANGE, "a version must be one of reconad-bolts; got 9", id="version"),
        pytest.param("best", RANGE, "a number, or one of champion, previous_champion", id="alias"),
        pytest.param("challenger", RANGE, "has no version challenger", id="no challenger"),
    ],
)
def test_wrong_usage_is_exit_code_2(bucket, version, nights, said):
    """One line says what to do."""
    ended = run("rescore", "bolts", "--version", version, "--nights", nights)

    assert ended.returncode == 2
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_nights_that_are_all_damaged_are_no_answer(bucket):
    """The command ends with 2."""
    for night in NIGHTS:
        bucket.objects[ProductLayout("bolts").manifest(night)] = b"damaged"

    ended = run("rescore", "bolts", "--version", "2", "--nights", RANGE)

    assert ended.returncode == 2
    assert "those of 3 nights are damaged" in ended.stderr
