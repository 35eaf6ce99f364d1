"""The night of a scheduled run, by the clock of its schedule."""

import logging
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from flows import nightly as module
from flows.jobs.night_outcome import ActionKind
from flows.nightly import MOST_CAUGHT_UP, MOST_TRIED, begin, catch_up
from flows.runtime.schedule import night_before

FIRST, SECOND = UUID(int=1), UUID(int=2)


def schedule(zone, number=FIRST):
    """A deployment's schedule in a time zone."""
    return SimpleNamespace(id=number, schedule=SimpleNamespace(timezone=zone))


def run(at, made_by=FIRST):
    """A flow run that was scheduled for a moment."""
    made_by = made_by and SimpleNamespace(id=made_by)
    return SimpleNamespace(expected_start_time=at.astimezone(UTC), created_by=made_by)


@pytest.mark.parametrize(
    ("zone", "hour", "minute"),
    [
        pytest.param("UTC", 2, 0, id="UTC"),
        pytest.param("Asia/Tokyo", 2, 0, id="Tokyo, where UTC has yesterday"),
        pytest.param("Europe/Berlin", 1, 0, id="Berlin"),
        pytest.param("America/St_Johns", 0, 30, id="half hours"),
        pytest.param("Pacific/Auckland", 23, 30, id="late in the evening"),
        pytest.param("America/Los_Angeles", 23, 30, id="evening, where UTC has tomorrow"),
    ],
)
def test_each_day_of_a_year_has_one_run(zone, hour, minute):
    """Also where summer time begins and ends, the night is the local day before."""
    local = ZoneInfo(zone)
    days = [date(2026, 1, 1) + timedelta(number) for number in range(365)]

    nights = [
        night_before(
            run(datetime(day.year, day.month, day.day, hour, minute, tzinfo=local)),
            [schedule(zone)],
        )
        for day in days
    ]

    assert nights == [day - timedelta(1) for day in days]


MORNING_IN_TOKYO = datetime(2026, 3, 2, 2, tzinfo=ZoneInfo("Asia/Tokyo"))


@pytest.mark.parametrize(
    ("made_by", "schedules", "night"),
    [
        pytest.param(
            SECOND, [schedule("UTC"), schedule("Asia/Tokyo", SECOND)], 1, id="its own of two"
        ),
        pytest.param(None, [schedule("Asia/Tokyo")], 1, id="started by a person"),
        pytest.param(SECOND, [schedule("Asia/Tokyo")], 1, id="its schedule was replaced"),
        pytest.param(
            None, [schedule("UTC"), schedule("Asia/Tokyo", SECOND)], 28, id="no agreement"
        ),
        pytest.param(FIRST, [schedule(None)], 28, id="a schedule without a zone is in UTC"),
        pytest.param(None, [], 28, id="no schedule"),
    ],
)
def test_the_zone_is_that_of_the_schedule(made_by, schedules, night):
    """A run is in the zone of what made it, else in the one that all schedules share."""
    found = night_before(run(MORNING_IN_TOKYO, made_by), schedules)

    assert found.day == night


@pytest.mark.parametrize(
    ("failing", "done"),
    [
        pytest.param(0, MOST_CAUGHT_UP, id="none fails"),
        pytest.param(MOST_CAUGHT_UP, MOST_CAUGHT_UP, id="the oldest fail each time"),
        pytest.param(MOST_TRIED - 1, 1, id="many fail"),
    ],
)
def test_nights_that_fail_starve_no_newer_one(monkeypatch, caplog, failing, done):
    """Seven are made up for, whatever failed before them; what is left is named."""
    nights = [date(2026, 5, 1) + timedelta(number) for number in range(30)]
    run_nights = []

    def run_one(product, night, asks):
        assert asks
        if night in nights[:failing]:
            raise OSError("denied")
        run_nights.append(night)

    monkeypatch.setattr(module, "nightly", run_one)
    monkeypatch.setattr(module, "get_run_logger", lambda: logging.getLogger("nights"))
    product = SimpleNamespace(
        name="bolt", nights_never_run=lambda before: nights, known_nights=lambda: nights[:1]
    )

    catch_up(product, tonight=date(2026, 6, 30), asks=True)

    assert run_nights == nights[failing : failing + done]
    assert f"{30 - failing - done} nights with images were never run" in caplog.text


def test_a_night_without_images_founds_nothing():
    """Such as one that was typed wrong: the first version would close all nights up to it."""
    gathered = [date(2026, 5, 1), date(2026, 5, 2)]
    ledger = SimpleNamespace(nights_with_images=lambda until: gathered)
    product = SimpleNamespace(settings=SimpleNamespace(first_training_nights=2))

    assert begin(product, ledger, date(2062, 5, 2)).kind is ActionKind.NO_IMAGES
