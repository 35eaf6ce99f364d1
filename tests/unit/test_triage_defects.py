"""Where a night may hold defects, nothing is learnt from it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconad_plugin.watch import cause
from reconad_plugin.watch.cause import (
    CLIPPING_STATISTIC,
    DEFECTS,
    LIGHT,
    MAX_DEFECT_HINT,
    MOST,
    NONE,
    PROCESS,
    UNCLEAR,
    find_cause,
)
from reconad_plugin.watch.night_tests import chance_of
from reconad_plugin.watch.results import ContrastCheck
from reconad_plugin.watch.statistics import (
    STATISTICS,
    SURFACE_STATISTIC,
    Exceedances,
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
    contrast,
    count,
    tonight,
    watch,
)

# most images have a cell far up, and none more than the others
MOST_STAND_OUT = ContrastCheck(above=20, images=30, expected_share=0.01, chance=0.5, limit=LIMIT)


def test_examples_are_what_they_are_called():
    """The made-up counts are no alarm, a hint, and an alarm."""
    assert chance_of(FEW) > MAX_DEFECT_HINT
    assert chance_of(HINT) < MAX_DEFECT_HINT
    assert chance_of(HINT) > LIMIT
    assert LIMIT < chance_of(A_THIRD) < MAX_DEFECT_HINT
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
    above_threshold=counts(),
    jumps=st.sets(st.sampled_from(STATISTICS)),
    shifts=st.sets(st.sampled_from(STATISTICS)),
    stand_out=st.one_of(st.just(NOT_KNOWN), counts()),
    limit=st.floats(1e-5, 0.02),
)
def test_nothing_is_learnt_that_may_hold_defects(
    suspects, above_threshold, jumps, shifts, stand_out, limit
):
    """Whatever else moved, a night with defects, or a hint of them, is never learnt from."""
    night = {
        "suspects": count(suspects, limit),
        "above_threshold": count(above_threshold, limit),
        "contrast": contrast(stand_out, limit),
    }
    failing = checks(*jumps, shifts=shifts)
    found = find_cause(watch(night, failing))

    is_most = stand_out.above >= MOST * max(1, stand_out.images)
    is_dirt = (
        (PROCESS in (found.cause, *found.also) or CLIPPING_STATISTIC in jumps | shifts)
        and stand_out.images == suspects.images
        and not (is_most and night["suspects"].share >= cause.MANY)
        and night["contrast"].chance > MAX_DEFECT_HINT
    )
    has_defects = night["contrast"].is_alarm or (night["suspects"].is_alarm and not is_dirt)
    hint = night["contrast"].chance if stand_out.images else 1.0
    if not is_dirt:
        share = 2 if stand_out.images else 1
        hint = share * min(hint, night["suspects"].chance)
    may_hold_defects = has_defects or hint <= MAX_DEFECT_HINT
    assert not (found.is_learning and may_hold_defects)
    assert found.is_alarm is (found.cause != NONE)
    assert found.is_alarm is (found.is_learning or found.is_holding)
    assert found.explanation
    if has_defects:
        assert DEFECTS in (found.cause, *found.also)
        assert found.is_holding


@pytest.mark.parametrize(
    ("night", "found", "expected"),
    [
        pytest.param(tonight(stand_out=SOME), checks(), DEFECTS, id="images stand out"),
        pytest.param(
            tonight(stand_out=SOME),
            checks("luminance"),
            DEFECTS,
            id="images stand out in new light",
        ),
        pytest.param(tonight(stand_out=HINT), checks("luminance"), UNCLEAR, id="a few stand out"),
        pytest.param(tonight(stand_out=FEW), checks("luminance"), LIGHT, id="none does"),
        pytest.param(
            tonight(HINT, stand_out=FEW), checks("luminance"), UNCLEAR, id="suspects in new light"
        ),
        pytest.param(
            tonight(HINT, stand_out=FEW),
            checks(SURFACE_STATISTIC),
            PROCESS,
            id="a few suspects, but as dirt makes of all images",
        ),
        pytest.param(
            tonight(SOME, stand_out=FEW),
            checks(SURFACE_STATISTIC),
            PROCESS,
            id="many suspects, but as dirt makes of all images",
        ),
        pytest.param(
            tonight(A_THIRD, stand_out=FEW), checks("luminance"), UNCLEAR, id="a third, no dirt"
        ),
        pytest.param(
            tonight(SOME, stand_out=FEW), checks(), DEFECTS, id="many suspects and no dirt"
        ),
        pytest.param(
            tonight(SOME, stand_out=FEW), checks("luminance"), DEFECTS, id="many in new light"
        ),
        pytest.param(
            tonight(SOME, stand_out=HINT), checks(SURFACE_STATISTIC), DEFECTS, id="dirt and defects"
        ),
        pytest.param(
            tonight(SOME) | {"contrast": MOST_STAND_OUT},
            checks(SURFACE_STATISTIC),
            DEFECTS,
            id="suspects, and most images stand out alike",
        ),
        pytest.param(
            tonight(HINT) | {"contrast": MOST_STAND_OUT},
            checks(SURFACE_STATISTIC),
            PROCESS,
            id="most images stand out alike, and few are suspects",
        ),
        pytest.param(
            tonight(SOME, stand_out=FEW),
            checks(CLIPPING_STATISTIC, clipped_share=0.2),
            LIGHT,
            id="many suspects, as clipping makes of all images",
        ),
        pytest.param(
            tonight(SOME, stand_out=HINT),
            checks(CLIPPING_STATISTIC, clipped_share=0.2),
            DEFECTS,
            id="clipping and defects",
        ),
        pytest.param(
            tonight(SOME, stand_out=FEW),
            checks(CLIPPING_STATISTIC, clipped_share=-0.2),
            DEFECTS,
            id="many suspects, and less clipping than before",
        ),
        pytest.param(
            tonight(SOME) | {"contrast": replace(MOST_STAND_OUT, above=0, images=29)},
            checks(SURFACE_STATISTIC),
            DEFECTS,
            id="suspects, and one image at a new position",
        ),
        pytest.param(tonight(stand_out=HINT), checks(), NONE, id="no alarm by itself"),
    ],
)
def test_images_that_stand_out_from_their_cell(night, found, expected):
    """Where images can be compared with their cells, dirt is told from defects; suspects that no
    dirt explains still decide."""
    triage = find_cause(watch(night, found))

    assert triage.cause == expected
    assert "stand out from their cell" in triage.explanation
