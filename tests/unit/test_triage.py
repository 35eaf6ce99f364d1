"""Why a night is out of the ordinary, and what that allows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alarms import CountCheck, StatisticCheck, Watch, chance_of
from monitoring.night import (
    CAMERA_STATISTICS,
    LIGHT_STATISTICS,
    MATCHED_SCORE_STATISTIC,
    STATISTICS,
    SURFACE_STATISTIC,
    Exceedances,
)
from monitoring.triage import (
    CAMERA,
    DEFECTS,
    FEW_SUSPECT,
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
SOME = Exceedances(above=12, images=30, calibration_images=100, calibration_above=1)
MANY = Exceedances(above=20, images=30, calibration_images=100, calibration_above=1)
ALL = Exceedances(above=30, images=30, calibration_images=100, calibration_above=1)
A_THIRD = Exceedances(above=10, images=30, calibration_images=12, calibration_above=1)
NOT_KNOWN = Exceedances(above=0, images=0, calibration_images=0, calibration_above=0)
SCORE_STATISTIC = "log_score"
LIMIT = 4e-4


def relit(log_matched_score):
    """The lamp changed and the scores rose, by so much still with the light matched."""
    moves = {"luminance": -0.1, "log_score": 0.6, "log_matched_score": log_matched_score}
    return checks("luminance", SCORE_STATISTIC, MATCHED_SCORE_STATISTIC, **moves)


def clipped():
    """A lamp so bright that pixels clip, and scores that matching does not bring back."""
    moves = {"clipped_share": 0.2, "log_score": 0.6, "log_matched_score": 0.5}
    return checks("clipped_share", MATCHED_SCORE_STATISTIC, **moves)


def count(seen, limit=LIMIT):
    """The test of a count against the calibration alone."""
    return CountCheck(seen.above, seen.images, 0.01, chance_of(seen), limit)


def tonight(suspects=FEW, alarming=FEW, outliers=NOT_KNOWN, highest_chance=1.0):
    """So many suspects, images above the threshold, and images that stand out from their place."""
    return {
        "suspects": count(suspects),
        "alarming": count(alarming),
        "outliers": count(outliers),
        "highest_chance": highest_chance,
    }


def checks(*jumps, shifts=(), drifting=(), **moves):
    """A check of each statistic: some jump, some shift, some are not settled; ``moves`` tells how
    far a statistic is from what was expected, in its own unit."""
    return {
        name: StatisticCheck(
            statistic=name,
            value=0.42 + moves.get(name, -0.12 if name in (*jumps, *shifts) else 0.0),
            expected=0.42,
            effect=-6.0 if name in jumps else -2.5 if name in shifts else -0.5,
            score=-6.0 if name in jumps else -0.5,
            average=-5.0 if name in shifts else -3.2 if name in drifting else -0.1,
            jump_limit=4.1,
            average_limit=3.9,
        )
        for name in STATISTICS
    }


def watch(night, found):
    """What the tests say of a night."""
    return Watch(found, **night, ordinary_scores=np.zeros((0, 0)), autocorrelation=np.zeros(0))


def cause(night, found):
    """The cause, where no alarm was open."""
    return find_cause(watch(night, found))


def test_examples_are_what_they_are_called():
    """The counts of this file are no alarm, a hint, and an alarm."""
    assert chance_of(FEW) > MAX_DEFECT_HINT
    assert chance_of(HINT) < MAX_DEFECT_HINT
    assert chance_of(HINT) > LIMIT
    assert LIMIT < chance_of(A_THIRD) < MAX_DEFECT_HINT
    assert A_THIRD.above >= FEW_SUSPECT * A_THIRD.images > HINT.above
    assert chance_of(SOME) < LIMIT
    assert chance_of(MANY) < LIMIT


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
        pytest.param(tonight(), checks("noise"), CAMERA, id="noise alone"),
        pytest.param(tonight(), checks("noise", "luminance"), LIGHT, id="noise follows the light"),
        pytest.param(tonight(), checks("framing_x"), CAMERA, id="mounting"),
        pytest.param(tonight(ALL, ALL), checks("framing_x"), CAMERA, id="all suspect after a move"),
        pytest.param(tonight(ALL, ALL), checks(), DEFECTS, id="all suspect, camera stands"),
        pytest.param(tonight(HINT), checks("framing_x"), CAMERA, id="lens, a few suspects"),
        pytest.param(tonight(), checks(SURFACE_STATISTIC), PROCESS, id="contrast alone"),
        pytest.param(
            tonight(),
            checks("luminance", SURFACE_STATISTIC, luminance=-0.2, relative_contrast=-0.1),
            LIGHT,
            id="contrast moves little beside the light",
        ),
        pytest.param(
            tonight(),
            checks("luminance", SURFACE_STATISTIC, luminance=-0.02, relative_contrast=0.04),
            PROCESS,
            id="contrast moves more than the light explains",
        ),
        pytest.param(
            tonight(),
            checks(MATCHED_SCORE_STATISTIC, log_matched_score=0.3, log_score=0.3),
            UNCLEAR,
            id="scores rise with the light matched",
        ),
        pytest.param(
            tonight(),
            relit(log_matched_score=0.1),
            LIGHT,
            id="matching takes most of the rise away",
        ),
        pytest.param(
            tonight(),
            relit(log_matched_score=0.5),
            UNCLEAR,
            id="matching takes little of the rise away",
        ),
        pytest.param(
            tonight(),
            clipped(),
            LIGHT,
            id="clipping cannot be matched",
        ),
        pytest.param(
            tonight(HINT),
            clipped(),
            UNCLEAR,
            id="clipping, perhaps defects",
        ),
        pytest.param(
            tonight(),
            checks(MATCHED_SCORE_STATISTIC, log_matched_score=-0.3, log_score=-0.3),
            PROCESS,
            id="scores fall",
        ),
        pytest.param(tonight(), checks(shifts=[SCORE_STATISTIC]), PROCESS, id="scores drift"),
        pytest.param(tonight(MANY), checks(), DEFECTS, id="defects alone"),
        pytest.param(tonight(MANY, MANY), checks(SCORE_STATISTIC), DEFECTS, id="defects score"),
        pytest.param(tonight(MANY), checks("luminance"), DEFECTS, id="defects and lamp"),
        pytest.param(tonight(SOME), checks("sharpness"), DEFECTS, id="defects and lens"),
        pytest.param(tonight(HINT), checks("luminance"), UNCLEAR, id="lamp, perhaps defects"),
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


@pytest.mark.parametrize(
    ("night", "found", "also"),
    [
        pytest.param(tonight(MANY), checks("luminance"), (LIGHT,), id="defects and lamp"),
        pytest.param(tonight(SOME), checks("framing_x"), (CAMERA,), id="defects and camera"),
        pytest.param(tonight(ALL), checks("framing_x"), (DEFECTS,), id="camera and defects"),
        pytest.param(tonight(), checks("framing_x", "luminance"), (LIGHT,), id="camera and lamp"),
        pytest.param(tonight(HINT), checks("luminance"), (LIGHT,), id="perhaps defects, and lamp"),
        pytest.param(tonight(), checks("luminance"), (), id="lamp alone"),
    ],
)
def test_other_causes_are_named(night, found, also):
    """What happened besides is not lost."""
    assert cause(night, found).also == also


@pytest.mark.parametrize("still_open", [pytest.param(c, id=c) for c in (LIGHT, DEFECTS, CAMERA)])
def test_alarm_stays_open_until_all_is_settled(still_open):
    """While a statistic is on its way back the alarm stays, and nothing is learnt anew."""
    found = find_cause(watch(tonight(), checks(drifting=["luminance"])), still_open)

    assert (found.is_alarm, found.cause, found.is_raised) == (True, still_open, False)
    assert not found.is_learning
    assert "not as before" in found.evidence


def test_alarm_ends_when_all_is_settled():
    """Back to normal, the alarm is over, and the evidence says so."""
    found = find_cause(watch(tonight(), checks()), LIGHT)

    assert (found.is_alarm, found.cause) == (False, NONE)
    assert "the alarm about light has ended" in found.evidence


def test_drifting_statistic_opens_no_alarm():
    """What only keeps an alarm open does not raise one."""
    assert cause(tonight(), checks(drifting=["luminance"])).cause == NONE


def test_new_test_that_fails_names_its_own_cause():
    """An open alarm about the light does not hide that defects came."""
    found = find_cause(watch(tonight(MANY), checks(drifting=["luminance"])), LIGHT)

    assert (found.cause, found.is_raised) == (DEFECTS, True)


def test_no_checks_are_no_alarm():
    """A night of which nothing is known but its images is judged by them."""
    assert cause(tonight(), {}).cause == NONE
    assert cause(tonight(MANY), {}).cause == DEFECTS


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
    outliers=st.one_of(st.just(NOT_KNOWN), counts()),
    highest_chance=st.floats(0.01, 1),
    limit=st.floats(1e-5, 0.02),
)
def test_nothing_is_learnt_that_may_hold_defects(
    suspects, alarming, jumps, shifts, outliers, highest_chance, limit
):
    """Whatever else moved, a night with defects, or a hint of them, is never learnt from."""
    night = {
        "suspects": count(suspects, limit),
        "alarming": count(alarming, limit),
        "outliers": count(outliers, limit),
        "highest_chance": highest_chance,
    }
    found = find_cause(watch(night, checks(*jumps, shifts=shifts)))

    has_defects = night["suspects"].is_alarm or night["outliers"].is_alarm
    hint = night["suspects"].chance
    if outliers.images:
        hint = min(night["outliers"].chance, highest_chance)
        if suspects.above >= FEW_SUSPECT * suspects.images:
            hint = min(hint, night["suspects"].chance)
    may_hold_defects = has_defects or hint < MAX_DEFECT_HINT
    assert not (found.is_learning and may_hold_defects)
    assert found.is_alarm is (found.cause != NONE)
    assert found.is_alarm is (found.is_learning or found.is_holding)
    assert found.evidence
    if has_defects:
        assert DEFECTS in (found.cause, *found.also)
        assert found.is_holding


@pytest.mark.parametrize(
    ("night", "found", "expected"),
    [
        pytest.param(tonight(outliers=SOME), checks(), DEFECTS, id="images stand out"),
        pytest.param(
            tonight(outliers=SOME), checks("luminance"), DEFECTS, id="images stand out in new light"
        ),
        pytest.param(tonight(outliers=HINT), checks("luminance"), UNCLEAR, id="a few stand out"),
        pytest.param(
            tonight(outliers=FEW, highest_chance=0.03),
            checks("luminance"),
            UNCLEAR,
            id="one stands out farther than any did",
        ),
        pytest.param(
            tonight(outliers=FEW, highest_chance=0.3), checks("luminance"), LIGHT, id="none does"
        ),
        pytest.param(
            tonight(HINT, outliers=FEW),
            checks(SURFACE_STATISTIC),
            PROCESS,
            id="a few suspects, but as dirt makes of all images",
        ),
        pytest.param(
            tonight(SOME, outliers=FEW), checks(SURFACE_STATISTIC), DEFECTS, id="many suspects"
        ),
        pytest.param(
            tonight(A_THIRD, outliers=FEW),
            checks(SURFACE_STATISTIC),
            UNCLEAR,
            id="so many suspects that the night's shift may be theirs",
        ),
        pytest.param(
            tonight(outliers=HINT, highest_chance=0.03), checks(), NONE, id="no alarm by itself"
        ),
    ],
)
def test_images_that_stand_out_from_their_place(night, found, expected):
    """Where images can be held against their own position, that decides about defects; many
    suspects still do too."""
    triage = find_cause(watch(night, found))

    assert triage.cause == expected
    assert "stand out from their place" in triage.evidence
