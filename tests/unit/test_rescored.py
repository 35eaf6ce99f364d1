"""What another version says of past nights, beside what was said then."""

import numpy as np
import pandas as pd
import pytest

from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.ledger.rescored import (
    COLUMNS,
    clear_nights,
    compare,
    describe_first,
    summarise,
)

CALIBRATION = calibrate(np.linspace(0.1, 0.5, 99), target_fpr=0.02)
THRESHOLD = CALIBRATION.image_threshold
NO_MANIFEST = pd.DataFrame({"verdict": [], "position": []})


def scored(scores, night="2026-05-01", position="", learnt=()):
    """What a version says now; None is a picture that cannot be read."""
    rows = [
        {
            "night": night,
            "key": f"{number}.png",
            "sha256": f"hash {number}",
            "position": position,
            "score_now": score,
            "threshold_now": None if score is None else THRESHOLD,
            "label_now": None if score is None else score > THRESHOLD,
            "p_value": None if score is None else 0.5,
            "error": "gone" if score is None else None,
            "is_learnt": number in learnt,
        }
        for number, score in enumerate(scores)
    ]
    return pd.DataFrame(rows).astype({"score_now": float})


def said(labels, version="1"):
    """The table of scores of then."""
    rows = [
        {
            "key": f"{number}.png",
            "sha256": f"hash {number}",
            "pred_score": 0.3,
            "pred_label": label,
            "model_version": version,
        }
        for number, label in enumerate(labels)
    ]
    return pd.DataFrame(rows)


def night_of(scores, labels=None, night="2026-05-01", manifest=NO_MANIFEST, parts=(), **facts):
    """A night scored anew; ``labels`` are those of then."""
    then = None if labels is None else said(labels)
    compared = compare(scored(scores, night, **facts), then, {"1": 0.25}.get)
    return summarise(night, compared, manifest, CALIBRATION, list(parts))


def test_then_and_now_stand_side_by_side():
    """By key and content; of a picture that nobody scored there is nothing of then."""
    table = compare(scored([0.9, 0.1, None]), said([False, True]), {"1": 0.25}.get)

    assert list(table.columns) == list(COLUMNS)
    assert table["label_then"].tolist()[:2] == [False, True]
    assert table["label_now"].tolist() == [True, False, None]
    assert table["version_then"].tolist()[:2] == ["1", "1"]
    assert table["threshold_then"].tolist()[:2] == [0.25, 0.25]
    assert table.loc[2, ["score_then", "label_then", "version_then"]].isna().all()
    assert table["error"].tolist()[2] == "gone"


def test_another_picture_under_the_same_key_has_nothing_of_then():
    """What was said was said of other bytes."""
    then = said([True]).assign(sha256="other")

    table = compare(scored([0.9]), then, {}.get)

    assert table["label_then"].isna().all()


def test_the_threshold_of_a_version_that_is_gone_is_not_known():
    """Its scores and labels stay."""
    table = compare(scored([0.9]), said([False]), lambda version: None)

    assert table["score_then"].tolist() == [0.3]
    assert table["threshold_then"].isna().all()


def test_counts_by_hand():
    """Newly and no longer above are of pictures that were scored then."""
    manifest = pd.DataFrame({"verdict": ["quarantined", "duplicate"], "position": ""})

    night = night_of([0.9, 0.9, 0.1, 0.1, 0.9, None], [False, True, True, False], manifest=manifest)

    whole = night.whole
    assert (whole.images, whole.unreadable, whole.quarantined, whole.compared) == (5, 1, 1, 4)
    assert (whole.above_then, whole.above_now) == (2, 3)
    assert (whole.newly_above, whole.no_longer_above) == (1, 1)
    assert whole.versions_then == ("1",)
    assert whole.worst_score == 0.9
    assert (night.unsaid, night.fresh) == (2, 5)
    assert night.groups == (whole,)


def test_positions_are_counted_apart():
    """What chance makes of them is of the night."""
    left, right = scored([0.9, 0.1], position="left"), scored([0.1], position="right")
    table = compare(pd.concat([left, right], ignore_index=True), None, {}.get)

    night = summarise("2026-05-01", table, NO_MANIFEST, CALIBRATION, [])

    assert [(each.position, each.images, each.above_now) for each in night.groups] == [
        ("left", 2, 1),
        ("right", 1, 0),
    ]
    assert night.whole.images == 3


def test_what_was_learnt_or_said_speaks_for_nothing():
    """A version that learnt a defect does not see it, and what was said then is no news."""
    night = night_of([0.9] * 6, [False] * 3 + [True] * 3, learnt=(0,))

    assert (night.unsaid, night.fresh, night.whole.learnt) == (2, 5, 1)


def test_pictures_of_one_part_weigh_as_one():
    """Twelve of two parts prove less than twelve of twelve."""
    alone = night_of([0.9] * 12)
    of_two = night_of([0.9] * 12, parts=["a"] * 6 + ["b"] * 6)

    assert of_two.chance == night_of([0.9] * 2).chance > alone.chance


def test_a_night_without_pictures_is_no_news():
    """All of it may be quarantined."""
    empty = scored([0.9]).iloc[:0]
    lost = pd.DataFrame({"verdict": ["quarantined"], "position": [""]})

    night = summarise("2026-05-01", compare(empty, None, {}.get), lost, CALIBRATION, [])

    assert (night.chance, night.whole.images, night.whole.quarantined) == (1.0, 0, 1)
    assert night.whole.worst_score is None


def test_the_first_clear_night_is_named():
    """With what it rests on; nights of a few false alarms are none."""
    nights = [
        night_of([0.1] * 23 + [0.9], [False] * 24, "2026-05-01"),
        night_of([0.1] * 12 + [0.9] * 12, [False] * 24, "2026-05-02"),
        night_of([0.9] * 24, [False] * 24, "2026-05-03"),
        night_of([0.9] * 24, [True] * 24, "2026-05-04"),
    ]

    sentence = describe_first(nights, "2", CALIBRATION)

    assert [night.whole.night for night in clear_nights(nights)] == ["2026-05-02", "2026-05-03"]
    assert sentence.startswith("2026-05-02 is the first night of which version 2 sees clearly more")
    assert "12 of 24 pictures that it did not learn are newly above its threshold" in sentence
    assert "shows so many once in over 1,000; " in sentence
    assert "its false-positive rate on normal pictures is 0.2 to 5.5 % (95 % interval)" in sentence


def test_no_clear_night_is_no_proof():
    """And it is said so."""
    sentence = describe_first([night_of([0.1] * 24, [False] * 24)], "2", CALIBRATION)

    assert sentence.startswith("On none of 1 nights does version 2 see clearly more")
    assert sentence.endswith("That does not prove that nothing was there")


def test_few_calibration_images_prove_little():
    """Of three held-out images nobody knows how many normal ones are above the threshold."""
    few = calibrate([0.1, 0.2, 0.3], target_fpr=0.02)
    compared = compare(scored([0.9] * 3), None, {}.get)

    night = summarise("2026-05-01", compared, NO_MANIFEST, few, [])

    assert clear_nights([night]) == []


@pytest.mark.parametrize("nights", [1, 20])
def test_normal_nights_are_seldom_clear(nights):
    """Of so many together at most one in twenty ranges names any."""
    random, ranges = np.random.default_rng(0), 1000
    by_count = [night_of([0.9] * count + [0.1] * (24 - count)) for count in range(25)]

    drawn = random.binomial(24, 0.02, (ranges, nights))
    named = sum(bool(clear_nights([by_count[count] for count in each])) for each in drawn)

    assert named / ranges <= 0.05
