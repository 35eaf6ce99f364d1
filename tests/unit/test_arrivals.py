"""Nights that a factory has brought, and objects that lie where nobody looks."""

from datetime import date

import pytest

from reconad_plugin.store.arrivals import arrived_nights, objects_beside
from reconad_plugin.store.layout import ProductLayout
from tests.fake_s3 import FakeS3, store_of

LAYOUT = ProductLayout("bolt")
IN_PLACE = (
    "bolt/incoming/2026-03-02/a.png",
    "bolt/incoming/2026-03-02/left/b.png",
    "bolt/incoming/2026-02-27/",
    "bolt/golden/crack/c.png",
    "bolt/textures/d.png",
    "bolt/_reconad/manifests/2026-03-02.parquet",
    "nut/incoming/20260302/a.png",
)


def bucket(*keys):
    """A bucket with these objects."""
    return store_of(FakeS3({key: b"" if key.endswith("/") else b"x" for key in keys}))


def test_what_lies_in_its_place_is_a_night_and_not_beside():
    """A night is a folder that is named by a date; other products are none of ours."""
    store = bucket(*IN_PLACE)

    assert arrived_nights(store, LAYOUT) == [date(2026, 2, 27), date(2026, 3, 2)]
    assert objects_beside(store, LAYOUT) == {}


@pytest.mark.parametrize(
    ("key", "folder"),
    [
        ("bolt/incoming/20260302/a.png", "bolt/incoming/20260302/"),
        ("bolt/incoming/2026-3-2/a.png", "bolt/incoming/2026-3-2/"),
        ("bolt/incoming/2026-02-30/a.png", "bolt/incoming/2026-02-30/"),
        ("bolt/incoming/2026/03/02/a.png", "bolt/incoming/2026/"),
        ("bolt/incoming/a.png", "bolt/incoming/"),
        ("bolt/Incoming/2026-03-02/a.png", "bolt/Incoming/"),
        ("bolt/2026-03-02/a.png", "bolt/2026-03-02/"),
        ("bolt/a.png", "bolt/"),
        ("/bolt/incoming/2026-03-02/a.png", "/bolt/"),
        ("Bolt/incoming/2026-03-02/a.png", "Bolt/"),
        ("incoming/2026-03-02/a.png", "incoming/"),
    ],
)
def test_what_lies_beside_is_counted_with_its_place(key, folder):
    """Dates in another form, other spellings, a leading slash, no folder at all."""
    assert objects_beside(bucket(*IN_PLACE, key), LAYOUT) == {folder: 1}
