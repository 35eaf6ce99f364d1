"""Defects that persons put into the golden set from the review page."""

from datetime import date

import numpy as np
import pytest

from reconad_plugin.errors import DamagedRecordError, ObjectUnreadableError
from reconad_plugin.gate.golden import read_golden
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.ledger.manifest import ACCEPTED, QUARANTINED, IntakeRules, build_manifest
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.golden_images import read_golden_images
from reconad_plugin.store.golden_notes import GoldenNote, note_golden, put_golden, read_golden_notes
from reconad_plugin.store.layout import ProductLayout
from tests.fake_s3 import FakeS3, store_of

NIGHT, LATER = date(2026, 5, 4), date(2026, 5, 5)
LAYOUT = ProductLayout("bolt")
KEY = f"{LAYOUT.incoming(NIGHT)}a.png"


@pytest.fixture
def world(tmp_path, encode):
    """A bucket with a night of two images, the first of which was put into the golden set."""
    shades = {KEY: 90, f"{LAYOUT.incoming(NIGHT)}b.png": 120}
    objects = {
        key: encode(np.full((40, 40, 3), shade, np.uint8), "PNG") for key, shade in shades.items()
    }
    fake = FakeS3(objects)
    store, cache = store_of(fake), ContentCache(tmp_path / "cache")
    manifest = build_manifest(store, cache, LAYOUT, NIGHT, IntakeRules(ImageLimits()))
    row = manifest.iloc[0]
    note = GoldenNote(row["sha256"], row["pixels_sha256"], KEY, "pit", True, "Ana", "today")
    put_golden(store, LAYOUT, [note], [objects[KEY]])
    return fake, store, note


def golden_of(store, tmp_path):
    """The golden set as the gate reads it, on a machine without a cache."""
    images = read_golden_images(store, ContentCache(tmp_path / "other"), LAYOUT, ImageLimits())
    return read_golden(images, ImageSize.square(32), ImageLimits(), ())


def test_the_gate_judges_by_it(world, tmp_path):
    """Also when its night has left the bucket; it has the name that the person gave."""
    fake, store, _ = world
    del fake.objects[KEY]

    golden = golden_of(store, tmp_path)

    assert golden.labels.anomalous == (KEY,)
    assert golden.labels.defects == ("pit",)
    assert golden.labels.kind == "real"
    assert np.unique(golden.anomalous).tolist() == [90]


def test_what_is_taken_out_judges_no_more(world, tmp_path):
    """Who put it in, and who took it out, stays written down."""
    fake, store, note = world
    out = GoldenNote(note.sha256, note.pixels_sha256, KEY, "pit", False, "Ben", "tomorrow")

    note_golden(store, LAYOUT, [out])

    assert golden_of(store, tmp_path) is None
    assert read_golden_notes(store, LAYOUT) == [out]
    assert fake.objects[LAYOUT.golden_notes].count(b'"by"') == 2


def test_an_image_that_lies_in_the_factorys_golden_set_too_counts_once(world, tmp_path):
    """It is what its folder says."""
    fake, store, _ = world
    fake.objects["bolt/golden/dent/1.png"] = fake.objects[KEY]

    assert golden_of(store, tmp_path).labels.defects == ("dent",)


def test_its_night_stays_as_it_was(world, tmp_path):
    """Run again from nothing, the night has the image still; copies of it that come later are
    golden images, which train nothing."""
    fake, store, _ = world
    fake.objects[f"{LAYOUT.incoming(LATER)}copy.png"] = fake.objects[KEY]
    cache, rules = ContentCache(tmp_path / "other"), IntakeRules(ImageLimits())

    again = build_manifest(store, cache, LAYOUT, NIGHT, rules)
    later = build_manifest(store, cache, LAYOUT, LATER, rules)

    assert again["verdict"].tolist() == [ACCEPTED, ACCEPTED]
    assert later["verdict"].tolist() == [QUARANTINED]
    assert f"golden: same bytes as {KEY}" in later["reason"][0]


def test_a_copy_that_is_gone_stops_the_gate(world, tmp_path):
    """No version is judged without a defect that a person chose."""
    fake, store, note = world
    del fake.objects[LAYOUT.golden_copy(note.sha256)]

    with pytest.raises(ObjectUnreadableError, match="bring it back"):
        golden_of(store, tmp_path)


@pytest.mark.parametrize("damage", [b"?", b'[{"sha256": 1}]'], ids=["no JSON", "other fields"])
def test_damaged_notes_are_put_back_from_a_copy(world, tmp_path, damage):
    """What persons decided is never passed over."""
    fake, store, _ = world
    fake.objects[LAYOUT.golden_notes] = damage

    with pytest.raises(DamagedRecordError, match=r"golden\.json is not .*: put it back"):
        golden_of(store, tmp_path)
