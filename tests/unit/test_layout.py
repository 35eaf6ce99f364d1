"""Where things are in the bucket."""

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
