"""What has to stay when a product is tidied up: what a person, a rollback or a record may need."""

from dataclasses import replace

import pytest

from reconad_plugin.ledger import retention
from reconad_plugin.ledger.history import REJECTED, History, VersionFacts
from reconad_plugin.ledger.retention import staying_nights, staying_versions
from reconad_plugin.watch.cause import LIGHT
from tests.unit.test_glance import review
from tests.unit.test_ledger import day, ledger

REFUSED = VersionFacts("7", "run7", day(2).isoformat(), "train", "none", REJECTED)
QUIET = dict.fromkeys(range(1, 8), "none")


def nights_that_stay(told, newest=2):
    """How many days after the first night each lies that stays, and why."""
    why = staying_nights(told, newest)
    reasons = {n: why(day(n).isoformat()) for n in range(8)}
    return {n: reason for n, reason in reasons.items() if reason is not None}


def test_the_newest_nights_stay():
    """As many as are asked for; all where there are fewer."""
    newest = "they are the newest 2"

    assert nights_that_stay(ledger(8, QUIET)) == {6: newest, 7: newest}
    assert set(nights_that_stay(ledger(8, QUIET), 50)) == set(range(8))


def test_nights_that_a_person_may_look_at_stay():
    """Those of an open alarm, from its beginning on, and those with images that wait."""
    alarm = {6: LIGHT, 7: LIGHT}
    told = ledger(8, QUIET | alarm, reviews={day(3): review(day(3), 1)}, since=day(4).isoformat())
    decided = review(day(2), 1).assign(decision="normal")
    told = replace(told, reviews=ledger(0, {}, reviews={day(3): told.reviews[day(3)],
                                                        day(2): decided}).reviews)  # fmt: skip

    stays = nights_that_stay(told, newest=1)

    assert {n: stays[n] for n in (3, 4, 5, 6)} == {
        3: retention.WAITING,
        **dict.fromkeys((4, 5, 6), retention.OPEN_ALARM),
    }
    assert set(stays) == {3, 4, 5, 6, 7}


@pytest.mark.parametrize(
    ("facts", "named", "history", "why"),
    [
        pytest.param({}, (), (), None, id="refused and nothing else"),
        pytest.param({}, ("7",), (), retention.NAMED, id="an alias names it"),
        pytest.param({"number": "3"}, (), (), retention.NAMED, id="a night was scored by it"),
        pytest.param({"state": None}, (), (), retention.NOT_REJECTED, id="not judged yet"),
        pytest.param({"state": "rolled_back"}, (), (), retention.NOT_REJECTED, id="rolled back"),
        pytest.param({"has_served": True}, (), (), retention.SERVED, id="it served by hand"),
        pytest.param(
            {},
            (),
            (replace(REFUSED, has_served=True),),
            retention.SERVED,
            id="the history knows that it served",
        ),
        pytest.param(
            {},
            (),
            (replace(REFUSED, has_served=True, run_id="another"),),
            None,
            id="another one of its number served",
        ),
    ],
)
def test_only_a_version_that_was_refused_and_is_not_named_may_go(facts, named, history, why):
    """Whatever else is known of a version, its weights stay."""
    told = ledger(4, {1: "none", 2: "none"}, History(history, founding_until=day(0).isoformat()))
    version = replace(REFUSED, **facts)

    stays = staying_versions(told, [version], named, newest=0)

    assert stays.get(version.number) == why


def test_the_newest_refused_versions_stay():
    """By number, not by text; those that stay anyway are not counted."""
    versions = [replace(REFUSED, number=str(n)) for n in (2, 9, 10, 11)]

    stays = staying_versions(ledger(2, {}), versions, {"11"}, newest=2)

    newest = "they are the newest 2 rejected ones"
    assert stays == {"11": retention.NAMED, "10": newest, "9": newest}


def test_a_version_refused_in_an_open_alarm_stays():
    """A person may look at it again."""
    told = ledger(5, {3: "none", 4: LIGHT})
    during = replace(REFUSED, night=day(4).isoformat())

    assert staying_versions(told, [during], (), 0) == {"7": retention.OPEN_ALARM}
    assert staying_versions(told, [REFUSED], (), 0) == {}


def test_a_damaged_record_stops_nothing():
    """What it named had served."""
    told = ledger(3, {1: "none"})
    damaged = ledger(3, {1: "none", 2: "none"}).records

    def read(night):
        if night == day(2):
            raise KeyError(night)
        return damaged[night]

    told = replace(told, records=type(damaged)([day(1), day(2)], read))

    assert staying_versions(told, [REFUSED], (), 0) == {}
