"""What a camera that hangs, or is silent at a position, makes of a night."""

import json
from dataclasses import replace

import pytest

from reconad_plugin.ledger.eligibility import Status, status_of
from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.night_record import NightRecord
from reconad_plugin.ledger.night_values import night_values
from reconad_plugin.watch.cause import CAMERA, DEFECTS, LIGHT, NONE, find_cause
from reconad_plugin.watch.results import CameraFault
from reconad_plugin.watch.statistics import Repeats
from tests.night_tables import record
from tests.nights import seen_from
from tests.nights import watch as watch_of
from tests.watches import ALL, FEW, MANY, checks, tonight, watch

HUNG = CameraFault("", 4.75, pictures=20, repeated=19)
HUNG_LEFT = CameraFault("left", 4.75, pictures=20, repeated=19)
SILENT = CameraFault("left", 1.2, fewest=12, most=20)
ADVICE = (
    "The night is held: look at the camera and at what brings its pictures, then review its "
    "images; what is meant to stay so, end with `reconad resolve`."
)


def faulty(*faults, night=None, found=None):
    """The watch of a night with such faults."""
    return replace(watch(night or tonight(), found or checks()), faults=faults)


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        pytest.param(
            [HUNG],
            "19 of 20 pictures show the same frame as another one: the camera hangs, or one "
            f"picture is sent again and again. {ADVICE} 0 of 30 images look anomalous",
            id="hangs",
        ),
        pytest.param(
            [HUNG_LEFT],
            "19 of 20 pictures of the camera position left show the same frame as another one:",
            id="hangs at a position",
        ),
        pytest.param(
            [SILENT],
            "No usable picture came from the camera position left, which sent 12 to 20 on other "
            f"nights. {ADVICE}",
            id="silent",
        ),
        pytest.param(
            [replace(SILENT, most=12)], "position left, which sent 12 on other nights.", id="always"
        ),
        pytest.param(
            [SILENT, replace(SILENT, position="top", fewest=3)],
            "No usable picture came from the camera positions left, top, which sent 3 to 20 on ",
            id="silent at two",
        ),
        pytest.param(
            [HUNG_LEFT, replace(SILENT, position="top")],
            "again and again. No usable picture came from the camera position top, which",
            id="one hangs and one is silent",
        ),
    ],
)
def test_each_fault_has_its_sentence(faults, said):
    """And the night is held for the camera, whatever all statistics say."""
    triage = find_cause(faulty(*faults))

    assert (triage.cause, triage.is_alarm, triage.is_raised) == (CAMERA, True, True)
    assert triage.is_holding
    assert triage.also == ()
    assert triage.explanation.startswith(said) or said in triage.explanation


@pytest.mark.parametrize(
    ("night", "found", "cause", "also", "said"),
    [
        pytest.param(
            tonight(MANY), checks(), DEFECTS, (CAMERA,),
            f"no ordinary night. No usable picture came from the camera position left, which sent "
            f"12 to 20 on other nights. {ADVICE}", id="defects elsewhere",
        ),
        pytest.param(
            tonight(), checks("luminance"), CAMERA, (LIGHT,),
            "Besides, the pictures are darker", id="a lamp",
        ),
        pytest.param(
            tonight(), checks("sharpness"), CAMERA, (),
            "on other nights. The pictures are less sharp", id="a lens",
        ),
        pytest.param(
            tonight(ALL), checks("framing_x"), CAMERA, (DEFECTS,),
            "A camera that moved makes any image look so", id="a camera that moved",
        ),
    ],
)  # fmt: skip
def test_what_happens_besides_is_not_lost(night, found, cause, also, said):
    """Defects come first as ever; a light is not learnt on such a night."""
    triage = find_cause(faulty(SILENT, night=night, found=found))

    assert (triage.cause, triage.also, triage.is_learning) == (cause, also, False)
    assert said in triage.explanation
    assert "position left" in triage.explanation


def test_the_alarm_ends_when_the_position_is_back():
    """By itself: nothing drifts that would keep it open."""
    found = find_cause(watch(tonight(FEW), checks()), CAMERA)

    assert (found.is_alarm, found.cause) == (False, NONE)


def test_a_night_is_tested_for_both():
    """The nights that set the level are those it is held against."""
    nights = [seen_from(place, left=(12, 0.5), right=(12, 0.5)) for place in range(6)]
    missing = seen_from(6, right=(12, 0.5))
    hanging = replace(nights[0], night=missing.night, repeats=Repeats("", 20, 19))

    assert [fault.position for fault in watch_of([*nights, missing]).faults] == ["left"]
    assert [fault.repeated for fault in watch_of([*nights, hanging]).faults] == [19]
    assert watch_of([*nights, missing], ordinary=()).faults == ()
    later = seen_from(7, right=(12, 0.5))
    resolved = watch_of([*nights, missing, later], new_levels=(missing.night,))
    assert resolved.faults == ()


def test_a_record_keeps_the_faults():
    """Its night is held, and a test of it is beyond its limit on the dashboard."""
    statistics = replace(record().statistics, repeats=Repeats("", 20, 19))
    written = record(cause=CAMERA, faults=(HUNG, SILENT), statistics=statistics)

    found = NightRecord.from_json(written.to_json())

    assert found == written
    assert status_of(found.night, found, History()) is Status.HELD
    values = night_values(found, 0.3, is_retrained=False, is_promoted=False)
    assert values["farthest"] == 4.75


def test_a_record_of_an_earlier_time_is_read():
    """It has no faults and no repeats."""
    content = json.loads(record().to_json())
    del content["camera_faults"], content["statistics"]["repeats"]

    assert NightRecord.from_json(json.dumps(content).encode()) == record()
