"""Where things are in the bucket."""

import re
from datetime import date

import pytest

from reconad_plugin.store.layout import ProductLayout

NIGHT = date(2024, 5, 1)
LAYOUT = ProductLayout("bolt")


def test_keys_by_hand():
    """Factories read and write these keys, so they do not change."""
    assert LAYOUT.incoming(NIGHT) == "bolt/incoming/2024-05-01/"
    assert LAYOUT.golden == "bolt/golden/"
    assert LAYOUT.manifests == "bolt/_reconad/manifests/"
    assert LAYOUT.manifest(NIGHT) == "bolt/_reconad/manifests/2024-05-01.parquet"
    assert LAYOUT.scores(NIGHT) == "bolt/_reconad/scores/2024-05-01.parquet"
    assert LAYOUT.cells(NIGHT) == "bolt/_reconad/places/2024-05-01.parquet"
    assert LAYOUT.review(NIGHT) == "bolt/_reconad/reviews/2024-05-01.parquet"
    assert LAYOUT.served(NIGHT) == "bolt/_reconad/served/2024-05-01/"
    part = LAYOUT.served_part(NIGHT, "w-000001")
    assert part == "bolt/_reconad/served/2024-05-01/w-000001.parquet"
    assert LAYOUT.nights == "bolt/_reconad/nights/"
    assert LAYOUT.night_record(NIGHT) == "bolt/_reconad/nights/2024-05-01.json"
    assert LAYOUT.resolutions == "bolt/_reconad/resolutions/"
    assert LAYOUT.resolution(NIGHT) == "bolt/_reconad/resolutions/2024-05-01.json"
    note = LAYOUT.quarantine(NIGHT, "bolt/incoming/2024-05-01/a.png")
    assert note == "bolt/_reconad/quarantine/2024-05-01/a.png.json"


@pytest.mark.parametrize(
    "key_of",
    [
        pytest.param(lambda layout, night: layout.incoming(night), id="incoming"),
        pytest.param(lambda layout, night: layout.manifest(night), id="manifest"),
        pytest.param(lambda layout, night: layout.scores(night), id="scores"),
        pytest.param(lambda layout, night: layout.cells(night), id="cells"),
        pytest.param(lambda layout, night: layout.review(night), id="review"),
        pytest.param(lambda layout, night: layout.served(night), id="served"),
        pytest.param(lambda layout, night: layout.night_record(night), id="record"),
        pytest.param(lambda layout, night: layout.resolution(night), id="resolution"),
        pytest.param(lambda layout, night: layout.quarantine(night, "p/x/a.png"), id="note"),
    ],
)
def test_nights_and_products_do_not_share_keys(key_of):
    """Another night, or another product, has another key, and none is within the other."""
    key = key_of(LAYOUT, NIGHT)
    others = [key_of(LAYOUT, date(2024, 5, 2)), key_of(ProductLayout("bolt2"), NIGHT)]

    assert not any(other.startswith(key) or key.startswith(other) for other in others)


def test_quarantine_keeps_a_note_for_each_image():
    """Two images of the same name in two folders of a night have two notes."""
    folders = ("camera1/", "camera2/", "")

    notes = {LAYOUT.quarantine(NIGHT, f"{LAYOUT.incoming(NIGHT)}{at}a.png") for at in folders}

    assert len(notes) == 3
    assert all(note.startswith("bolt/_reconad/quarantine/2024-05-01/") for note in notes)


def test_a_note_has_the_image_s_name_where_that_fits():
    """Whoever looks for it finds it, also with signs of other scripts."""
    for name in ("a.png", "camera 1/零.png", "a%2F#?.png", "x" * 250):
        note = LAYOUT.quarantine(NIGHT, f"{LAYOUT.incoming(NIGHT)}{name}")
        assert note == f"bolt/_reconad/quarantine/2024-05-01/{name}.json"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("x" * 251, id="longer than a file's name"),
        pytest.param("零" * 84, id="longer in bytes"),
        pytest.param(f"{'x/' * 495}a.png", id="longer than a key"),
        pytest.param("../../../incoming/2024-05-02/a", id="upwards"),
        pytest.param("./a", id="the same folder"),
        pytest.param("a//b", id="two slashes"),
    ],
)
def test_a_note_always_has_a_key_that_stores_take(name):
    """Where the name does not fit, its hash does, another for each name."""
    key = f"{LAYOUT.incoming(NIGHT)}{name}"

    note = LAYOUT.quarantine(NIGHT, key)

    assert len(note.encode()) <= 1024
    assert re.fullmatch(r"bolt/_reconad/quarantine/2024-05-01/[0-9a-f]{64}\.json", note)
    assert note != LAYOUT.quarantine(NIGHT, f"{key}a")
