"""One snapshot of what is known of every night, of which every question is asked."""

from dataclasses import replace
from datetime import date, timedelta

import pandas as pd
import pytest

from reconad_plugin.images.features import FEATURES
from reconad_plugin.ledger.eligibility import Status
from reconad_plugin.ledger.history import FINETUNE, History, VersionFacts
from reconad_plugin.ledger.ledger import REFERENCE_NIGHTS, ByNight, Ledger, OpenAlarm
from reconad_plugin.ledger.manifest import ACCEPTED, COLUMNS, QUARANTINED
from reconad_plugin.ledger.night_record import DEFECT, REVIEW_COLUMNS
from tests.night_tables import record

START = date(2026, 5, 1)
FOUNDED = History(founding_until=START.isoformat())


def day(number):
    """The night after so many others."""
    return START + timedelta(number)


def manifest(night, images=5, verdict=ACCEPTED, split="train"):
    """A night's manifest."""
    rows = pd.DataFrame({"key": [f"{night}/{number}.png" for number in range(images)]})
    rows = rows.assign(sha256=rows["key"], night=night.isoformat(), verdict=verdict, split=split)
    rows = rows.reindex(columns=list(COLUMNS)).assign(**dict.fromkeys(FEATURES, 0.5))
    return rows.fillna({name: "" if kind == "str" else 0 for name, kind in COLUMNS.items()})


def scores(night, images=5):
    """A table of normal scores."""
    table = manifest(night, images)[["key", "sha256"]]
    return table.assign(pred_score=0.1, pred_label=False, is_suspect=False)


def by_night(contents):
    """Contents by night."""
    return ByNight(list(contents), contents.__getitem__)


def ledger(nights, causes, history=FOUNDED, reviews=None, resolved=(), **facts):
    """So many nights, the first one founding; ``causes`` are of those that were watched."""
    records = {day(n): record(day(n), cause, **facts) for n, cause in causes.items()}
    return Ledger(
        manifests=by_night({day(n): manifest(day(n)) for n in range(nights)}),
        records=by_night(records),
        scores=by_night({night: scores(night) for night in records}),
        reviews=by_night(reviews or {}),
        resolved=frozenset(day(n) for n in resolved),
        history=history,
    )


def test_contents_are_read_when_they_are_asked_for_and_once():
    """Also through a view of the nights up to one."""
    asked = []
    contents = ByNight([day(1), day(0)], lambda night: asked.append(night) or night.isoformat())

    early = contents.until(day(0))

    assert (list(contents), list(early), asked) == ([day(0), day(1)], [day(0)], [])
    assert [early[day(0)], contents[day(0)], early[day(0)]] == ["2026-05-01"] * 3
    assert asked == [day(0)]
    assert early.get(day(1)) is None


def test_status_of_each_night():
    """By what the watch said of it, and by what became of the version that scored it."""
    known = ledger(7, {1: "none", 2: "light", 3: "process", 4: "camera", 6: "defects"})

    assert [known.status(day(n)) for n in range(7)] == [
        Status.FOUNDING,
        Status.ORDINARY,
        Status.LIGHT,
        Status.PROCESS,
        Status.HELD,
        Status.UNWATCHED,
        Status.HELD,
    ]
    assert known.status(day(2), light_from=day(2)) is Status.BORROWED
    bad = VersionFacts("3", "run", "", rolled_back_night="2026-05-09")
    after = replace(known, history=replace(FOUNDED, versions=(bad,)))
    assert {after.status(day(n)) for n in (1, 2, 3, 4, 6)} == {Status.ROLLED_BACK}


def test_a_night_is_seen_as_of_any_other():
    """What came later is not there."""
    known = ledger(4, {1: "none", 2: "none", 3: "none"}, resolved=[3])

    past = known.as_of(day(1))

    assert list(past.manifests) == [day(0), day(1)]
    assert list(past.records) == [day(1)]
    assert past.resolved == frozenset()
    learnt = past.training_images(target_fpr=0.02)
    assert set(learnt["night"]) == {day(0).isoformat(), day(1).isoformat()}


def test_golden_images_and_defects_are_not_learnt():
    """By their content, whatever their night."""
    table = pd.DataFrame([{"sha256": f"{day(0)}/1.png", "decision": DEFECT}])
    known = ledger(2, {1: "none"}, reviews={day(0): table.reindex(columns=list(REVIEW_COLUMNS))})
    known = replace(known, golden=frozenset({f"{day(1)}/2.png"}))

    keys = known.training_images(target_fpr=0.02)["key"].tolist()

    assert f"{day(0)}/0.png" in keys
    assert f"{day(0)}/1.png" not in keys
    assert f"{day(1)}/2.png" not in keys


def test_a_defect_is_held_against_images_of_its_night_and_position_that_are_not_golden():
    """Golden ones judge, and tell a training nothing; not even where a defect is."""
    known = replace(ledger(2, {}), golden=frozenset({f"{day(1)}/2.png"}))

    beside = known.beside(day(1), position="")

    assert beside["key"].tolist() == [f"{day(1)}/{number}.png" for number in (0, 1, 3, 4)]
    assert known.beside(day(1), position="left").empty


def test_baseline_leaves_out_what_nothing_vouches_for():
    """Alarms set no level, and a night whose run died is not even looked at."""
    known = ledger(5, {1: "none", 2: "defects", 4: "none"})

    found = known.baseline(day(4))

    assert [night.night for night in found.nights] == [day(n).isoformat() for n in (0, 1, 2)]
    assert found.nights[0].is_trained_on
    assert found.normal == {day(0).isoformat(), day(1).isoformat()}
    assert found.ordinary == {day(1).isoformat()}
    assert found.new_levels == frozenset()


@pytest.mark.parametrize(
    ("resolved", "promoted", "is_open"),
    [
        pytest.param([], None, True, id="nothing was done"),
        pytest.param([2], None, False, id="a person resolved it"),
        pytest.param([1], None, True, id="a person resolved one before"),
        pytest.param([], day(2), False, id="a version was promoted for it"),
        pytest.param([], day(3), True, id="a version is promoted tonight"),
    ],
)
def test_alarm_stays_open_until_something_ends_it(resolved, promoted, is_open):
    """A resolution or a promotion of the nights since it began."""
    versions = ()
    if promoted is not None:
        learnt = VersionFacts("4", "run", day(2).isoformat(), FINETUNE, "light")
        versions = (replace(learnt, has_served=True, promoted_night=promoted.isoformat()),)
    history = replace(FOUNDED, versions=versions)
    known = ledger(3, {1: "none", 2: "light"}, history, resolved=resolved)

    expected = OpenAlarm("light", day(2).isoformat()) if is_open else None
    assert known.open_alarm(before=day(3)) == expected
    assert known.open_alarm(before=day(2)) is None


def test_reference_is_of_ordinary_nights():
    """The newest first, without alarms and without what a rolled-back version scored."""
    causes = {n: "light" if n == 9 else "none" for n in range(1, 12)}
    known = ledger(12, causes)

    nights = known.reference_nights(day(11))

    assert nights == [day(n) for n in (10, 8, 7, 6, 5, 4, 3)]
    assert len(nights) == REFERENCE_NIGHTS
    bad = VersionFacts("3", "run", "", rolled_back_night="2026-05-20")
    after = replace(known, history=replace(FOUNDED, versions=(bad,)))
    assert after.reference_nights(day(11)) == []


def test_retraining_is_due_after_so_many_nights_with_images():
    """Counted from the last night that a version learnt from; a night of broken files is none."""
    trained = VersionFacts("1", "run", day(1).isoformat(), "train")
    known = ledger(6, {}, replace(FOUNDED, versions=(trained,)))
    broken = {night: known.manifests[night] for night in known.manifests}
    broken[day(3)] = manifest(day(3), verdict=QUARANTINED)
    known = replace(known, manifests=by_night(broken))

    assert [known.is_retraining_due(day(n), every_nights=3) for n in (3, 4, 5)] == [
        False,
        False,
        True,
    ]
    assert not known.is_retraining_due(day(5), every_nights=0)


def test_late_images_of_a_closed_night_are_counted():
    """They have no split."""
    known = ledger(1, {})
    late = pd.concat([manifest(day(0)), manifest(day(0), 2, split="")])
    known = replace(known, manifests=by_night({day(0): late}))

    assert known.late_images(day(0)) == 2
    assert known.history.is_closed(day(0))
    assert not known.history.is_closed(day(1))
    assert known.late_images(day(5)) == 0
