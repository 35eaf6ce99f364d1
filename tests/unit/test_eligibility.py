"""Which images may be used for what: every doubt keeps one out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.ledger.eligibility import (
    NightImages,
    Status,
    choose_training_images,
    most_spare,
)
from reconad_plugin.ledger.night_record import DEFECT, NORMAL, REVIEW_COLUMNS, WAITING
from reconad_plugin.ledger.splits import BORROWED_LIGHT, CALIBRATION, JUDGE, TRAIN

DOCS = Path(__file__).parents[2] / "docs"
FIRST, SECOND, THIRD = "2024-05-01", "2024-05-02", "2024-05-03"


def accepted(*images):
    """Accepted rows of the training split from (hash, night)."""
    rows = pd.DataFrame(images, columns=["sha256", "night"]).assign(split=TRAIN, pixels_sha256="")
    return rows.assign(key=rows["sha256"])


def scored(*images):
    """A night's table from (hash, is above the threshold, is so with the light matched)."""
    table = pd.DataFrame(images, columns=["sha256", "pred_label", "is_suspect"])
    return table.astype({"pred_label": bool, "is_suspect": bool})


def reviewed(**decisions):
    """Reviews from hash to decision."""
    table = pd.DataFrame(columns=list(REVIEW_COLUMNS))
    return table.assign(sha256=list(decisions), decision=list(decisions.values()))


def choose(rows, nights, reviews=None, target_fpr=0.02):
    """The chosen rows; nights that are not named are unwatched after the first one."""
    known = {
        night: NightImages(Status.FOUNDING if night == FIRST else Status.UNWATCHED)
        for night in rows["night"].unique()
    }
    known |= {night: NightImages(*of_night) for night, of_night in nights.items()}
    reviews = reviewed() if reviews is None else reviews
    return choose_training_images(rows, (), known, reviews, target_fpr)


def learnable(rows, nights, reviews=None):
    """The hashes that are chosen."""
    return choose(rows, nights, reviews)["sha256"].tolist()


def test_first_nights_join():
    """Up to the night that the owner vouches for, every accepted image counts as normal."""
    rows = accepted(("a", FIRST), ("b", SECOND), ("c", THIRD))

    assert learnable(rows, {SECOND: (Status.FOUNDING,)}) == ["a", "b"]


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
    nights = {SECOND: (Status.ORDINARY, scored(("a", is_above, is_suspect)))}

    assert learnable(accepted(("a", SECOND)), nights) == (["a"] if joins else [])


@pytest.mark.parametrize(
    ("is_above", "is_suspect", "joins"),
    [
        pytest.param(True, False, True, id="above the threshold through the light alone"),
        pytest.param(False, False, True, id="normal both ways"),
        pytest.param(True, True, False, id="suspect with the light matched"),
        pytest.param(False, True, False, id="suspect only with the light matched"),
    ],
)
def test_night_of_light_is_seen_with_the_light_matched(is_above, is_suspect, joins):
    """On a night of changed light the score with the light matched decides."""
    nights = {SECOND: (Status.LIGHT, scored(("a", is_above, is_suspect)))}
    rows = accepted(("a", SECOND)).assign(split=JUDGE)

    assert learnable(rows, nights) == (["a"] if joins else [])


def test_night_of_light_says_nothing_of_other_nights():
    """Changed light on one night does not excuse an image of another."""
    nights = {
        SECOND: (Status.LIGHT, scored(("a", True, False))),
        THIRD: (Status.ORDINARY, scored(("b", True, False))),
    }
    rows = accepted(("a", SECOND), ("b", THIRD)).assign(split=JUDGE)

    assert learnable(rows, nights) == ["a"]


def one_of_each_split(*names):
    """Images of the second night: three that train, one that calibrates, one that judges."""
    rows = accepted(("a", FIRST), *((name, SECOND) for name in names))
    rows["split"] = [TRAIN, TRAIN, TRAIN, CALIBRATION, JUDGE]
    return rows, scored(*((name, True, False) for name in names))


def test_light_of_a_night_is_borrowed_and_not_its_pictures():
    """Beside a change of light a defect can hide, so no picture is learnt that nobody released;
    thresholds and the gate see the night as it was."""
    rows, table = one_of_each_split(*"bcde")

    chosen = choose(rows, {SECOND: (Status.BORROWED, table)}, reviewed(c=NORMAL))

    assert chosen["sha256"].tolist() == list("abcde")
    assert chosen["split"].tolist() == [TRAIN, BORROWED_LIGHT, TRAIN, CALIBRATION, JUDGE]
    assert rows["split"].tolist() == [TRAIN, TRAIN, TRAIN, CALIBRATION, JUDGE]


def test_light_that_is_not_learnt_calibrates_nothing():
    """In the training of another night a night of light judges, and a person's word counts."""
    rows, table = one_of_each_split(*"bcde")

    chosen = choose(rows, {SECOND: (Status.LIGHT, table)}, reviewed(c=NORMAL))

    assert chosen["sha256"].tolist() == ["a", "c", "e"]
    assert chosen["split"].tolist() == [TRAIN, TRAIN, JUDGE]


def test_held_night_gives_only_what_a_person_released():
    """Of a night that waits for a person, normal scores do not count."""
    table = scored(("a", False, False), ("b", False, False), ("c", True, True))
    rows = accepted(("a", SECOND), ("b", SECOND), ("c", SECOND))
    reviews = reviewed(a=WAITING, b=NORMAL, c=NORMAL)

    chosen = learnable(rows, {SECOND: (Status.HELD, table)}, reviews)

    assert chosen == ["b", "c"]


def test_what_waits_for_a_person_does_not_join_by_itself():
    """A held night that is run again, and is no longer held, releases nothing."""
    nights = {SECOND: (Status.ORDINARY, scored(("a", False, False), ("b", False, False)))}
    rows = accepted(("a", SECOND), ("b", SECOND))

    assert learnable(rows, nights, reviewed(a=WAITING)) == ["b"]


@pytest.mark.parametrize("status", [Status.HELD, Status.ROLLED_BACK, Status.UNWATCHED])
def test_night_that_nothing_vouches_for_gives_nothing(status):
    """Neither its normal scores nor those with the light matched count, and nothing is spare."""
    rows, table = one_of_each_split(*"bcde")

    assert learnable(rows, {SECOND: (status, table)}) == ["a"]
    assert learnable(rows, {SECOND: (status, None)}) == ["a"]


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("split", [TRAIN, CALIBRATION, JUDGE])
def test_what_a_person_called_a_defect_never_joins(status, split):
    """A person's word is above every score and every status."""
    rows = accepted(("a", SECOND), ("b", FIRST)).assign(split=split)

    chosen = learnable(rows, {SECOND: (status, scored(("a", False, False)))}, reviewed(a=DEFECT))

    assert chosen == ["b"]


@pytest.mark.parametrize(
    ("changed", "joins"),
    [
        pytest.param({"pixels_sha256": "shown"}, False, id="its pixels in another file"),
        pytest.param({"key": "named"}, False, id="another picture under its key"),
        pytest.param({"pixels_sha256": ""}, True, id="another picture"),
    ],
)
def test_a_defect_that_comes_again_in_another_file_never_joins(changed, joins):
    """Saved anew it has other bytes; a picture that was never hashed by its pixels equals none."""
    said = reviewed(old=DEFECT).assign(key="named", pixels_sha256="shown")
    before = reviewed(older=DEFECT).assign(pixels_sha256="")

    rows = accepted(("new", FIRST)).assign(**changed)

    assert learnable(rows, {}, pd.concat([said, before])) == (["new"] if joins else [])


def test_what_was_released_is_what_it_shows_and_not_its_key():
    """Another picture under the key of a released one waits as any other."""
    nights = {SECOND: (Status.HELD, scored(("a", True, True), ("b", True, True)))}
    rows = accepted(("a", SECOND), ("b", SECOND)).assign(pixels_sha256=["shown", ""])
    said = reviewed(old=NORMAL).assign(key="b", pixels_sha256="shown")

    assert learnable(rows, nights, said) == ["a"]


def test_what_a_person_called_normal_joins_against_the_score():
    """A suspect that a person released is learnt."""
    nights = {SECOND: (Status.ORDINARY, scored(("a", True, True)))}

    assert learnable(accepted(("a", SECOND)), nights, reviewed(a=NORMAL)) == ["a"]


def test_two_persons_who_disagree_keep_it_out():
    """Where one review says normal and another defect, the doubt decides."""
    reviews = pd.concat([reviewed(a=NORMAL), reviewed(a=DEFECT)])

    assert learnable(accepted(("a", FIRST)), {}, reviews) == []


def test_image_that_came_after_its_night_was_scored_waits():
    """A late arrival that stands in no table of scores is not learnt unseen."""
    nights = {SECOND: (Status.ORDINARY, scored(("a", False, False)))}

    assert learnable(accepted(("a", SECOND), ("late", SECOND)), nights) == ["a"]


def test_image_that_came_after_the_first_training_is_used_for_nothing():
    """Its night is closed, so it has no split; not even a person's word makes it one to learn."""
    rows = accepted(("a", FIRST), ("late", FIRST)).assign(split=[TRAIN, ""])

    assert learnable(rows, {}, reviewed(late=NORMAL)) == ["a"]


def test_night_that_was_never_scored_waits():
    """A night after the first ones is not learnt unseen, though nothing speaks against it."""
    rows = accepted(("a", FIRST), ("b", SECOND), ("c", THIRD))
    nights = {SECOND: (Status.ORDINARY, scored(("b", False, False)))}

    assert learnable(rows, nights) == ["a", "b"]
    assert learnable(rows, {}) == ["a"]


def spare(rows, table, status=Status.ORDINARY, reviews=None, target_fpr=0.25):
    """The hashes that come back though they are above a threshold."""
    chosen = choose(rows, {SECOND: (status, table)}, reviews, target_fpr)
    is_above = table["pred_label"] | table["is_suspect"]
    reviews = reviewed() if reviews is None else reviews
    released = set(reviews.loc[reviews["decision"] == NORMAL, "sha256"])
    above = set(table.loc[is_above, "sha256"]) - released
    return sorted(set(chosen["sha256"]) & above)


def test_the_share_above_a_threshold_calibrates_and_judges():
    """Of twelve images a split, three above: two come back, those with the lowest hashes, and none
    of those that train."""
    rows, tables = [], {}
    for split in ("train", "calibration", "judge"):
        rows += [(f"{split}{number:02}", SECOND, split) for number in range(12)]
        tables |= {f"{split}{number:02}": number >= 9 for number in range(12)}
    rows = pd.DataFrame(rows, columns=["sha256", "night", "split"])
    rows = rows.assign(key=rows["sha256"], pixels_sha256="")
    table = scored(*((name, is_above, False) for name, is_above in tables.items()))

    assert spare(rows, table) == ["calibration09", "calibration10", "judge09", "judge10"]
    assert spare(rows, table, target_fpr=0.12) == []
    assert spare(rows, table, Status.HELD) == []
    assert spare(rows, table, Status.UNWATCHED) == []
    decided = reviewed(calibration09=DEFECT, calibration10=NORMAL, judge09=WAITING)
    assert spare(rows, table, reviews=decided) == ["calibration11", "judge09", "judge10"]


@pytest.mark.parametrize("target_fpr", [0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.25, 0.5, 0.9])
def test_what_comes_back_does_not_lift_the_threshold_above_the_normal_scores(target_fpr):
    """Whatever their number, defects that nobody has reviewed leave some normal score at or above
    the threshold; one more image could lift it above them all."""
    most = []
    for normal_images in (*range(2, 60, 7), *range(60, 700, 79)):
        back = most_spare(normal_images, target_fpr)
        scores = np.arange(normal_images + back, dtype=float)
        scores[normal_images:] += 1000  # far above every normal score
        threshold = calibrate(scores, target_fpr).image_threshold
        assert threshold <= scores[normal_images - 1]
        most.append(back)
    assert most == sorted(most)
    assert most[-1] > 0


def test_only_images_that_calibrate_make_room_for_spare_ones():
    """Images that were seen and wait for a person, or are known defects, are no normal ones."""
    names = [f"{number:03}" for number in range(120)]
    rows = accepted(*((name, SECOND) for name in names)).assign(split=CALIBRATION)
    table = scored(*((name, name > "109", False) for name in names))

    assert spare(rows, table, target_fpr=0.02) == ["110"]
    waiting = reviewed(**dict.fromkeys(names[:15], WAITING))
    assert spare(rows, table, reviews=waiting, target_fpr=0.02) == []


def test_false_alarms_do_not_creep_up_over_many_trainings():
    """Ten versions, each calibrated on what the one before let through: with what the share
    allows the true rate stays what it was set to; without it rises by half."""
    target, images, noise = 0.02, 20_000, 0.3
    random = np.random.default_rng(5)

    def true_rate(with_spare):
        threshold = np.inf
        for _ in range(10):
            part = random.normal(size=images)
            is_kept = part + noise * random.normal(size=images) <= threshold
            if with_spare:
                is_kept[np.flatnonzero(~is_kept)[: most_spare(int(is_kept.sum()), target)]] = True
            scores = part + noise * random.normal(size=images)  # of the next version
            threshold = calibrate(scores[is_kept], target).image_threshold
        return stats.norm.sf(threshold / np.hypot(1, noise))

    assert true_rate(with_spare=True) < 1.15 * target
    assert true_rate(with_spare=False) > 1.4 * target


def test_rows_come_by_night_and_key_with_their_columns():
    """The chosen rows are those of the manifests, numbered from zero."""
    rows = accepted(("c", FIRST), ("b", SECOND), ("a", SECOND))
    nights = {SECOND: (Status.ORDINARY, scored(("b", False, False), ("a", True, True)))}

    chosen = choose(rows, nights)

    pd.testing.assert_frame_equal(chosen, rows.iloc[[0, 1]].reset_index(drop=True))


def test_no_rows_give_none():
    """A product without an accepted image has nothing to learn."""
    assert learnable(accepted(), {}) == []


IMAGE = st.fixed_dictionaries(
    {
        "split": st.sampled_from([TRAIN, CALIBRATION, JUDGE, ""]),
        "pred_label": st.booleans(),
        "is_suspect": st.booleans(),
        "is_late": st.booleans(),
        "decision": st.sampled_from([None, NORMAL, DEFECT, WAITING]),
    }
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(Status), st.lists(IMAGE, max_size=12)), max_size=5),
    st.floats(0.001, 0.9),
)
def test_a_defect_is_never_learnt(nights, target_fpr):
    """Whatever the nights: what a person called a defect is used for nothing; what waits, what is
    anomalous in every light, and what no version saw trains only when a person released it; and
    images above a threshold never outnumber what leaves the threshold among normal scores."""
    rows, known, decisions, images = [], {}, {}, {}
    for number, (status, of_night) in enumerate(nights):
        night, table = f"2024-06-{number + 1:02}", []
        for place, image in enumerate(of_night):
            name = f"{number}-{place:02}"
            rows.append((name, night, image["split"], name))
            images[name] = image | {"status": status}
            if image["decision"]:
                decisions[name] = image["decision"]
            if not image["is_late"]:
                table.append((name, image["pred_label"], image["is_suspect"]))
        is_scored = status not in (Status.FOUNDING, Status.UNWATCHED)
        known[night] = NightImages(status, scored(*table) if is_scored else None)
    rows = pd.DataFrame(rows, columns=["sha256", "night", "split", "key"]).assign(pixels_sha256="")

    chosen = choose_training_images(rows, (), known, reviewed(**decisions), target_fpr)

    assert chosen["key"].is_unique
    for name, split in zip(chosen["sha256"], chosen["split"], strict=True):
        image = images[name]
        assert image["decision"] != DEFECT
        assert image["split"]
        is_founding = image["status"] is Status.FOUNDING
        if image["decision"] == NORMAL:
            continue
        if split in (TRAIN, BORROWED_LIGHT):
            assert image["decision"] is None
            assert is_founding or not (image["is_late"] or image["is_suspect"])
            is_borrowed = split == BORROWED_LIGHT
            assert is_founding or is_borrowed or not image["pred_label"]
            assert image["status"] not in (Status.HELD, Status.ROLLED_BACK, Status.UNWATCHED)
            assert (image["status"] is Status.BORROWED) == is_borrowed
        else:
            assert image["status"] not in (Status.HELD, Status.ROLLED_BACK, Status.UNWATCHED)
            assert is_founding or not image["is_late"]
