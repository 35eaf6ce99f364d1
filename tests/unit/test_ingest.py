"""What the platform is told of quarantined images."""

import json
from datetime import date
from types import SimpleNamespace

import pandas as pd
import pytest

from flows import ingest
from flows.ingest import make_manifest, report_quarantined
from reconad_plugin.config.product import ProductSettings
from reconad_plugin.errors import AccessDeniedError, StorageError, StorageUnreachableError
from reconad_plugin.store.layout import ProductLayout

NIGHT = date(2026, 3, 1)
LARGEST_EVENT_BYTES = 1_500_000  # Prefect's limit


@pytest.fixture
def told(monkeypatch):
    """The payloads of events."""
    payloads = []
    monkeypatch.setattr(ingest, "emit", lambda event, product, payload: payloads.append(payload))
    return payloads


@pytest.fixture
def noted():
    """Keys of the images that a note was written of."""
    return []


@pytest.fixture
def tell_of(told, noted):
    """Sets so many bad images aside, with one good image before them; their keys."""

    def run(count):
        keys = [f"bolts/incoming/{NIGHT}/{number:05}-{'x' * 80}.png" for number in range(count)]
        rows = [{"key": key, "verdict": "quarantined", "reason": f"empty: {key}"} for key in keys]
        good = {"key": "good.png", "verdict": "accepted", "reason": ""}
        records = SimpleNamespace(write_quarantine_note=lambda night, row: noted.append(row["key"]))
        product = SimpleNamespace(name="bolts", records=records)
        manifest = pd.DataFrame([good, *rows])
        report_quarantined.__wrapped__(product, NIGHT, manifest)  # without Prefect
        return keys

    return run


def test_few_reasons_are_all_told(tell_of, told):
    """With the night and how many there are."""
    keys = tell_of(2)

    reasons = {key: f"empty: {key}" for key in keys}
    assert told == [{"night": "2026-03-01", "images": 2, "reasons": reasons}]


def test_many_reasons_are_kept_and_the_first_are_told(tell_of, told, noted):
    """Every image has its note, and the event is one that Prefect takes."""
    keys = tell_of(20_000)

    assert noted == keys
    (payload,) = told
    assert payload["images"] == 20_000
    assert list(payload["reasons"]) == keys[:100]
    assert len(json.dumps(payload)) < LARGEST_EVENT_BYTES


def test_nothing_is_told_of_a_night_without_bad_images(tell_of, told, noted):
    """No note and no event."""
    tell_of(0)

    assert told == noted == []


@pytest.mark.parametrize(
    ("failure", "tries", "said"),
    [
        pytest.param(StorageError("key too long"), 3, "is missing: key too long", id="one note"),
        pytest.param(AccessDeniedError("denied"), 3, "is missing: denied", id="the folder"),
        pytest.param(StorageUnreachableError("none"), 1, "given up: none", id="the store"),
    ],
)
def test_a_note_that_cannot_be_written_stops_no_night(told, monkeypatch, failure, tries, said):
    """The reasons stand in the manifest and in the event; a store that is down is not waited for
    once a note."""
    tried, warned = [], []
    logger = SimpleNamespace(warning=lambda message, error: warned.append(message % error))
    monkeypatch.setattr(ingest, "get_run_logger", lambda: logger)

    def fail(night, row):
        tried.append(row["key"])
        raise failure

    records = SimpleNamespace(write_quarantine_note=fail)
    rows = [{"key": key, "verdict": "quarantined", "reason": "empty: "} for key in "abc"]

    product = SimpleNamespace(name="bolts", records=records)
    report_quarantined.__wrapped__(product, NIGHT, pd.DataFrame(rows))

    assert len(tried) == len(warned) == tries
    assert warned[0].endswith(said)
    assert told[0]["images"] == 3


@pytest.mark.parametrize(("run", "is_last"), [(1, False), (2, False), (3, True), (None, False)])
def test_the_last_try_of_a_night_is_known(monkeypatch, run, is_last):
    """A night is tried twice more; after that a failing object stops it no longer."""
    asked = []
    no_history = SimpleNamespace(is_closed=lambda night: False)
    monkeypatch.setattr(ingest, "read_history", lambda product: no_history)
    monkeypatch.setattr(ingest, "task_run", SimpleNamespace(run_count=run))
    monkeypatch.setattr(
        ingest.manifests, "build_manifest", lambda *args: asked.append(args[4]) or pd.DataFrame()
    )
    product = SimpleNamespace(
        store=None, layout=None, cache=None, intake_limits=None, manifest=lambda night: None,
        settings=ProductSettings(),
    )  # fmt: skip

    make_manifest.__wrapped__(product, NIGHT)

    assert asked[0].is_last_try is is_last


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        pytest.param(None, None, id="no pattern"),
        pytest.param(
            r"(bolt\d)_", "finds no part in 1 of 2 images, such as bolts/incoming/2026", id="one"
        ),
        pytest.param(r"^(.)", None, id="all told"),
    ],
)
def test_pictures_whose_names_tell_no_part_are_told(pattern, said):
    """The sides of a night stay, so a pattern that is wrong must not wait to be found."""
    names = {"bolt1_a.png": "accepted", "nut.png": "accepted", "b.txt": "quarantined"}
    keys = [f"bolts/incoming/{NIGHT}/{name}" for name in names]
    settings = ProductSettings(part_pattern=pattern)
    product = SimpleNamespace(settings=settings, layout=ProductLayout("bolts"))
    manifest = pd.DataFrame({"key": keys, "verdict": list(names.values())})

    found = ingest.describe_untold_parts(product, manifest)

    assert found is None if said is None else said in found
