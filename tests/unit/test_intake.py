"""Taking in whatever lies in a bucket: every object has one row, and no object stops its night."""

import json
import logging
from datetime import date

import pandas as pd
import pytest
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconad_plugin.errors import AccessDeniedError, StorageUnreachableError
from reconad_plugin.gate.golden import read_golden
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.names import pass_over
from reconad_plugin.images.size import ImageSize
from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.ledger import read_ledger
from reconad_plugin.ledger.manifest import (
    IntakeRules,
    build_manifest,
    is_current,
    known_nights,
    read_manifest,
    write_manifest,
)
from reconad_plugin.ledger.night_record import NightRecords
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.golden_images import read_golden_images
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.strays import is_left_by_system
from tests.fake_s3 import FakeS3, refusal, store_of

NIGHT = date(2024, 5, 1)
LAYOUT = ProductLayout("bolt")
INCOMING = LAYOUT.incoming(NIGHT)
ARCHIVED = refusal("InvalidObjectState", "The operation is not valid for its class.", 403)
DENIED = refusal("AccessDenied", "Access Denied.", 403)
GONE = refusal("NoSuchKey", "The specified key does not exist.", 404)
ENCRYPTED = refusal("KMS.NotFoundException", "No such key.", 400)
SSE_C = refusal("InvalidRequest", "The correct parameters must be provided.", 400)
FAILED = refusal("InternalError", "We encountered an internal error.", 500)
CUT_OFF = ConnectionClosedError(endpoint_url="http://s3")
NO_SERVER = EndpointConnectionError(endpoint_url="http://s3")
REFUSALS = (ARCHIVED, DENIED, GONE, ENCRYPTED, SSE_C)
LEFT = (".DS_Store", "._a.png", "Thumbs.db", "desktop.ini", "cam/thumbs.DB", "__MACOSX/a.png")


@pytest.fixture(scope="module")
def pictures():
    """The bytes of three pictures."""
    import numpy as np

    from tests.factory import to_png

    generator = np.random.default_rng(7)
    return [to_png(generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)) for _ in range(3)]


@pytest.fixture
def fake(pictures):
    """A night of three pictures, in a bucket whose refusals are to be set."""
    return FakeS3(
        {f"{INCOMING}{name}.png": each for name, each in zip("abc", pictures, strict=True)}
    )


def ingest(fake, folder, previous=None, **rules):
    """The night's manifest."""
    rules = IntakeRules(ImageLimits(), **rules)
    return build_manifest(store_of(fake), ContentCache(folder), LAYOUT, NIGHT, rules, previous)


def pass_over_anew(caplog):
    """What is passed over is named again."""
    pass_over.cache_clear()
    caplog.clear()


@pytest.mark.parametrize("refused", REFUSALS, ids=lambda error: error.response["Error"]["Code"])
def test_an_object_that_is_refused_is_quarantined(fake, tmp_path, refused):
    """With the store's code and sentence; the others go on, and it is looked at anew."""
    fake.refused = {f"{INCOMING}b.png": refused}

    manifest = ingest(fake, tmp_path)

    assert manifest["verdict"].tolist() == ["accepted", "quarantined", "accepted"]
    row, answer = manifest.iloc[1], refused.response["Error"]
    assert row["reason"].startswith(f"unreadable: cannot read {INCOMING}b.png in bucket 'factory'")
    assert answer["Code"] in row["reason"]
    assert answer["Message"].rstrip(".") in row["reason"]
    assert (row["sha256"], row["size_bytes"]) == ("", len(fake.objects[row["key"]]))
    fake.refused = {}
    assert not is_current(store_of(fake), LAYOUT, manifest, NIGHT, None)
    assert ingest(fake, tmp_path, manifest)["verdict"].tolist() == ["accepted"] * 3


def test_one_object_alone_is_quarantined_too(fake, tmp_path):
    """A night of one object says nothing of its bucket."""
    fake.objects = {f"{INCOMING}a.png": fake.objects[f"{INCOMING}a.png"]}
    fake.refused = {f"{INCOMING}a.png": DENIED}

    assert ingest(fake, tmp_path)["verdict"].tolist() == ["quarantined"]


def test_all_objects_denied_are_the_bucket(fake, tmp_path):
    """Then it is no fault of an object, and the night says so."""
    fake.refused = dict.fromkeys(fake.objects, DENIED)

    with pytest.raises(AccessDeniedError, match=r"policy; so it is for all 3 of the night"):
        ingest(fake, tmp_path)


def test_late_objects_that_are_denied_stop_nothing(fake, tmp_path):
    """The bucket handed out the others."""
    before = ingest(fake, tmp_path)
    late = [f"{INCOMING}{name}.png" for name in "de"]
    fake.objects |= dict.fromkeys(late, b"late")
    fake.refused = dict.fromkeys(late, DENIED)

    after = ingest(fake, tmp_path, before)

    assert after["verdict"].tolist() == ["accepted"] * 3 + ["quarantined"] * 2


def test_all_objects_archived_are_quarantined(fake, tmp_path):
    """Each with its reason: an archive is no failure of the bucket."""
    fake.refused = dict.fromkeys(fake.objects, ARCHIVED)

    assert set(ingest(fake, tmp_path)["verdict"]) == {"quarantined"}


@pytest.mark.parametrize("failure", [FAILED, CUT_OFF], ids=["internal error", "cut off"])
def test_an_object_that_the_store_fails_on_is_tried_again_first(fake, tmp_path, failure):
    """It may pass; at the last try it is quarantined, as the others can be read."""
    fake.refused = {f"{INCOMING}c.png": failure}

    with pytest.raises(StorageUnreachableError):
        ingest(fake, tmp_path)
    manifest = ingest(fake, tmp_path, is_last_try=True)

    assert manifest["verdict"].tolist() == ["accepted", "accepted", "quarantined"]
    assert manifest["reason"].iloc[2].startswith("unreadable: cannot read")


@pytest.mark.parametrize("failure", [FAILED, NO_SERVER], ids=["internal error", "no server"])
def test_a_store_that_fails_on_all_stops_the_night(fake, tmp_path, failure):
    """Nothing says that it is the objects."""
    fake.refused = dict.fromkeys(fake.objects, failure)

    with pytest.raises(StorageUnreachableError):
        ingest(fake, tmp_path, is_last_try=True)


def test_a_golden_image_that_is_refused_stops_no_night(fake, tmp_path, caplog):
    """It is named; versions are judged again once it can be read."""
    fake.objects |= {
        "bolt/golden/crack/g.png": fake.objects[f"{INCOMING}a.png"],
        "bolt/golden/crack/h.png": fake.objects[f"{INCOMING}b.png"],
    }
    fake.refused = {"bolt/golden/crack/h.png": ARCHIVED}
    pass_over_anew(caplog)

    manifest = ingest(fake, tmp_path)
    golden = read_golden_images(store_of(fake), ContentCache(tmp_path), LAYOUT, ImageLimits())

    assert manifest["verdict"].tolist() == ["quarantined", "accepted", "accepted"]
    assert [record.getMessage() for record in caplog.records] == [
        "s3://factory/bolt/golden/crack/h.png is passed over: cannot read bolt/golden/crack/h.png "
        "in bucket 'factory' at http://s3: InvalidObjectState: The operation is not valid for its "
        "class: restore it from the archive"
    ]
    with pytest.raises(OSError, match=r"crack/h\.png .*InvalidObjectState"):
        read_golden(golden, ImageSize.square(32), ImageLimits(), ())
    fake.refused = {}
    golden = read_golden_images(store_of(fake), ContentCache(tmp_path), LAYOUT, ImageLimits())
    assert read_golden(golden, ImageSize.square(32), ImageLimits(), ()).labels.defects == (
        "crack",
        "crack",
    )


def test_files_of_systems_are_passed_over_and_named_once(fake, tmp_path, caplog):
    """They are no objects of the night; everything else that lies there has its row."""
    fake.objects |= {f"{INCOMING}{name}": b"x" for name in LEFT}
    fake.objects |= {f"{INCOMING}cam/": b"", f"{INCOMING}README.txt": b"x", f"{INCOMING}.a": b"x"}
    pass_over_anew(caplog)

    manifest = ingest(fake, tmp_path)
    ingest(fake, tmp_path)

    assert manifest["key"].str.removeprefix(INCOMING).tolist() == [
        ".a", "README.txt", "a.png", "b.png", "c.png",
    ]  # fmt: skip
    assert manifest["verdict"].tolist() == ["quarantined"] * 2 + ["accepted"] * 3
    named = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert sorted(named) == sorted(
        f"s3://factory/{INCOMING}{name} is passed over: it is none of the files that belong there"
        for name in LEFT
    )


def test_foreign_files_among_golden_images_are_passed_over(fake, tmp_path, caplog):
    """They stop no judging; a picture need not have an ending."""
    picture = fake.objects[f"{INCOMING}a.png"]
    foreign = (
        *LEFT,
        "README.txt",
        "crack/notes.md",
        "crack/.hidden.png",
        ".git/x/a",
        "crack/a.zip",
    )
    fake.objects |= {f"{LAYOUT.golden}{name}": b"x" for name in foreign}
    fake.objects |= {f"{LAYOUT.golden}crack/{name}": picture for name in ("a.PNG", "0001", "1.0-2")}
    pass_over_anew(caplog)

    golden = read_golden_images(store_of(fake), ContentCache(tmp_path), LAYOUT, ImageLimits())

    assert len(read_golden(golden, ImageSize.square(32), ImageLimits(), ()).anomalous) == 3
    assert {record.args[0] for record in caplog.records} == {
        f"s3://factory/{LAYOUT.golden}{name}" for name in foreign
    }


@pytest.mark.parametrize(
    "stray",
    [
        ".DS_Store", "Thumbs.db", "README.txt", "2024-05-01.parquet.bak", "2024-05-01 (1).parquet",
        "20240501.parquet", "2024-W18-3.parquet", "2024-05-01", "old/2024-05-01.parquet", "x.json",
        "2024-05-01.json.json", "2024-13-01.parquet",
    ],
)  # fmt: skip
def test_strays_among_our_own_files_are_passed_over(fake, tmp_path, caplog, stray):
    """Whatever lies beside manifests, records, reviews and resolutions: nights are read on."""
    write_manifest(store_of(fake), LAYOUT, NIGHT, ingest(fake, tmp_path))
    kinds = ("manifests", "nights", "reviews", "resolutions", "scores", "places", "quarantine")
    fake.objects |= {f"bolt/_reconad/{kind}/{stray}": b"x" for kind in kinds}
    pass_over_anew(caplog)
    store = store_of(fake)
    records = NightRecords(store, LAYOUT)

    ledger = read_ledger(store, LAYOUT, records, History())

    assert list(ledger.manifests) == known_nights(store, LAYOUT, date.max) == [NIGHT]
    assert (list(ledger.records), list(ledger.reviews), ledger.resolved) == ([], [], frozenset())
    named = {record.args[0] for record in caplog.records}
    assert named == {f"s3://factory/bolt/_reconad/{kind}/{stray}" for kind in kinds[:4]}
    assert ingest(fake, tmp_path)["verdict"].tolist() == ["accepted"] * 3


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30) | st.lists(
    st.sampled_from(["", ".", "..", "a.png", "A.PNG", "%2E", "雪", "a\x00b", "\\", "x" * 260]),
    min_size=1,
    max_size=4,
).map("/".join)
CONTENTS = st.sampled_from([0, 1, 2]) | st.binary(max_size=40)
FAILURES = st.sampled_from([None, None, None, *REFUSALS, FAILED, CUT_OFF])


@settings(max_examples=30)
@given(st.dictionaries(NAMES, st.tuples(CONTENTS, FAILURES), max_size=8))
@example({"a.png": (0, None), "a.png/b": (0, None), "A.png": (1, DENIED), "../x": (b"", GONE)})
@example({"x" * 1000: (b"bad", None), "/": (b"bad", None), "//": (0, FAILED), "a/": (2, None)})
def test_every_object_has_one_row_and_one_note(tmp_path_factory, pictures, delivered):
    """Whatever its key, its content, and what the store says of it."""
    objects = {
        f"{INCOMING}{name}": pictures[content] if isinstance(content, int) else content
        for name, (content, _) in delivered.items()
    }
    refused = {f"{INCOMING}{name}": error for name, (_, error) in delivered.items() if error}
    fake = FakeS3(dict(objects), refused)
    store, folder = store_of(fake), tmp_path_factory.mktemp("cache")

    expected = {
        key for key, each in objects.items()
        if not is_left_by_system(key) and (each or not key.endswith("/"))
    }  # fmt: skip

    try:
        manifest = ingest(fake, folder, is_last_try=True)
    except (AccessDeniedError, StorageUnreachableError):
        assert set(refused) >= expected  # nothing shows that it is not the bucket
        return
    write_manifest(store, LAYOUT, NIGHT, manifest)
    bad = manifest[manifest["verdict"] == "quarantined"]
    for row in bad.to_dict("records"):
        NightRecords(store, LAYOUT).write_quarantine_note(NIGHT, row)

    assert sorted(manifest["key"]) == sorted(expected)
    assert manifest["verdict"].isin(["accepted", "quarantined", "duplicate"]).all()
    assert (manifest["reason"] == "").equals(manifest["verdict"] == "accepted")
    pd.testing.assert_frame_equal(read_manifest(store, LAYOUT, NIGHT), manifest)
    notes = [key for key in fake.objects if key.startswith("bolt/_reconad/quarantine/2024-05-01/")]
    assert sorted(json.loads(fake.objects[key])["key"] for key in notes) == sorted(bad["key"])
