"""The gate: every rule, on both sides of its limit."""

from dataclasses import replace

import numpy as np
import pytest

from reconad_plugin.gate.golden import SIMULATED
from reconad_plugin.gate.judge import JudgedImages
from reconad_plugin.gate.limits import LIMITS
from reconad_plugin.gate.rules import COST, GAIN, QUALITY
from tests.judged import (
    ANOMALOUS,
    BETTER,
    CHAMPION,
    LABELS,
    NORMAL,
    TYPES,
    check_of,
    failed,
    label,
    see,
    verdict,
)


def test_better_challenger_passes():
    """A better ranking serves; every rule has its kind."""
    found = verdict(BETTER)

    assert found.is_passed
    assert failed(found) == []
    assert [(check.rule, check.kind) for check in found.checks] == [
        ("scores", QUALITY),
        ("map_spread", QUALITY),
        ("map_coverage", QUALITY),
        ("false_alarms", QUALITY),
        ("recall", QUALITY),
        ("auroc_no_worse", QUALITY),
        ("recall_no_worse", QUALITY),
        *((f"recall_no_worse:{defect}", QUALITY) for defect in TYPES),
        ("newly_missed", QUALITY),
        ("latency", COST),
        ("size", COST),
        ("is_better", GAIN),
    ]
    assert found.reason.startswith(
        "it is better in ranking and recall (of 100 recent normal images 0"
    )


def test_equal_challenger_is_refused_for_want_of_gain_alone():
    """A challenger that does as well as the champion is not worse, and does not replace it."""
    found = verdict(CHAMPION)

    assert not found.is_passed
    assert failed(found) == ["is_better"]
    assert found.passes(QUALITY)
    assert not found.passes(GAIN)
    assert found.reason.startswith("it is better in nothing")


def test_the_verdict_has_images_and_differences():
    """The verdict says what it stands on, and how far the two versions are apart."""
    found = verdict(BETTER)

    by_type = dict.fromkeys(TYPES, 25)
    assert found.images == JudgedImages(normal=100, recent=100, anomalous=by_type)
    low, high = found.differences.auroc_interval
    assert found.differences.auroc == pytest.approx(BETTER.auroc - CHAMPION.auroc)
    assert 0 < low < found.differences.auroc < high


@pytest.mark.parametrize(
    ("rule", "change", "is_passed"),
    [
        pytest.param("map_spread", {"map_spread": 0.001}, False, id="the same everywhere"),
        pytest.param("map_spread", {"map_spread": 0.0011}, True, id="says a little"),
        pytest.param("map_coverage", {"map_coverage": 0.5}, True, id="marks half"),
        pytest.param("map_coverage", {"map_coverage": 0.51}, False, id="marks more than half"),
        pytest.param("latency", {"seconds_per_image": 1.0}, True, id="slow, and free"),
        pytest.param("latency", {"seconds_per_image": 1.1}, False, id="slow"),
        pytest.param("size", {"size_bytes": 500_000_000}, True, id="large, and free"),
        pytest.param("size", {"size_bytes": 500_000_001}, False, id="large"),
    ],
)
@pytest.mark.parametrize(
    "champion", [pytest.param(None, id="first version"), pytest.param(CHAMPION, id="with champion")]
)
def test_maps_and_costs_have_limits(rule, change, is_passed, champion):
    """Maps must point at something and not at everything; time and size are bounded."""
    found = verdict(replace(BETTER, **change), champion)

    assert failed(found) == ([] if is_passed else [rule])


def test_twice_the_cost_of_a_costly_champion_is_allowed():
    """Where the champion is slow and large already, a challenger may be twice that."""
    champion = replace(CHAMPION, seconds_per_image=2.0, size_bytes=400_000_000)

    twice = replace(BETTER, seconds_per_image=4.0, size_bytes=800_000_000)
    more = replace(BETTER, seconds_per_image=4.1, size_bytes=800_000_001)

    assert failed(verdict(twice, champion)) == []
    assert failed(verdict(more, champion)) == ["latency", "size"]


@pytest.mark.parametrize(
    ("alarms", "calibration_images", "is_passed"),
    [
        pytest.param(2, 10_000, True, id="at the target"),
        pytest.param(12, 100, False, id="more than chance gives"),
        pytest.param(12, 10, True, id="what few calibration images may give"),
    ],
)
def test_false_alarms_are_bounded(alarms, calibration_images, is_passed):
    """More false alarms than the target and chance explain are refused, however good the rest."""
    is_alarm = np.arange(100) < alarms
    challenger = replace(
        BETTER,
        normal_flagged=is_alarm,
        calibration_images=calibration_images,
        calibration_flagged=1,
    )

    found = verdict(challenger)

    assert check_of(found, "false_alarms").value == alarms / 100
    assert failed(found) == ([] if is_passed else ["false_alarms"])


def test_false_alarms_count_on_the_last_seven_nights():
    """What was flagged before, and the normal images of the golden folder, do not count."""
    nights = [f"2026-04-{1 + place // 10:02}" for place in range(90)]
    labels = replace(LABELS, nights=(*nights, *[""] * 10))
    is_old = np.isin(labels.nights, ["2026-04-01", "2026-04-02", ""])

    found = verdict(replace(BETTER, normal_flagged=is_old), labels=labels)

    assert failed(found) == []
    assert found.images.recent == 70
    sentence = check_of(found, "false_alarms").sentence
    assert "0.0% of 70 held-out normal images of 7 nights, 2026-04-03 to 2026-04-09" in sentence


def test_fewer_alarms_bought_with_blindness_are_refused():
    """A threshold so high that no anomaly is found any more is no improvement."""
    noisy = see(NORMAL, ANOMALOUS, threshold=1.0)

    assert failed(verdict(see(NORMAL, ANOMALOUS, threshold=9.0), noisy)) == ["recall"]


@pytest.mark.parametrize(
    ("loss", "is_passed"),
    [pytest.param(0.05, True, id="within chance"), pytest.param(0.3, False, id="beyond")],
)
def test_ranking_must_not_get_worse(loss, is_passed):
    """Fewer false alarms do not make up for a ranking that is lost."""
    noisy = replace(CHAMPION, normal_flagged=NORMAL > 0)

    found = verdict(see(NORMAL, ANOMALOUS - loss), noisy)

    check = check_of(found, "auroc_no_worse")
    assert -0.05 <= check.limit <= -0.02
    assert found.is_passed is is_passed
    assert ("auroc_no_worse" in failed(found)) is not is_passed


@pytest.mark.parametrize(
    ("own_noise", "images", "limit"),
    [
        pytest.param(0.01, 100, -0.02, id="alike: never less than what does not matter"),
        pytest.param(2.0, 100, -0.05, id="unlike: never more than what must not get through"),
    ],
)
def test_limit_of_ranking_is_what_chance_gives(own_noise, images, limit):
    """The allowance grows with the noise between two versions, between two bounds."""
    random = np.random.default_rng(0)
    challenger, champion = (
        see(
            NORMAL + own_noise * random.normal(size=images),
            ANOMALOUS + own_noise * random.normal(size=images),
        )
        for _ in range(2)
    )

    assert check_of(verdict(challenger, champion), "auroc_no_worse").limit == limit


def test_a_lost_type_of_defect_is_refused():
    """A challenger that finds all else better but no crack any more is refused, by name."""
    is_crack = np.array(LABELS.defects) == "crack"
    champion = see(NORMAL, np.where(is_crack, 3.0, ANOMALOUS))

    found = verdict(see(NORMAL, np.where(is_crack, -1.0, ANOMALOUS + 1.5)), champion)

    assert {"recall_no_worse:crack", "newly_missed"} <= set(failed(found))
    assert "recall_no_worse:dent" not in failed(found)
    assert set(found.differences.newly_missed) <= {
        name for name in LABELS.anomalous if name.startswith("crack/")
    }


def test_three_images_of_a_type_are_not_lost_by_chance():
    """Three defects that slip below the threshold are chance; three tens are not."""
    champion = see(NORMAL, [3.0] * 63)
    slipped = np.r_[[1.9] * 3, [3.0] * 60], np.r_[[3.0] * 33, [1.9] * 30]

    few, many = (
        verdict(see(NORMAL, scores), champion, label(100, ["pit"] * 3 + ["rust"] * 60))
        for scores in slipped
    )

    assert check_of(few, "recall_no_worse:pit").value == -1
    assert check_of(few, "recall_no_worse:pit").is_passed
    assert "recall_no_worse:rust" in failed(many)


def test_one_kind_of_defect_has_one_rule():
    """Where all defects are of one type, all together says the same."""
    found = verdict(BETTER, labels=label(100, ["scratch"] * 100))

    assert [check.rule for check in found.checks if "recall_no_worse" in check.rule] == [
        "recall_no_worse"
    ]


@pytest.mark.parametrize(
    ("score", "rules"),
    [
        pytest.param(-0.2, ["newly_missed"], id="ordinary to the challenger"),
        pytest.param(1.5, [], id="among the highest normal ones"),
    ],
)
def test_a_found_defect_may_not_become_ordinary(score, rules):
    """A defect the champion finds is newly missed when half of the normal images outscore it; one
    that only falls below the threshold is told, and refuses nobody."""
    champion = see(NORMAL, np.r_[3.0, ANOMALOUS[1:]])

    found = verdict(see(NORMAL, np.r_[score, ANOMALOUS[1:] + 0.6]), champion)

    assert failed(found) == rules
    named = found.differences.newly_missed if rules else found.differences.borderline
    assert named == ("crack/0",)
    assert ("crack/0" in check_of(found, "newly_missed").sentence) is bool(rules)
    assert "crack/0" not in found.differences.newly_found
    assert found.differences.newly_found


@pytest.mark.parametrize(
    ("missed", "back", "rules"),
    [
        pytest.param(6, 0, [], id="six of six are chance"),
        pytest.param(7, 0, ["newly_missed"], id="seven of seven are not"),
        pytest.param(7, 3, [], id="alike versions swap some"),
    ],
)
def test_simulated_anomalies_are_newly_missed_by_chance(missed, back, rules):
    """A sign test of simulated anomalies that one version finds and that look ordinary to the
    other: they are of random strength, some hardly visible."""
    ours, theirs = np.full(100, 3.0), np.full(100, 3.0)
    ours[:missed], theirs[50 : 50 + back] = -0.2, -0.2

    found = verdict(see(NORMAL, ours), see(NORMAL, theirs), label(100, [SIMULATED] * 100))

    assert [rule for rule in failed(found) if rule == "newly_missed"] == rules
    differences = found.differences
    assert (differences.simulated_misses, differences.simulated_gains) == (missed, back)
    assert len(differences.newly_missed) == missed
    assert f"{missed} simulated" in check_of(found, "newly_missed").sentence


def test_long_lists_of_images_are_cut():
    """A verdict names thirty images and says how many more there are."""
    found = verdict(see(NORMAL, np.full(100, -1.0)), see(NORMAL, np.full(100, 3.0)))

    assert found.differences.misses == 100
    assert len(found.differences.newly_missed) == LIMITS.named_images + 1
    assert found.differences.newly_missed[-1] == "and 70 more"


@pytest.mark.parametrize(
    ("champion_finds", "found_images", "is_passed"),
    [
        pytest.param(50, 20, True, id="of a little four tenths: at the limit"),
        pytest.param(50, 19, False, id="of a little four tenths: below"),
        pytest.param(100, 70, True, id="three tenths lost: at the limit"),
        pytest.param(100, 69, False, id="three tenths lost: below"),
    ],
)
def test_a_threshold_in_service_finds_what_it_could(champion_finds, found_images, is_passed):
    """Four tenths of what the champion would find at the target rate, and not three tenths of all
    anomalies less; the sentence has both."""
    scores = [3.0] * champion_finds + [1.9] * (100 - champion_finds)
    champion = see(NORMAL, scores, normal_flagged=np.arange(100) < 15)
    is_found = np.arange(100) < found_images

    found = verdict(see(NORMAL, scores, anomalous_flagged=is_found), champion)

    assert ("recall" in failed(found)) is not is_passed
    sentence = check_of(found, "is_better").sentence
    assert f"of the anomalies {champion_finds}.0% and {found_images}.0%;" in sentence


@pytest.mark.parametrize(
    ("recall", "is_passed"),
    [pytest.param(0.3, True, id="at the limit"), pytest.param(0.29, False, id="below")],
)
def test_first_version_must_find_anomalies(recall, is_passed):
    """Three in ten golden anomalies must lie above the threshold that would be in force."""
    first = replace(BETTER, anomalous_flagged=np.arange(100) < 100 * recall)

    assert failed(verdict(first, champion=None)) == ([] if is_passed else ["recall"])


@pytest.mark.parametrize(
    ("below", "is_passed"),
    [pytest.param(40, True, id="at the limit"), pytest.param(41, False, id="below")],
)
def test_first_version_must_be_useful(below, is_passed):
    """Without a champion an AUROC of 0.6 is asked for."""
    first = see(np.zeros(100), np.r_[np.full(below, -1.0), np.full(100 - below, 3.0)])

    found = verdict(first, champion=None)

    assert failed(found) == ([] if is_passed else ["first_version_auroc"])
    assert f"image_AUROC {1 - below / 100:.3f} on real anomalies" in found.reason
    assert found.differences is None
