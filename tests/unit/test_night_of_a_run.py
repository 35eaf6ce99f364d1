"""The night of a scheduled run, by the clock of its schedule."""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

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
