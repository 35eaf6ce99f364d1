"""An alarm's life: it is raised, stays open, and a person ends it."""

import json
from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from flows.ingest import ingest
from flows.jobs.product import open_product
from flows.nightly import nightly
from tests.command_line import run
from tests.factory import Factory
from tests.world import GATHERED, LAST_QUIET, Story, fork

CUT_OFF, FIRST, LAST, AFTER, BACK = [LAST_QUIET + timedelta(1 + day) for day in range(5)]


def under_yellower_lamp(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same picture with a little less blue."""
    return image * np.array([1.0, 1.0, 0.95])


@pytest.fixture(scope="module")
def alarmed(
    narrow_widths: None, told: Story, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Factory]:
    """Quiet nights, and three under another lamp; the run of the first of these dies after it has
    taken in the images."""
    with pytest.MonkeyPatch.context() as environment:
        factory = fork(told, LAST_QUIET, tmp_path_factory.mktemp("watched"), environment)
        for night in (CUT_OFF, FIRST, LAST):
            deliver(factory, night, is_yellower=True)
            run_night = ingest if night == CUT_OFF else nightly
            run_night(factory.product, night)
        yield factory


def deliver(factory: Factory, night: date, is_yellower: bool) -> None:
    factory.deliver(night, 20, under_yellower_lamp if is_yellower else lambda image: image)


def test_alarm_stays_open_since_the_night_it_began(alarmed: Factory) -> None:
    """Each night's record says so, and only the first is new."""
    records = open_product(alarmed.product).records
    first, last = records.record(FIRST), records.record(LAST)

    assert first is not None
    assert last is not None
    assert (first.is_alarm, first.since, first.is_new) == (True, FIRST.isoformat(), True)
    assert (last.is_alarm, last.since, last.is_new) == (True, FIRST.isoformat(), False)
    assert first.cause == last.cause == "light"
    assert first.checks["blue_green_balance"].is_alarm


def test_night_whose_run_died_teaches_nothing(alarmed: Factory) -> None:
    """Its light is not the level that the next night is held against."""
    records = open_product(alarmed.product).records
    first = records.record(FIRST)

    assert records.record(CUT_OFF) is None
    assert first is not None
    blue = first.checks["blue_green_balance"]
    assert blue.expected - blue.value == pytest.approx(-np.log(0.95), rel=0.05)


def test_status_names_the_open_alarm(alarmed: Factory) -> None:
    """In a line for a person, and in JSON."""
    file = alarmed.settings.parent / "status.json"

    status = run("status", alarmed.product, "--json", str(file), COLUMNS="200")

    assert status.returncode == 0, status.stderr
    assert f"night {LAST}: ALARM since {FIRST}, light" in status.stdout
    watch = json.loads(file.read_text())["watch"]
    assert (watch["night"], watch["since"]) == (LAST.isoformat(), FIRST.isoformat())
    assert (watch["is_alarm"], watch["cause"]) == (True, "light")
    assert "blue to green" in watch["evidence"]
    assert 0 <= watch["expected_false_alarms"] < 50


def refused(factory: Factory, night: date) -> str:
    """The one line that ``reconad resolve`` of a night without an alarm ends with."""
    ended = run("resolve", factory.product, night.isoformat())
    assert ended.returncode == 2
    (line,) = ended.stderr.strip().splitlines()
    assert f"only a night with an alarm can be resolved; {factory.product} {night}" in line
    assert f"see `reconad status {factory.product}`" in line
    return line


def test_resolving_ends_the_alarm_and_the_new_level_is_ordinary(alarmed: Factory) -> None:
    """From the next night on the lamp as it is now is normal, and the lamp as it was is not."""
    product = alarmed.product
    records = open_product(product).records

    unwatched = refused(alarmed, GATHERED)
    ended = run("resolve", product, FIRST.isoformat(), "--note", "new lamp")

    assert "was not watched" in unwatched
    assert ended.returncode == 0, ended.stderr
    assert f"{product} {FIRST}: alarm about light resolved" in ended.stdout
    assert records.resolved_nights() == [FIRST]
    status = run("status", product, COLUMNS="200").stdout
    assert f"night {LAST}: the alarm since {FIRST}, light, was resolved" in status
    deliver(alarmed, AFTER, is_yellower=True)
    deliver(alarmed, BACK, is_yellower=False)
    same = nightly(product, AFTER).record
    other = nightly(product, BACK).record
    assert (same.is_alarm, same.since, same.cause) == (False, None, "none")
    level = same.checks["blue_green_balance"]
    assert "has none" in refused(alarmed, AFTER)
    first = records.record(FIRST)
    assert first is not None
    assert level.expected == pytest.approx(first.checks["blue_green_balance"].value)
    assert (other.is_alarm, other.since, other.is_new) == (True, BACK.isoformat(), True)
    assert "blue to green" in other.explanation
