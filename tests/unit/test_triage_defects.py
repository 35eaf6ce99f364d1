"""Where a night may hold defects, nothing is learnt from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alarms import chance_of
from monitoring.night import (
    STATISTICS,
    SURFACE_STATISTIC,
    Exceedances,
)
from monitoring.triage import (
    DEFECTS,
    FEW_SUSPECT,
    LIGHT,
    MAX_DEFECT_HINT,
    NONE,
    PROCESS,
    UNCLEAR,
    find_cause,
)
from tests.watches import (
    A_THIRD,
    FEW,
    HINT,
    LIMIT,
    MANY,
    NOT_KNOWN,
    SOME,
    checks,
    count,
    tonight,
    watch,
)


def test_examples_are_what_they_are_called():
    """The made-up counts are no alarm, a hint, and an alarm."""
    assert chance_of(FEW) > MAX_DEFECT_HINT
    assert chance_of(HINT) < MAX_DEFECT_HINT
    assert chance_of(HINT) > LIMIT
    assert LIMIT < chance_of(A_THIRD) < MAX_DEFECT_HINT
    assert A_THIRD.above >= FEW_SUSPECT * A_THIRD.images > HINT.above
    assert chance_of(SOME) < LIMIT
    assert chance_of(MANY) < LIMIT


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
    may_hold_defects = has_defects or hint <= MAX_DEFECT_HINT
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
            tonight(outliers=FEW, highest_chance=1 / 10),
            checks("luminance"),
            UNCLEAR,
            id="one stands out farther than any of nine nights did",
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
