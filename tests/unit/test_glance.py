"""How a product stands, in one small object, and all of them in one table."""

import json
import re
from dataclasses import replace
from datetime import date

import pandas as pd
import pytest

from flows.commands import all_products
from flows.commands.all_products import show_all
from flows.jobs import all_products as job
from flows.jobs.wanted_trainings import keep_training
from reconad_plugin.config.settings import Settings
from reconad_plugin.errors import BucketNotFoundError, DamagedRecordError
from reconad_plugin.ledger.glance import TREND_NIGHTS, Glance, read_glance, write_glance
from reconad_plugin.ledger.history import History, VersionFacts
from reconad_plugin.ledger.night_record import REVIEW_COLUMNS, WAITING
from reconad_plugin.ledger.wanted_training import Need, WantedTraining
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.watch.cause import LIGHT
from tests.fake_s3 import BUCKET, FakeS3, refusal, store_of
from tests.unit.test_ledger import FOUNDED, day, ledger

LAYOUT = ProductLayout("bolt")
PROMOTED = History(
    (VersionFacts("1", "run", day(0).isoformat(), promoted_night=day(1).isoformat(), serves=True),),
    founding_until=FOUNDED.founding_until,
)


def review(night, images):
    """A review with so many images that wait."""
    rows = pd.DataFrame({"key": range(images)}).reindex(columns=list(REVIEW_COLUMNS))
    return rows.assign(night=night.isoformat(), decision=WAITING)


def test_an_open_alarm_and_waiting_images_need_a_person():
    """The alarm since the night it began; who serves, and since when."""
    told = ledger(6, {3: "none", 4: "none", 5: LIGHT}, PROMOTED, {day(5): review(day(5), 2)})

    glance = Glance.of("bolt", told)

    assert (glance.night, glance.cause, glance.since) == (
        day(5).isoformat(),
        LIGHT,
        day(5).isoformat(),
    )
    assert (glance.waiting_images, glance.needs_a_person) == (2, True)
    assert (glance.champion, glance.champion_nights) == ("1", 4)


def test_a_resolved_alarm_needs_nobody():
    """It is over; the explanation stays."""
    told = ledger(6, {4: "none", 5: LIGHT}, PROMOTED, resolved=[5])

    glance = Glance.of("bolt", told)

    assert not glance.needs_a_person
    assert glance.since is None


def test_a_product_without_a_night_has_nothing_to_tell():
    """And needs nobody."""
    glance = Glance.of("bolt", ledger(0, {}, History()))

    assert glance == Glance("bolt", waiting={})
    assert glance.champion_nights is None


def test_the_trend_has_the_newest_nights():
    """As many as fit a line."""
    told = ledger(TREND_NIGHTS + 2, dict.fromkeys(range(1, TREND_NIGHTS + 2), "none"), PROMOTED)

    glance = Glance.of("bolt", told)

    assert len(glance.luminances) == len(glance.scores) == TREND_NIGHTS


def test_what_was_noted_is_read_back():
    """To the last value."""
    store = store_of(FakeS3({}))
    noted = Glance("bolt", "2026-05-01", LIGHT, "2026-04-30", "So.", {"2026-05-01": 3}, "2")
    noted = replace(noted, champion_since="2026-04-01", scores=(0.5, 1.0), luminances=(0.4,))

    write_glance(store, LAYOUT, noted)

    assert read_glance(store, LAYOUT) == noted


@pytest.mark.parametrize("content", [b"", b"{}", b'{"product": 7}', b"\xff"])
def test_a_damaged_note_says_what_to_do(content):
    """It is not taken for one that was never written."""
    store = store_of(FakeS3({LAYOUT.glance: content}))

    with pytest.raises(DamagedRecordError, match="delete it: the next night writes it anew"):
        read_glance(store, LAYOUT)


@pytest.fixture
def show(monkeypatch):
    """Shows all products of some names over a bucket."""

    def show(fake, *names, json=None, **sections):
        products = {name: {} for name in names}
        content = {"storage": {"bucket": BUCKET}, "products": products, **sections}
        settings = Settings.model_validate(content)
        monkeypatch.setattr(job, "load_settings", lambda: settings)
        monkeypatch.setattr(job, "ObjectStore", lambda _: store_of(fake))
        monkeypatch.setenv("COLUMNS", "120")
        show_all(json)

    return show


def test_a_note_that_cannot_be_read_stops_no_other(show, capsys):
    """Such products come first, and say why; a bucket that is not there is an error of all."""
    damaged, denied = (ProductLayout(name).glance for name in ("nut", "pin"))
    fake = FakeS3({damaged: b"?"}, {denied: refusal("AccessDenied", "Not you.", 403)})
    write_glance(store_of(fake), LAYOUT, Glance("bolt", "2026-05-01", LIGHT, "2026-05-01"))

    show(fake, "bolt", "nut", "pin")

    said = capsys.readouterr().out
    rows = [line.split("│") for line in said.splitlines() if "│" in line]
    assert [(row[1].strip(), row[2].strip()) for row in rows] == [
        ("nut", "cannot be read"),
        ("pin", "cannot be read"),
        ("bolt", "2026-05-01"),
    ]
    assert "3 of 3 products need a person" in said
    assert "nut: what was kept of a night must be as it was written" in said
    assert re.search(r"^pin: .*access denied \(AccessDenied: Not you\)", said, re.MULTILINE)
    none = FakeS3({}, {LAYOUT.glance: refusal("NoSuchBucket", "There is none.", 404)})
    with pytest.raises(BucketNotFoundError):
        show(none, "bolt")


def test_all_products_stand_in_one_table(show, capsys, tmp_path):
    """Those that need a person first; one that was never run is there too, and one that lags."""
    fake = FakeS3({})
    store = store_of(fake)
    for name, night, cause in (("axle", "2026-05-02", "none"), ("nut", "2026-05-01", LIGHT)):
        noted = Glance(name, night, cause, night if cause == LIGHT else None, champion="3")
        write_glance(store, ProductLayout(name), replace(noted, scores=(0.0, 1.0)))

    show(fake, "axle", "bolt", "nut", json=tmp_path / "all.json")

    said = capsys.readouterr().out
    assert "1 of 3 products needs a person" in said
    rows = [line for line in said.splitlines() if "│" in line]
    assert [name for row in rows for name in ("axle", "bolt", "nut") if name in row] == [
        "nut", "axle", "bolt",
    ]  # fmt: skip
    assert "2026-05-01 late" in rows[0]
    assert "light" in rows[0]
    assert "none yet" in rows[2]
    assert (tmp_path / "all.json").read_text().count('"product"') == 3


def test_who_waits_for_a_training_is_said_with_since_when(show, capsys, tmp_path):
    """Where products share a night, in the order of their turns; a damaged note stops no other."""
    fake = FakeS3({ProductLayout("nut").wanted_training: b"?"})
    store = store_of(fake)
    due, drift = (
        replace(WantedTraining(need, night, night, 5.0), expected="2026-05-04")
        for need, night in ((Need.DUE, "2026-05-01"), (Need.DRIFT, "2026-05-02"))
    )
    for name, wanted in (("axle", due), ("bolt", drift), ("pin", due.done())):
        keep_training(store, name, wanted.ranked(date.fromisoformat(wanted.night)))

    show(fake, "axle", "bolt", "nut", "pin", night={}, json=tmp_path / "all.json")

    said = [line for line in capsys.readouterr().out.splitlines() if "waits" in line]
    assert said == [
        "bolt waits for a training: drift, since 2026-05-02; its turn comes by 2026-05-04",
        "axle waits for a training: retraining, since 2026-05-01; its turn comes by 2026-05-04",
    ]
    assert list(json.loads((tmp_path / "all.json").read_text())["trainings"]) == ["bolt", "axle"]
    show(fake, "axle", "bolt")
    assert "waits" not in capsys.readouterr().out


@pytest.mark.parametrize(("columns", "has_bars"), [("80", False), ("120", True)])
def test_a_narrow_terminal_shows_the_names_and_no_bars(columns, has_bars, monkeypatch, capsys):
    """A name is never squeezed out; a long one takes two lines."""
    glance = Glance("a" * 30, "2026-05-02", LIGHT, "2026-05-01", champion="12", scores=(0.0, 1.0))
    glance = replace(glance, champion_since="2025-05-01", waiting={"2026-05-02": 30})
    late = Glance("nut", "2026-05-01")
    monkeypatch.setattr(all_products, "read_glances", lambda: [glance, late])
    monkeypatch.setattr(all_products, "read_waiting_trainings", dict)
    monkeypatch.setenv("COLUMNS", columns)

    show_all(None)

    said = capsys.readouterr().out
    assert sum(line.count("a") for line in said.splitlines() if line.startswith("│ a")) >= 30
    assert max(len(line) for line in said.splitlines()) <= int(columns)
    assert ("▁█" in said) is has_bars
    for shown in ("2026-05-01 late", "v12, 366 nights", "light"):
        assert shown in said


def test_bars_fill_the_height_over_a_span_that_says_something():
    """What hardly moved is drawn flat."""
    told = Glance("bolt", scores=(0.0, 1.0, 0.5), luminances=(0.4, 0.401))
    score, light = map(all_products.draw_bars, told.trends)

    assert score == "▁█▅"
    assert len(set(light)) == 1
    assert Glance("bolt").trends == ([], [])
