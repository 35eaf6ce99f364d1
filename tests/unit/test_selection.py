"""Which images may be learnt from: every doubt keeps one out."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.ledger.eligibility import (
    Watched,
    doubtful_images,
    learnable_images,
    lend_light,
)
from reconad_plugin.ledger.night_record import DEFECT, NORMAL, REVIEW_COLUMNS, WAITING
from reconad_plugin.ledger.splits import CALIBRATION, JUDGE, LIGHT_ONLY, TRAIN

FIRST, SECOND, THIRD = "2024-05-01", "2024-05-02", "2024-05-03"


def accepted(*images):
    """Accepted rows of the training split from (hash, night)."""
    return pd.DataFrame(images, columns=["sha256", "night"]).assign(split=TRAIN)


def scored(*images):
    """A night's table from (hash, is above the threshold, is so with the light matched)."""
    return pd.DataFrame(images, columns=["sha256", "pred_label", "is_suspect"])


def reviewed(**decisions):
    """Reviews from hash to decision."""
    table = pd.DataFrame(columns=list(REVIEW_COLUMNS))
    return table.assign(sha256=list(decisions), decision=list(decisions.values()))


def watched(scores, relit=(), held=(), reviews=None):
    """Nights with their tables, and what persons said."""
    reviews = reviewed() if reviews is None else reviews
    return Watched(scores, frozenset(relit), frozenset(held), reviews)


def learnable(rows, scores, relit=(), held=(), reviews=None, trusted_until=FIRST):
    """The hashes that are chosen."""
    chosen = learnable_images(rows, watched(scores, relit, held, reviews), trusted_until)
    return chosen["sha256"].tolist()


def test_first_nights_join():
    """Up to the night that the owner vouches for, every accepted image counts as normal."""
    rows = accepted(("a", FIRST), ("b", SECOND), ("c", THIRD))

    assert learnable(rows, {}, trusted_until=SECOND) == ["a", "b"]


@pytest.mark.parametrize(
    ("is_above", "is_suspect", "joins"),
    [
        pytest.param(False, False, True, id="normal both ways"),
        pytest.param(True, False, False, id="above the threshold as it came"),
        pytest.param(False, True, False, id="suspect with the light matched"),
        pytest.param(True, True, False, id="both"),
    ],
)
def test_scored_image_joins_when_normal_in_every_way(is_above, is_suspect, joins):
    """On an ordinary night an image joins only where neither score is above its threshold."""
    scores = {SECOND: scored(("a", is_above, is_suspect))}

    assert learnable(accepted(("a", SECOND)), scores) == (["a"] if joins else [])


@pytest.mark.parametrize(
    ("is_above", "is_suspect", "joins"),
    [
        pytest.param(True, False, True, id="above the threshold through the light alone"),
        pytest.param(False, False, True, id="normal both ways"),
        pytest.param(True, True, False, id="suspect with the light matched"),
        pytest.param(False, True, False, id="suspect only with the light matched"),
    ],
)
def test_relit_night_is_judged_with_the_light_matched(is_above, is_suspect, joins):
    """On a night of changed light the score with the light matched decides."""
    scores = {SECOND: scored(("a", is_above, is_suspect))}

    assert learnable(accepted(("a", SECOND)), scores, relit=[SECOND]) == (["a"] if joins else [])


def test_relit_night_says_nothing_of_other_nights():
    """Changed light on one night does not excuse an image of another."""
    scores = {SECOND: scored(("a", True, False)), THIRD: scored(("b", True, False))}
    rows = accepted(("a", SECOND), ("b", THIRD))

    assert learnable(rows, scores, relit=[SECOND]) == ["a"]


def test_relit_night_lends_its_light_and_not_its_pictures():
    """Beside a change of light a defect can hide, so no picture is learnt that nobody released;
    thresholds and the gate see the night as it was."""
    scores = {SECOND: scored(*((name, True, False) for name in "bcde")), THIRD: scored()}
    rows = accepted(("a", FIRST), *((name, SECOND) for name in "bcde"))
    rows["split"] = [TRAIN, TRAIN, TRAIN, CALIBRATION, JUDGE]

    lent = lend_light(rows, watched(scores, [SECOND], (), reviewed(c=NORMAL)), SECOND)

    assert lent["sha256"].tolist() == list("abcde")
    assert lent["split"].tolist() == [TRAIN, LIGHT_ONLY, TRAIN, CALIBRATION, JUDGE]
    assert rows["split"].tolist() == [TRAIN, TRAIN, TRAIN, CALIBRATION, JUDGE]


@pytest.mark.parametrize("lit_night", [None, THIRD])
def test_light_that_is_not_learnt_calibrates_nothing(lit_night):
    """In the lesson of another night a relit night judges, and a person's word counts."""
    scores = {SECOND: scored(*((name, True, False) for name in "bcde")), THIRD: scored()}
    rows = accepted(("a", FIRST), *((name, SECOND) for name in "bcde"))
    rows["split"] = [TRAIN, TRAIN, TRAIN, CALIBRATION, JUDGE]

    lent = lend_light(rows, watched(scores, [SECOND], (), reviewed(c=NORMAL)), lit_night)

    assert lent["sha256"].tolist() == ["a", "c", "e"]
    assert lent["split"].tolist() == [TRAIN, TRAIN, JUDGE]


def test_held_night_gives_only_what_a_person_released():
    """Of a night that waits for a person, normal scores do not count."""
    scores = {SECOND: scored(("a", False, False), ("b", False, False), ("c", True, True))}
    rows = accepted(("a", SECOND), ("b", SECOND), ("c", SECOND))

    chosen = learnable(rows, scores, held=[SECOND], reviews=reviewed(a=WAITING, b=NORMAL, c=NORMAL))

    assert chosen == ["b", "c"]


def test_what_waits_for_a_person_does_not_join_by_itself():
    """A held night that is run again, and is no longer held, releases nothing."""
    scores = {SECOND: scored(("a", False, False), ("b", False, False))}
    rows = accepted(("a", SECOND), ("b", SECOND))

    assert learnable(rows, scores, reviews=reviewed(a=WAITING)) == ["b"]


def test_a_night_that_was_scored_needs_no_trust():
    """Should the first nights reach further than they did, watched nights keep their doubts."""
    scores = {SECOND: scored(("a", False, False), ("b", True, True))}
    rows = accepted(("a", SECOND), ("b", SECOND), ("c", FIRST))

    assert learnable(rows, scores, trusted_until=THIRD) == ["a", "c"]


def test_held_night_without_scores_gives_nothing():
    """A held night is not mistaken for one of the first."""
    assert learnable(accepted(("a", SECOND)), {}, held=[SECOND]) == []


def test_held_night_stays_held_when_its_light_changed_too():
    """Changed light does not release a held night."""
    scores = {SECOND: scored(("a", True, False))}

    assert learnable(accepted(("a", SECOND)), scores, relit=[SECOND], held=[SECOND]) == []


@pytest.mark.parametrize(
    ("night", "scores", "held"),
    [
        pytest.param(FIRST, {}, [], id="first night"),
        pytest.param(SECOND, {SECOND: scored(("a", False, False))}, [], id="normal score"),
        pytest.param(SECOND, {SECOND: scored(("a", False, False))}, [SECOND], id="held night"),
    ],
)
def test_what_a_person_called_a_defect_never_joins(night, scores, held):
    """A person's word is above every score."""
    rows = accepted(("a", night), ("b", FIRST))

    assert learnable(rows, scores, held=held, reviews=reviewed(a=DEFECT)) == ["b"]


def test_what_a_person_called_normal_joins_against_the_score():
    """A suspect that a person released is learnt."""
    scores = {SECOND: scored(("a", True, True))}

    assert learnable(accepted(("a", SECOND)), scores, reviews=reviewed(a=NORMAL)) == ["a"]


def test_two_persons_who_disagree_keep_it_out():
    """Where one review says normal and another defect, the doubt decides."""
    reviews = pd.concat([reviewed(a=NORMAL), reviewed(a=DEFECT)])

    assert learnable(accepted(("a", FIRST)), {}, reviews=reviews) == []


def test_image_that_came_after_its_night_was_scored_waits():
    """A late arrival that stands in no table of scores is not learnt unseen."""
    scores = {SECOND: scored(("a", False, False))}

    assert learnable(accepted(("a", SECOND), ("late", SECOND)), scores) == ["a"]


@pytest.mark.parametrize(
    "scores",
    [
        pytest.param({SECOND: scored(("b", False, False))}, id="after scored nights"),
        pytest.param({}, id="where no night was scored"),
    ],
)
def test_night_that_was_never_scored_waits(scores):
    """A night after the first ones is not learnt unseen, though nothing speaks against it."""
    rows = accepted(("a", FIRST), ("c", THIRD))

    assert learnable(rows, scores) == ["a"]


def doubtful(rows, scores, held=(), reviews=None, target_fpr=0.25):
    """The hashes that come back."""
    seen = watched(scores, held=held, reviews=reviews)
    return doubtful_images(rows, seen, target_fpr)["sha256"].tolist()


def test_the_share_above_a_threshold_calibrates_and_judges():
    """Of twelve images a split, three above: two come back, those with the lowest hashes, and none
    of those that train."""
    rows, tables = [], {}
    for split in ("train", "calibration", "judge"):
        rows += [(f"{split}{number:02}", SECOND, split) for number in range(12)]
        tables |= {f"{split}{number:02}": number >= 9 for number in range(12)}
    rows = pd.DataFrame(rows, columns=["sha256", "night", "split"])
    scores = {SECOND: scored(*((name, is_above, False) for name, is_above in tables.items()))}

    assert doubtful(rows, scores) == ["calibration09", "calibration10", "judge09", "judge10"]
    assert doubtful(rows, scores, target_fpr=0.12) == []
    assert doubtful(rows, scores, held=[SECOND]) == []
    assert doubtful(rows, {}) == []
    decided = reviewed(calibration09=DEFECT, calibration10=NORMAL, judge09=WAITING)
    assert doubtful(rows, scores, reviews=decided) == ["calibration11", "judge09", "judge10"]


@pytest.mark.parametrize("target_fpr", [0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.25, 0.5, 0.9])
def test_what_comes_back_does_not_lift_the_threshold_above_the_normal_scores(target_fpr):
    """Whatever their number, defects that nobody has reviewed leave some normal score at or above
    the threshold; one more image could lift it above them all."""
    most = []
    for normal_images in (*range(2, 60, 7), *range(60, 700, 79)):
        normal = [f"normal{number}" for number in range(normal_images)]
        defects = [f"defect{number}" for number in range(normal_images * 12)]
        rows = accepted(*((name, SECOND) for name in normal + defects)).assign(split=CALIBRATION)
        table = scored(
            *((name, False, False) for name in normal), *((name, True, True) for name in defects)
        )

        back = len(doubtful(rows, {SECOND: table}, target_fpr=target_fpr))

        scores = np.arange(normal_images + back, dtype=float)
        scores[normal_images:] += 1000  # far above every normal score
        threshold = calibrate(scores, target_fpr).image_threshold
        assert threshold <= scores[normal_images - 1]
        most.append(back)
    assert most == sorted(most)
    assert most[-1] > 0


def test_only_images_that_calibrate_make_room_for_doubtful_ones():
    """Images that were seen and wait for a person, or are known defects, are no normal ones."""
    names = [f"{number:03}" for number in range(120)]
    rows = accepted(*((name, SECOND) for name in names)).assign(split=CALIBRATION)
    scores = {SECOND: scored(*((name, name > "109", False) for name in names))}

    assert doubtful(rows, scores, target_fpr=0.02) == ["110"]
    waiting = reviewed(**dict.fromkeys(names[:15], WAITING))
    assert doubtful(rows, scores, reviews=waiting, target_fpr=0.02) == []


def test_false_alarms_do_not_creep_up_over_many_trainings():
    """Ten versions, each calibrated on what the one before let through: with what the share
    allows the true rate stays what it was set to; without it rises by half."""
    target, images, noise = 0.02, 20_000, 0.3
    random = np.random.default_rng(5)
    rows = pd.DataFrame({"sha256": [f"{number:05}" for number in range(images)]})
    rows = rows.assign(night=SECOND, split="judge")

    def true_rate(with_doubtful):
        threshold = np.inf
        for _ in range(10):
            part = random.normal(size=images)
            is_above = part + noise * random.normal(size=images) > threshold
            table = scored(*zip(rows["sha256"], is_above, [False] * images, strict=True))
            is_kept = ~is_above
            if with_doubtful:
                back = doubtful(rows, {SECOND: table}, target_fpr=target)
                is_kept |= rows["sha256"].isin(back).to_numpy()
            scores = part + noise * random.normal(size=images)  # of the next version
            threshold = calibrate(scores[is_kept], target).image_threshold
        return stats.norm.sf(threshold / np.hypot(1, noise))

    assert true_rate(with_doubtful=True) < 1.15 * target
    assert true_rate(with_doubtful=False) > 1.4 * target


def test_order_and_columns_are_kept():
    """The chosen rows are those of the manifest, in its order, numbered from zero."""
    rows = accepted(("c", FIRST), ("a", SECOND), ("b", SECOND)).assign(split=["x", "y", "z"])
    scores = {SECOND: scored(("b", False, False), ("a", True, True))}

    chosen = learnable_images(rows, watched(scores), FIRST)

    pd.testing.assert_frame_equal(chosen, rows.iloc[[0, 2]].reset_index(drop=True))
