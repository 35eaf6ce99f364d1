"""``reconad clean`` on fakes: what goes of the local disk, and how the command ends."""

import json
import os
from datetime import UTC, date, datetime, timedelta

import pytest

from flows.commands import clean
from flows.commands.clean import describe_bytes
from flows.commands.options import CleanOptions
from flows.jobs import cleaning
from flows.jobs.cleaning import LAST_COPY, Clearing, Leftover, clear_machine
from flows.jobs.night import choose_scorer
from flows.jobs.product import Product
from mlflow_models import registry, version_tags
from reconad_plugin.config.keep import KeepSettings
from reconad_plugin.config.product import ProductSettings
from reconad_plugin.config.settings import Settings
from reconad_plugin.errors import ConfigError, PlatformError, StorageError
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.manifest import IntakeRules, build_manifest, write_manifest
from reconad_plugin.ledger.night_record import NightRecords
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.layout import ProductLayout
from tests.factory import to_png
from tests.fake_s3 import FakeS3, store_of
from tests.unit.test_ledger import ledger

NIGHT = date(2026, 5, 1)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
NO_ROOM = KeepSettings(cache_gb=1e-9)


@pytest.fixture
def bucket(make_normal, tmp_path, monkeypatch):
    """A night of three pictures, taken in; the fake behind its store."""
    fake, layout = FakeS3({}), ProductLayout("bolt")
    store, cache = store_of(fake), ContentCache(tmp_path / "cache")
    for index, image in enumerate(make_normal(3, 1)):
        picture = image.permute(1, 2, 0).contiguous().numpy()
        fake.objects[f"{layout.incoming(NIGHT)}{index}.png"] = to_png(picture)
    manifest = build_manifest(store, cache, layout, NIGHT, IntakeRules(ImageLimits()))
    write_manifest(store, layout, NIGHT, manifest)
    records = NightRecords(store, layout)
    product = Product("bolt", ProductSettings(), "", "lean", store, cache, layout, records)
    monkeypatch.setattr(cleaning, "open_product", lambda name: product)
    monkeypatch.setattr(cleaning, "see_history", lambda product: History())
    return fake


def cached(tmp_path):
    """How many pictures lie in the cache."""
    return len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()])


def test_pictures_that_the_bucket_has_as_they_were_go(bucket, tmp_path):
    """One that is gone from the bucket and one that was overwritten there stay: a training that
    learnt them would find them nowhere else."""
    first, second, _ = sorted(key for key in bucket.objects if "incoming" in key)
    del bucket.objects[first]
    bucket.objects[second] = b"another picture"
    assert cached(tmp_path) == 3

    (found,) = clear_machine(["bolt"], NO_ROOM, NOW, tmp_path)
    for each in found.goes:
        each.remove()

    assert len(found.goes) == 1
    assert found.stays == {LAST_COPY: 2}
    assert cached(tmp_path) == 2


def test_where_a_bucket_does_not_answer_its_pictures_stay(bucket, tmp_path, monkeypatch, caplog):
    """The log says why."""

    def no_answer(*_):
        raise StorageError("no S3 service answers")

    monkeypatch.setattr(cleaning, "see_history", no_answer)

    (found,) = clear_machine(["bolt"], NO_ROOM, NOW, tmp_path)

    assert (list(found.goes), found.stays) == ([], {LAST_COPY: 3})
    assert "the cached pictures of bolt stay: no S3 service answers" in caplog.text


def test_training_states_that_were_cut_off_long_ago_go(tmp_path):
    """One that was written of late stays, whole; phases count, too."""
    for name, age_days in (("old/training.safetensors", 8), ("new/vq/training.safetensors", 6)):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_bytes(b"state")
        written = (NOW - timedelta(age_days)).timestamp()
        os.utime(file, (written, written))

    (found,) = clear_machine([], KeepSettings(unfinished_days=7), NOW, tmp_path)
    for each in found.goes:
        each.remove()

    assert found.size_bytes == 5
    assert found.stays == {"written in the last 7 days": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


class Shelf:
    """Things that may go, one of which cannot."""

    def __init__(self, stuck=()):
        self.left, self.stuck = ["a", "b", "c"], stuck

    def clearing(self, of="bolt"):
        goes = [Leftover(name, 1_000_000, lambda n=name: self.take(n)) for name in self.left]
        return Clearing(of, "drawings of nights", "old", goes, {"they are the newest 2": 2})

    def take(self, name):
        if name in self.stuck:
            raise OSError("no right to delete")
        self.left.remove(name)


@pytest.fixture
def shelves(monkeypatch):
    """What the products have, by name; a product without one cannot be looked at."""
    found = {}
    settings = Settings(
        storage={"bucket": "factory"},
        keep=KeepSettings(nights=2),
        products={"bolt": {}, "nut": {}},
    )

    def look(name, keep, now):
        if name not in found:
            raise StorageError(f"the bucket has no {name}")
        return [found[name].clearing(name)]

    monkeypatch.setattr(clean, "load_settings", lambda: settings)
    monkeypatch.setattr(clean, "clear_product", look)
    return found


def test_a_dry_run_removes_nothing_and_asks_nothing(shelves, tmp_path, capsys, monkeypatch):
    """It says what, how many, how large, why, and what stays."""
    monkeypatch.setenv("COLUMNS", "150")
    shelves["bolt"], shelves["nut"] = Shelf(), Shelf()
    file = tmp_path / "clean.json"

    clean.run(CleanOptions(dry_run=True, json=file))

    said, content = capsys.readouterr().out, json.loads(file.read_text())
    assert shelves["bolt"].left == shelves["nut"].left == ["a", "b", "c"]
    assert "3.0 MB" in said
    assert "2: they are the newest 2" in said
    assert said.endswith("nothing was removed\n")
    assert (content["dry_run"], content["removed"]) == (True, 0)
    assert content["found"][0]["goes"] == ["a", "b", "c"]


def test_one_thing_that_cannot_go_stops_no_other(shelves, tmp_path, capsys):
    """Nor does a product that cannot be looked at; the end says so."""
    shelves["nut"], file = Shelf(stuck="b"), tmp_path / "clean.json"

    with pytest.raises(PlatformError, match="1 things could not be removed and 1 not be looked at"):
        clean.run(CleanOptions(yes=True, json=file))

    told, content = capsys.readouterr(), json.loads(file.read_text())
    assert shelves["nut"].left == ["b"]
    assert "bolt: the bucket has no bolt" in told.err
    assert "b is still there: no right to delete" in told.err
    assert "removed 2 of 3, 2.0 MB" in told.out
    assert content["failed"] == {"b": "no right to delete"}
    assert content["not_looked_at"] == ["bolt"]


def test_it_asks_before_it_removes(shelves, monkeypatch, capsys):
    """No and no answer leave all as it is; yes removes, and a second time there is nothing."""
    shelves["bolt"], shelves["nut"] = Shelf(), Shelf()
    questions = []

    def answer(said):
        return lambda question: questions.append(question) or said

    def nobody(_):
        raise clean.typer.Abort

    monkeypatch.setattr(clean.typer, "confirm", answer(False))
    clean.run(CleanOptions())
    monkeypatch.setattr(clean.typer, "confirm", nobody)
    with pytest.raises(ConfigError, match="nobody answered; nothing was removed: give --yes"):
        clean.run(CleanOptions())
    assert shelves["bolt"].left == ["a", "b", "c"]

    monkeypatch.setattr(clean.typer, "confirm", answer(True))
    clean.run(CleanOptions(product="bolt"))
    clean.run(CleanOptions(product="bolt"))

    assert shelves["bolt"].left == []
    assert shelves["nut"].left == ["a", "b", "c"]
    assert questions == ["Remove 6, 6.0 MB?", "Remove 3, 3.0 MB?"]
    assert capsys.readouterr().out.endswith("nothing was removed\n")


def test_without_a_setting_all_stays(write_settings, monkeypatch, capsys):
    """Nothing is looked at but the settings; an unknown product is still an error."""
    path = write_settings('[storage]\nbucket = "factory"\n[products.bolt]\n')
    monkeypatch.setenv("RECONAD_CONFIG", str(path))
    monkeypatch.setattr(cleaning, "open_product", None)

    clean.run(CleanOptions(yes=True))

    assert "all stays: [keep] in reconad.toml has no setting" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="got 'nut'"):
        clean.run(CleanOptions(product="nut"))


def test_sizes_are_written_for_people():
    """In the unit that leaves few digits."""
    sizes = [describe_bytes(size) for size in (0, 1_500, 4_600_000, 2_000_000_000)]

    assert sizes == ["0 kB", "2 kB", "4.6 MB", "2.0 GB"]


def test_a_night_is_never_scored_by_a_version_without_weights(bucket, monkeypatch):
    """Where a server answered with a refused one for a trial, the champion scores the night."""
    versions = {
        "1": registry.Version("1", "models:/reconad-bolt/1", {}, "run1"),
        "2": registry.Version(
            "2", "models:/reconad-bolt/2", {version_tags.CLEANED_TAG: "done"}, "run2"
        ),
    }
    monkeypatch.setattr(registry, "version", lambda product, number: versions[number])
    monkeypatch.setattr(registry, "champion", lambda product: versions["1"])
    product = cleaning.open_product("bolt")
    unknown = ledger(1, {})

    assert choose_scorer(product, unknown, NIGHT, said_most="2").number == "1"
    versions["2"] = registry.Version("2", "models:/reconad-bolt/2", {}, "run2")
    assert choose_scorer(product, unknown, NIGHT, said_most="2").number == "2"
