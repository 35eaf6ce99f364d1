"""Why a night is out of the ordinary, and what that allows."""

from dataclasses import replace

import pytest

from reconad_plugin.watch.cause import (
    CAMERA,
    DEFECTS,
    LIGHT,
    NONE,
    PROCESS,
    UNCLEAR,
    Triage,
    find_cause,
)
from reconad_plugin.watch.statistics import (
    CAMERA_STATISTICS,
    LIGHT_STATISTICS,
    MATCHED_SCORE_STATISTIC,
    SURFACE_STATISTIC,
)
from tests.watches import (
    ALL,
    HINT,
    MANY,
    SOME,
    cause,
    checks,
    tonight,
    watch,
)

SCORE_STATISTIC = "log_score"


def relit(log_matched_score):
    """The lamp changed and the scores rose, by so much still with the light matched."""
    moves = {"luminance": -0.1, "log_score": 0.6, "log_matched_score": log_matched_score}
    return checks("luminance", SCORE_STATISTIC, MATCHED_SCORE_STATISTIC, **moves)


def clipped():
    """A lamp so bright that pixels clip, and scores that matching does not bring back."""
    moves = {"clipped_share": 0.2, "log_score": 0.6, "log_matched_score": 0.5}
    return checks("clipped_share", MATCHED_SCORE_STATISTIC, **moves)


@pytest.mark.parametrize(
    ("night", "found", "expected"),
    [
        pytest.param(tonight(), checks(), NONE, id="ordinary night"),
        pytest.param(tonight(HINT), checks(), NONE, id="a few suspects alone are no alarm"),
        pytest.param(tonight(), checks("luminance"), LIGHT, id="lamp"),
        pytest.param(tonight(), checks(shifts=["luminance"]), LIGHT, id="lamp that ages"),
        pytest.param(tonight(), checks("red_green_balance"), LIGHT, id="colour of the lamp"),
        pytest.param(
            tonight(above_threshold=MANY),
            checks("luminance", SCORE_STATISTIC),
            LIGHT,
            id="lamp that makes all pictures look wrong",
        ),
        pytest.param(tonight(), checks("sharpness"), CAMERA, id="lens"),
        pytest.param(tonight(), checks("sharpness", "luminance"), CAMERA, id="lens and lamp"),
        pytest.param(tonight(above_threshold=MANY), checks(), PROCESS, id="parts look different"),
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
            "The pictures are darker than on other nights (brightness 0.30, usually 0.42: 6.0 "
            "deviations down). Fine-tuning follows; look at the lamp. 0 of 30 images look "
            "anomalous with the light matched (chance of so many on an ordinary night: 1).",
            id="light",
        ),
        pytest.param(
            tonight(MANY, stand_out=HINT),
            checks("luminance"),
            "Images look defective as on no ordinary night. The night is held: review its images. "
            "20 of 30 images look anomalous with the light matched (chance of so many on an "
            "ordinary night: below 1e-09); 3 of 30 images stand out from their cell, and such a "
            "contrast has a chance of 0.015 on an ordinary night. Besides, the pictures are darker "
            "than on other nights (brightness 0.30, usually 0.42: 6.0 deviations down).",
            id="defects and light",
        ),
        pytest.param(
            tonight(SOME),
            checks(),
            "(chance of so many on an ordinary night: 3.6e-08)",
            id="a small chance",
        ),
        pytest.param(
            tonight(ALL),
            checks(),
            "(chance of so many on an ordinary night: below 1e-09)",
            id="too small to print",
        ),
        pytest.param(
            tonight(HINT),
            checks("luminance"),
            "6.0 deviations down), and defects cannot be ruled out. The night is held",
            id="unclear",
        ),
        pytest.param(
            tonight(above_threshold=MANY),
            checks(),
            "Light and camera are as before, but 20 of 30 images score above the threshold (chance "
            "of so many on an ordinary night: below 1e-09). Fine-tuning follows; ask what",
            id="process",
        ),
        pytest.param(
            tonight(),
            checks(SURFACE_STATISTIC, relative_contrast=-0.4),
            "The pictures have less contrast than on other nights (contrast to brightness 1.02, "
            "usually 1.52: 6.0 deviations down). No lamp alone does that.",
            id="surface",
        ),
        pytest.param(
            tonight(),
            checks("sharpness", "framing_x", "luminance"),
            "The pictures are less sharp than on other nights (sharpness 1.35, usually 1.52: 6.0 "
            "deviations down) and show the part farther left (centre from the left 0.30, usually "
            "0.42: 6.0 deviations down). The night is held: look at lens, focus and mounting",
            id="camera",
        ),
        pytest.param(
            tonight(ALL, ALL),
            checks("framing_x"),
            "A camera that moved makes any image look so.",
            id="moved camera",
        ),
        pytest.param(
            tonight(),
            checks(shifts=["luminance"]),
            "The pictures are darker over the last nights (brightness 0.30",
            id="a lamp that ages",
        ),
        pytest.param(tonight(), checks(), "All is as on other nights. 0 of 30", id="none"),
    ],
)
def test_explanation_says_what_happened_what_to_do_and_the_numbers(night, found, said):
    """What moved, from where to where, and how many images look wrong; each chance by its test."""
    assert said in cause(night, found).explanation


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
    assert "The alarm about " in found.explanation
    assert "the pictures are darker over the last nights" in found.explanation


def test_alarm_ends_when_all_is_settled():
    """Back to normal, the alarm is over, and the explanation says so."""
    found = find_cause(watch(tonight(), checks()), LIGHT)

    assert (found.is_alarm, found.cause) == (False, NONE)
    assert "The alarm about light has ended. All is as on other nights." in found.explanation


def test_alarm_stays_open_where_tonight_cannot_be_compared():
    """A camera at positions that no night knows says neither that it is over nor that it is not."""
    unplaced = replace(watch(tonight(), {}), is_placed=False)

    found = find_cause(unplaced, LIGHT)

    assert (found.is_alarm, found.cause, found.is_raised) == (True, LIGHT, False)
    assert "no position" in found.explanation
    assert not find_cause(unplaced).is_alarm
    assert "no position" in find_cause(unplaced).explanation


def test_drifting_statistic_opens_no_alarm():
    """What only keeps an alarm open does not raise one."""
    assert cause(tonight(), checks(drifting=["luminance"])).cause == NONE


def test_new_test_that_fails_names_its_own_cause():
    """An open alarm about the light does not hide that defects came."""
    found = find_cause(watch(tonight(MANY), checks(drifting=["luminance"])), LIGHT)

    assert (found.cause, found.is_raised) == (DEFECTS, True)


def test_light_does_not_end_an_open_alarm_about_the_camera():
    """Less light makes more noise, but what was open before the light changed is not its doing."""
    moved = watch(tonight(), checks("luminance", "noise"))

    assert find_cause(moved).cause == LIGHT
    still = find_cause(moved, CAMERA)
    assert (still.cause, still.also, still.is_learning) == (CAMERA, (LIGHT,), False)


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        pytest.param(
            (SCORE_STATISTIC,), "but what is not known well enough yet: score.", id="some"
        ),
        pytest.param(tuple(checks()), "too few nights to compare with", id="all"),
    ],
)
def test_what_could_not_be_compared_is_named(unknown, said):
    """On the first nights, and on the first ones of a version, quiet does not mean tested."""
    found = checks()
    untested = {name: replace(found[name], score=None, average=None) for name in unknown}

    assert said in cause(tonight(), found | untested).explanation


def test_no_checks_are_no_alarm():
    """A night of which nothing is known but its images is judged by them."""
    assert cause(tonight(), {}).cause == NONE
    assert cause(tonight(MANY), {}).cause == DEFECTS
