"""Why a night is out of the ordinary, and what that allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alarms import StatisticCheck, chance_of, is_exceedance_alarm
from monitoring.night import (
    CAMERA_STATISTICS,
    LIGHT_STATISTICS,
    SCORE_STATISTIC,
    STATISTICS,
    Exceedances,
    NightStatistics,
)
from monitoring.triage import (
    CAMERA,
    DEFECTS,
    LIGHT,
    MAX_DEFECT_HINT,
    NONE,
    PROCESS,
    UNCLEAR,
    Triage,
    find_cause,
)

# of 100 held-out images the threshold lets one through
FEW = Exceedances(above=0, images=30, calibration_images=100, calibration_above=1)
HINT = Exceedances(above=3, images=30, calibration_images=100, calibration_above=1)
MANY = Exceedances(above=20, images=30, calibration_images=100, calibration_above=1)


def tonight(suspects=FEW, alarming=FEW):
    """A night with so many suspects, and so many images above the threshold."""
    return NightStatistics("2024-05-01", "1", {}, alarming, suspects, False)


def checks(*jumps, shifts=()):
    """A check of each statistic, of which some jump and some shift."""
    return {
        name: StatisticCheck(
            statistic=name,
            value=0.30,
            expected=0.42,
            score=-6.0 if name in jumps else -0.5,
            average=-2.0 if name in shifts else -0.1,
            jump_limit=3.8,
            average_limit=0.9,
        )
        for name in STATISTICS
    }


def cause(night, found):
    """The cause at one false alarm a year."""
    return find_cause(night, found, 1.0)


def test_examples_are_what_they_are_called():
    """The counts of this file are no alarm, a hint, and an alarm."""
    assert chance_of(FEW) > MAX_DEFECT_HINT
    assert chance_of(HINT) < MAX_DEFECT_HINT
    assert not is_exceedance_alarm(HINT, 1.0)
    assert is_exceedance_alarm(MANY, 1.0)


@pytest.mark.parametrize(
    ("night", "found", "expected"),
    [
        pytest.param(tonight(), checks(), NONE, id="ordinary night"),
        pytest.param(tonight(HINT), checks(), NONE, id="a few suspects alone are no alarm"),
        pytest.param(tonight(), checks("luminance"), LIGHT, id="lamp"),
        pytest.param(tonight(), checks(shifts=["luminance"]), LIGHT, id="lamp that ages"),
        pytest.param(tonight(), checks("red_green_balance"), LIGHT, id="colour of the lamp"),
        pytest.param(
            tonight(alarming=MANY),
            checks("luminance", SCORE_STATISTIC),
            LIGHT,
            id="lamp that makes all pictures look wrong",
        ),
        pytest.param(tonight(), checks("sharpness"), CAMERA, id="lens"),
        pytest.param(tonight(), checks("sharpness", "luminance"), CAMERA, id="lens and lamp"),
        pytest.param(tonight(alarming=MANY), checks(), PROCESS, id="parts look different"),
        pytest.param(tonight(), checks(SCORE_STATISTIC), PROCESS, id="scores jump"),
        pytest.param(tonight(), checks(shifts=[SCORE_STATISTIC]), PROCESS, id="scores drift"),
        pytest.param(tonight(MANY), checks(), DEFECTS, id="defects alone"),
        pytest.param(tonight(MANY, MANY), checks(SCORE_STATISTIC), DEFECTS, id="defects score"),
        pytest.param(tonight(MANY), checks("luminance"), DEFECTS, id="defects and lamp"),
        pytest.param(tonight(MANY), checks("sharpness"), DEFECTS, id="defects and lens"),
        pytest.param(tonight(HINT), checks("luminance"), UNCLEAR, id="lamp, perhaps defects"),
        pytest.param(tonight(HINT), checks("sharpness"), UNCLEAR, id="lens, perhaps defects"),
        pytest.param(tonight(HINT, MANY), checks(), UNCLEAR, id="scores, perhaps defects"),
    ],
)
def test_cause_by_what_moved(night, found, expected):
    """Defects come before all, a hint of them makes the rest unclear, and light comes last."""
    triage = cause(night, found)

    assert triage.cause == expected
    assert triage.is_alarm is (expected != NONE)


@pytest.mark.parametrize(
    ("name", "is_learning", "is_holding"),
    [
        pytest.param(NONE, False, False, id="none"),
        pytest.param(LIGHT, True, False, id="light"),
        pytest.param(PROCESS, True, False, id="process"),
        pytest.param(CAMERA, False, True, id="camera"),
        pytest.param(DEFECTS, False, True, id="defects"),
        pytest.param(UNCLEAR, False, True, id="unclear"),
    ],
)
def test_what_a_cause_allows(name, is_learning, is_holding):
    """Each alarm is either learnt from or held for a person, never both."""
    triage = Triage(name != NONE, name, "")

    assert (triage.is_learning, triage.is_holding) == (is_learning, is_holding)


@pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in LIGHT_STATISTICS])
def test_every_statistic_of_light_is_heard(name):
    """Each of them alone names the light."""
    assert cause(tonight(), checks(name)).cause == LIGHT


@pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in CAMERA_STATISTICS])
def test_every_statistic_of_the_camera_is_heard(name):
    """Each of them alone names the camera."""
    assert cause(tonight(), checks(name)).cause == CAMERA


@pytest.mark.parametrize(
    ("night", "found", "said"),
    [
        pytest.param(
            tonight(),
            checks("luminance"),
            "luminance 0.420 -> 0.300 (-6.0 sigma); with the light matched 0 of 30 images",
            id="light",
        ),
        pytest.param(
            tonight(MANY),
            checks("luminance"),
            "20 of 30 images are locally anomalous",
            id="defects",
        ),
        pytest.param(
            tonight(MANY), checks("luminance"), "besides, luminance 0.420", id="defects and light"
        ),
        pytest.param(
            tonight(HINT), checks("luminance"), "defects cannot be ruled out", id="unclear"
        ),
        pytest.param(tonight(alarming=MANY), checks(), "20 of 30 images score above", id="process"),
        pytest.param(tonight(), checks("sharpness"), "sharpness 0.420 -> 0.300", id="camera"),
        pytest.param(tonight(), checks(), "all statistics as on other nights", id="none"),
    ],
)
def test_evidence_has_the_numbers(night, found, said):
    """The sentence names what moved, from where to where, and how many images look wrong."""
    assert said in cause(night, found).evidence


def test_no_checks_are_no_alarm():
    """A night of which nothing is known but its images is judged by them."""
    assert cause(tonight(), {}).cause == NONE
    assert cause(tonight(MANY), {}).cause == DEFECTS


def test_more_allowed_false_alarms_make_a_hint_an_alarm():
    """What is a hint at one false alarm a year is an alarm at hundreds."""
    assert find_cause(tonight(HINT), checks(), 1.0).cause == NONE
    assert find_cause(tonight(HINT), checks(), 300.0).cause == DEFECTS


@st.composite
def counts(draw):
    """Any count of images above a threshold."""
    images = draw(st.integers(0, 60))
    calibration = draw(st.integers(2, 100))
    return Exceedances(
        draw(st.integers(0, images)), images, calibration, draw(st.integers(1, calibration))
    )


@given(
    suspects=counts(),
    alarming=counts(),
    jumps=st.sets(st.sampled_from(STATISTICS)),
    shifts=st.sets(st.sampled_from(STATISTICS)),
    rate=st.floats(0.1, 50),
)
def test_nothing_is_learnt_that_may_hold_defects(suspects, alarming, jumps, shifts, rate):
    """Whatever else moved, a night with defects, or a hint of them, is never learnt from."""
    found = find_cause(tonight(suspects, alarming), checks(*jumps, shifts=shifts), rate)

    may_hold_defects = is_exceedance_alarm(suspects, rate) or chance_of(suspects) < MAX_DEFECT_HINT
    assert not (found.is_learning and may_hold_defects)
    assert found.is_alarm is (found.cause != NONE)
    assert found.is_alarm is (found.is_learning or found.is_holding)
    assert found.evidence
    if is_exceedance_alarm(suspects, rate):
        assert found.cause == DEFECTS
