"""Which images train, which calibrate, and which judge."""

import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconad_plugin.ledger.splits import CALIBRATION, JUDGE, TRAIN, assign_splits


def hashes(count, start=0):
    """SHA-256 of made-up images."""
    return [hashlib.sha256(str(start + i).encode()).hexdigest() for i in range(count)]


@pytest.mark.parametrize(
    ("count", "train", "calibration", "judge"),
    [
        pytest.param(0, 0, 0, 0, id="no image"),
        pytest.param(1, 1, 0, 0, id="one image"),
        pytest.param(5, 3, 1, 1, id="one turn"),
        pytest.param(10, 6, 2, 2, id="two turns"),
        pytest.param(12, 7, 3, 2, id="two turns and a bit"),
        pytest.param(1000, 600, 200, 200, id="many images"),
    ],
)
def test_shares_by_hand(count, train, calibration, judge):
    """Three in five train, one calibrates, one judges."""
    sides = Counter(assign_splits(hashes(count), already=0).values())

    assert (sides[TRAIN], sides[CALIBRATION], sides[JUDGE]) == (train, calibration, judge)


@given(st.permutations(hashes(13)), st.integers(0, 20))
def test_order_of_arrival_does_not_matter(shuffled, already):
    """Images are dealt in order of hash, whatever order they are listed in."""
    assert assign_splits(shuffled, already) == assign_splits(hashes(13), already)


@given(st.lists(st.integers(0, 12), max_size=8))
def test_arrivals_in_parts_share_alike(parts):
    """However an evening's images arrive, the turn goes on, and the shares stay."""
    sides = {}
    for count in parts:
        sides |= assign_splits(hashes(count, start=len(sides)), already=len(sides))

    total = sum(parts)
    together = assign_splits(hashes(total), already=0)
    assert Counter(sides.values()) == Counter(together.values())
    assert len(sides) == total


@given(first=st.integers(0, 20), later=st.integers(0, 20))
def test_late_arrivals_change_no_side(first, later):
    """Only the new images are dealt; the old ones are not asked about again."""
    new = hashes(later, start=first)

    assert set(assign_splits(new, already=first)) == set(new)


def test_side_has_nothing_to_do_with_the_order_of_delivery():
    """Of images in their camera's order the judge does not get every fifth."""
    ordered = hashes(50)

    sides = assign_splits(ordered, already=0)

    places = [place for place, sha256 in enumerate(ordered) if sides[sha256] == JUDGE]
    assert len({place % 5 for place in places}) > 1
