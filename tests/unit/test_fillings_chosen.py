"""Which confirmed defects may fill simulated anomalies."""

import pytest

from reconad_plugin.ledger.eligibility import MOST_FILLINGS, choose_fillings
from reconad_plugin.ledger.night_record import DEFECT, NORMAL, WAITING
from reconad_plugin.ledger.splits import FILLING
from tests.unit.test_eligibility import FIRST, SECOND, THIRD, accepted, reviewed

DENTED = accepted(("a", FIRST), ("b", SECOND), ("c", THIRD)).assign(pixels_sha256=["1", "2", "3"])


def fillings(reviews, golden=()):
    """The hashes of what fills."""
    return choose_fillings(DENTED, golden, reviews)["sha256"].tolist()


def test_confirmed_defects_fill():
    """Neither what waits, nor what a person released, nor what nobody was asked about."""
    chosen = choose_fillings(DENTED, (), reviewed(a=DEFECT, b=WAITING, c=NORMAL))

    assert chosen[["sha256", "split"]].to_numpy().tolist() == [["a", FILLING]]
    assert fillings(reviewed()) == []


@pytest.mark.parametrize("golden", [pytest.param("a", id="bytes"), pytest.param("1", id="pixels")])
def test_a_golden_defect_never_fills(golden):
    """It judges, so it must not teach, in whatever file it comes."""
    assert fillings(reviewed(a=DEFECT, c=DEFECT), golden=[golden]) == ["c"]


def test_a_defect_fills_until_that_is_taken_back():
    """From the next training on."""
    assert fillings(reviewed(a=DEFECT)) == ["a"]
    assert fillings(reviewed(a=WAITING)) == []
    assert fillings(reviewed(a=NORMAL)) == []


def test_where_persons_disagree_nothing_fills():
    """What may be normal is not shown as anomalous either, in whatever file it comes."""
    reviews = reviewed(a=DEFECT, other=NORMAL, c=DEFECT).assign(pixels_sha256=["1", "1", "3"])

    assert fillings(reviews) == ["c"]


def test_the_newest_defects_fill():
    """So that years of them do not fill the memory."""
    names = [f"{number:03}" for number in range(MOST_FILLINGS + 5)]
    rows = accepted(*((name, FIRST) for name in names))

    chosen = choose_fillings(rows, (), reviewed(**dict.fromkeys(names, DEFECT)))

    assert chosen["sha256"].tolist() == names[5:]
