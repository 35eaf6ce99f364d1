"""Taking in a night from a real S3 server."""

from datetime import date, timedelta

import numpy as np
import pytest

from flows.ingest import ingest
from flows.jobs.nightly_training import TrainingSet
from flows.jobs.product import open_product
from reconad_plugin.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    StorageUnreachableError,
)
from reconad_plugin.ledger.manifest import read_manifest
from reconad_plugin.store.objects import ObjectStore
from tests.factory import Factory, normal_picture, to_png

NIGHT = date(2026, 3, 1)


def picture(seed: int) -> bytes:
    return to_png((normal_picture(np.random.default_rng(seed)).clip(0, 1) * 255).astype(np.uint8))


def rows_by_name(factory: Factory, night: date = NIGHT) -> dict[str, dict]:
    opened = open_product(factory.product)
    manifest = read_manifest(opened.store, opened.layout, night)
    return {row["key"].rsplit("/", 1)[-1]: row for row in manifest.to_dict("records")}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "empty", id="a 0-byte object"),
        pytest.param(b"just words", "not_an_image", id="a text file"),
        pytest.param(picture(1)[:500], "truncated", id="a picture that is cut off"),
        pytest.param(to_png(np.zeros((400, 400, 3), np.uint8)), "too_many_pixels", id="too large"),
        pytest.param(to_png(np.zeros((8, 8, 3), np.uint8)), "too_small", id="too small"),
    ],
)
def test_a_bad_picture_is_quarantined_with_its_reason(
    factory: Factory, content: bytes, reason: str
) -> None:
    """A file that cannot be scored has its row and its note, and the others go on."""
    factory.put(NIGHT, "bad.png", content)
    factory.put(NIGHT, "good.png", picture(2))

    counts = ingest(factory.product, NIGHT)

    assert counts == {"accepted": 1, "quarantined": 1, "duplicate": 0}
    row = rows_by_name(factory)["bad.png"]
    assert row["verdict"] == "quarantined"
    assert row["reason"].startswith(f"{reason}: ")
    opened = open_product(factory.product)
    note = opened.store.read(opened.layout.quarantine(NIGHT, row["key"])).content
    assert reason.encode() in note


def test_odd_names_and_strays_stop_no_night(factory: Factory) -> None:
    """A note fits whatever its image is called, and what lies among our own files is passed over;
    keys that XML cannot carry are listed and read."""
    odd = ("x" * 255, "ctl\x01.png", "a+b %2F.png", "雪.png")
    for seed, name in enumerate(odd):
        factory.put(NIGHT, name, picture(seed) if name.endswith("png") else b"no picture")
    for stray in (
        "incoming/2026-03-01/.DS_Store",
        "golden/Thumbs.db",
        "_reconad/manifests/.DS_Store",
    ):
        factory.put_key(f"{factory.product}/{stray}", b"x")

    counts = [ingest(factory.product, night) for night in (NIGHT, NIGHT + timedelta(1), NIGHT)]

    assert counts[0] == counts[2] == {"accepted": 3, "quarantined": 1, "duplicate": 0}
    assert set(rows_by_name(factory)) == set(odd)
    store = open_product(factory.product).store
    (note,) = store.list_objects(f"{factory.product}/_reconad/quarantine/")
    assert ("x" * 255).encode() in store.read(note.key).content


def test_the_same_picture_twice_is_accepted_once(factory: Factory) -> None:
    """Equal bytes count once, within a night and across nights, and the row names the first."""
    factory.put(NIGHT, "a.png", picture(1))
    factory.put(NIGHT, "b.png", picture(1))
    factory.put(NIGHT + timedelta(1), "c.png", picture(1))

    ingest(factory.product, NIGHT)
    counts = ingest(factory.product, NIGHT + timedelta(1))

    assert counts == {"accepted": 0, "quarantined": 0, "duplicate": 1}
    assert rows_by_name(factory)["b.png"]["verdict"] == "duplicate"
    later = rows_by_name(factory, NIGHT + timedelta(1))["c.png"]
    assert later["reason"].endswith("2026-03-01/a.png")


@pytest.mark.parametrize("folder", ["scratch", "scratch/masks"])
def test_a_golden_image_never_becomes_training_data(factory: Factory, folder: str) -> None:
    """A golden image that arrives under another name is kept out by its content."""
    factory.put_key(f"{factory.product}/golden/{folder}/g.png", picture(7))
    factory.put(NIGHT, "innocent-name.png", picture(7))

    ingest(factory.product, NIGHT)

    row = rows_by_name(factory)["innocent-name.png"]
    assert (row["verdict"], row["reason"][:7]) == ("quarantined", "golden:")


def test_an_image_that_becomes_golden_later_is_not_learnt(factory: Factory) -> None:
    """Accepted first and golden afterwards: from then on it trains nothing."""
    for seed in range(3):
        factory.put(NIGHT, f"{seed}.png", picture(seed))
    ingest(factory.product, NIGHT)
    opened = open_product(factory.product)

    def learnable() -> set[str]:
        rows = TrainingSet.read(opened, NIGHT).rows
        return {key.rsplit("/", 1)[-1] for key in rows["key"]}

    before = learnable()
    factory.put_key(f"{factory.product}/golden/normal/another-name.png", picture(1))

    assert before == {"0.png", "1.png", "2.png"}
    assert learnable() == {"0.png", "2.png"}


def test_a_raised_limit_takes_the_picture_in(factory: Factory) -> None:
    """After max_image_pixels is raised, running the night again accepts what was too large."""
    factory.put(NIGHT, "large.png", to_png(np.zeros((400, 400, 3), np.uint8)))
    before = ingest(factory.product, NIGHT)
    text = factory.settings.read_text()
    factory.settings.write_text(text.replace("max_image_pixels = 100000", ""))

    after = ingest(factory.product, NIGHT)

    assert (before["quarantined"], after["accepted"]) == (1, 1)


def test_filling_in_an_older_night_takes_no_image_twice(factory: Factory) -> None:
    """A picture that a later night brought first is a duplicate in the night filled in."""
    factory.put(NIGHT + timedelta(1), "a.png", picture(1))
    factory.put(NIGHT, "b.png", picture(1))

    ingest(factory.product, NIGHT + timedelta(1))
    counts = ingest(factory.product, NIGHT)

    assert counts["duplicate"] == 1


def test_late_arrivals_join_and_move_nobody(factory: Factory) -> None:
    """A second run of the night adds what is new and keeps the rows and sides of the others."""
    for seed in range(7):
        factory.put(NIGHT, f"{seed}.png", picture(seed))
    ingest(factory.product, NIGHT)
    before = rows_by_name(factory)
    factory.put(NIGHT, "0-late.png", picture(99))

    counts = ingest(factory.product, NIGHT)

    after = rows_by_name(factory)
    assert counts["accepted"] == 8
    assert {name: after[name] for name in before} == before


def test_a_night_with_no_images_is_no_error(factory: Factory) -> None:
    """Nothing arrived: nothing is written, and the night ends well."""
    counts = ingest(factory.product, NIGHT)

    assert counts == {"accepted": 0, "quarantined": 0, "duplicate": 0}


def test_manifest_describes_every_image(factory: Factory) -> None:
    """A row has what lineage and the watch need."""
    factory.put(NIGHT, "a.png", picture(3))

    ingest(factory.product, NIGHT)

    row = rows_by_name(factory)["a.png"]
    assert (row["width_px"], row["height_px"], row["night"]) == (64, 48, "2026-03-01")
    assert len(row["sha256"]) == 64
    assert row["size_bytes"] == len(picture(3))
    assert 0.2 < row["luminance"] < 0.8
    assert row["split"] == "train"


def test_a_missing_bucket_is_named(factory: Factory) -> None:
    """The message says which bucket, where, and what to do."""
    text = factory.settings.read_text()
    factory.settings.write_text(text.replace('"factory"', '"no-such-bucket"'))

    with pytest.raises(BucketNotFoundError, match=r"bucket 'no-such-bucket' does not exist"):
        ingest(factory.product, NIGHT)


def test_wrong_credentials_are_named(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says that access was denied, and never repeats the secret."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")

    with pytest.raises(AccessDeniedError, match="access denied") as caught:
        ingest(factory.product, NIGHT)

    assert "not-the-secret" not in str(caught.value)


def test_an_unreachable_server_is_named(factory: Factory) -> None:
    """The message names the address that does not answer."""
    text = factory.settings.read_text()
    address = 'bucket = "factory"\nendpoint_url = "http://127.0.0.1:9"'
    factory.settings.write_text(text.replace('bucket = "factory"', address))
    store = open_product(factory.product).store

    with pytest.raises(StorageUnreachableError, match=r"no S3 service answers at http://127"):
        list(store.list_objects("x/"))


def test_what_the_factory_wrote_is_never_written_over(factory: Factory) -> None:
    """The store refuses every key outside its own folder."""
    store: ObjectStore = open_product(factory.product).store

    with pytest.raises(ValueError, match="_reconad/ alone"):
        store.write(f"{factory.product}/incoming/2026-03-01/a.png", b"", "image/png")


def test_listings_go_beyond_one_page(factory: Factory) -> None:
    """S3 answers 1,000 keys at a time; a large night is listed whole."""
    prefix = f"{factory.product}/textures/"
    for number in range(1_003):
        factory.put_key(f"{prefix}{number:04}", b"x")

    listed = list(open_product(factory.product).store.list_objects(prefix))

    assert len(listed) == 1_003
    assert listed[-1].key.endswith("1002")
