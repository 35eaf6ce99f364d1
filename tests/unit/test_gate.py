"""The gate: every rule, on both sides of its limit."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconad_plugin.gate import (
    AUROC_MARGIN,
    FIRST_MIN_AUROC,
    FPR_GAIN,
    MIN_RECALL,
    RECALL_MARGIN,
    Evidence,
    judge,
)

CHAMPION = Evidence(
    image_auroc=0.85,
    recall=0.7,
    recall_at_equal_fpr=0.6,
    fpr=0.10,
    normal_images=50,
    fpr_chance=0.5,
    map_spread=0.4,
)
BETTER = replace(CHAMPION, image_auroc=0.90, recall=0.75, recall_at_equal_fpr=0.65, fpr=0.02)

shares = st.floats(0, 1)
any_evidence = st.builds(
    Evidence, shares, shares, shares, shares, st.integers(1, 500), shares, st.floats(0, 2)
)


def verdict(challenger, champion=CHAMPION, target_fpr=0.02):
    """The gate's verdict on real anomalies."""
    return judge(challenger, champion, target_fpr, "real")


def failed(found):
    """The rules that failed."""
    return [check.rule for check in found.checks if not check.is_passed]


def test_better_challenger_passes():
    """Fewer false alarms and a better ranking serve."""
    found = verdict(BETTER)

    assert found.is_passed
    assert failed(found) == []
    assert [check.rule for check in found.checks] == [
        "map_sanity",
        "false_alarms",
        "recall",
        "auroc_no_worse",
        "recall_no_worse",
        "is_better",
    ]
    assert found.reason.startswith("false alarms 10.0% -> 2.0%, image_AUROC 0.850 -> 0.900")


def test_equal_challenger_is_refused_because_it_is_not_better():
    """A challenger that does as well as the champion does not replace it."""
    champion = replace(CHAMPION, fpr=0.02)

    found = verdict(champion, champion)

    assert not found.is_passed
    assert failed(found) == ["is_better"]
    assert "wanted: alarms down by 5% or AUROC up by more than 0.02" in found.reason


@pytest.mark.parametrize(
    ("spread", "is_passed"),
    [
        pytest.param(0.0, False, id="the same everywhere"),
        pytest.param(0.001, False, id="at the limit"),
        pytest.param(0.0011, True, id="just above"),
    ],
)
def test_maps_must_say_something(spread, is_passed):
    """A map that is the same everywhere points at nothing."""
    found = verdict(replace(BETTER, map_spread=spread))

    assert found.is_passed is is_passed
    assert failed(found) == ([] if is_passed else ["map_sanity"])


@pytest.mark.parametrize(
    ("fpr", "chance", "is_passed"),
    [
        pytest.param(0.02, 0.001, True, id="at the target, whatever the chance"),
        pytest.param(0.2, 0.01, True, id="above it, as chance still explains"),
        pytest.param(0.2, 0.0099, False, id="above it, and chance does not explain it"),
        pytest.param(0.2, math.nan, False, id="above it, with a chance that is no number"),
    ],
)
def test_false_alarms_are_bounded(fpr, chance, is_passed):
    """More false alarms than the target and chance explain are refused, however good the rest."""
    champion = replace(CHAMPION, fpr=0.9)

    found = verdict(replace(BETTER, fpr=fpr, fpr_chance=chance), champion)

    assert found.is_passed is is_passed
    assert failed(found) == ([] if is_passed else ["false_alarms"])


@pytest.mark.parametrize(
    ("auroc", "is_passed"),
    [
        pytest.param(0.83, True, id="worse by the margin"),
        pytest.param(0.829, False, id="worse by more"),
        pytest.param(0.5, False, id="a coin"),
    ],
)
def test_ranking_must_not_get_worse(auroc, is_passed):
    """Fewer false alarms do not make up for a ranking that is lost."""
    found = verdict(replace(BETTER, image_auroc=auroc))

    assert found.is_passed is is_passed
    assert failed(found) == ([] if is_passed else ["auroc_no_worse"])


@pytest.mark.parametrize(
    ("auroc", "fpr", "is_passed"),
    [
        pytest.param(0.85, 0.05, True, id="alarms down by the gain"),
        pytest.param(0.85, 0.051, False, id="alarms down by less"),
        pytest.param(0.8701, 0.10, True, id="ranking up by more than the margin"),
        pytest.param(0.8699, 0.10, False, id="ranking up by less"),
        pytest.param(0.84, 0.04, True, id="fewer alarms, ranking within the margin"),
        pytest.param(0.85, 0.10, False, id="nothing gained"),
    ],
)
def test_challenger_must_be_better_in_one_way(auroc, fpr, is_passed):
    """Alarms fall by five percent, or the ranking gains more than the margin."""
    # the target is wide, so that this rule alone decides
    found = verdict(replace(CHAMPION, image_auroc=auroc, fpr=fpr), target_fpr=0.2)

    assert (FPR_GAIN, AUROC_MARGIN) == (0.05, 0.02)
    assert found.is_passed is is_passed
    assert failed(found) == ([] if is_passed else ["is_better"])


def test_fewer_alarms_bought_with_blindness_are_refused():
    """A threshold so high that no anomaly is found any more is no improvement."""
    blind = replace(CHAMPION, recall=0.0, fpr=0.0)

    assert failed(verdict(blind)) == ["recall"]


@pytest.mark.parametrize(
    ("recall", "is_passed"),
    [pytest.param(0.3, True, id="at the limit"), pytest.param(0.29, False, id="below")],
)
@pytest.mark.parametrize(
    "champion", [pytest.param(None, id="first version"), pytest.param(CHAMPION, id="with champion")]
)
def test_anomalies_must_be_found(champion, recall, is_passed):
    """Three in ten golden anomalies must lie above the threshold that would be in force."""
    found = verdict(replace(BETTER, recall=recall), champion)

    assert MIN_RECALL == 0.3
    assert failed(found) == ([] if is_passed else ["recall"])


@pytest.mark.parametrize(
    ("recall", "is_passed"),
    [
        pytest.param(0.5001, True, id="less by about the margin"),
        pytest.param(0.499, False, id="less by more"),
    ],
)
def test_at_equal_false_alarms_no_more_may_be_missed(recall, is_passed):
    """With thresholds set alike a challenger finds as many anomalies, up to the margin."""
    found = verdict(replace(BETTER, recall_at_equal_fpr=recall))

    assert RECALL_MARGIN == 0.1
    assert failed(found) == ([] if is_passed else ["recall_no_worse"])


@pytest.mark.parametrize(
    ("auroc", "is_passed"),
    [
        pytest.param(0.6, True, id="at the limit"),
        pytest.param(0.599, False, id="below"),
    ],
)
def test_first_version_must_be_useful(auroc, is_passed):
    """Without a champion an AUROC of 0.6 is asked for."""
    found = verdict(replace(BETTER, image_auroc=auroc), champion=None)

    assert FIRST_MIN_AUROC == 0.6
    assert found.is_passed is is_passed
    assert failed(found) == ([] if is_passed else ["first_version_auroc"])
    assert f"image_AUROC {auroc:.3f} on real anomalies" in found.reason


def test_first_version_keeps_the_other_rules():
    """A first version with too many false alarms or empty maps is refused too."""
    found = verdict(replace(BETTER, fpr=0.5, fpr_chance=1e-6, map_spread=0.0), champion=None)

    assert failed(found) == ["map_sanity", "false_alarms"]


@pytest.mark.parametrize(
    "champion", [pytest.param(None, id="first version"), pytest.param(CHAMPION, id="with champion")]
)
@pytest.mark.parametrize(
    "figure",
    [
        pytest.param(name, id=name)
        for name in ("image_auroc", "recall", "recall_at_equal_fpr", "fpr", "map_spread")
    ],
)
def test_figure_that_is_no_number_is_refused(figure, champion):
    """NaN in any of the challenger's figures keeps it out."""
    assert verdict(BETTER, champion).is_passed

    assert not verdict(replace(BETTER, **{figure: math.nan}), champion).is_passed


@pytest.mark.parametrize(
    "figure", [pytest.param(name, id=name) for name in ("image_auroc", "recall_at_equal_fpr")]
)
def test_champion_whose_figure_is_no_number_cannot_be_beaten(figure):
    """A comparison with NaN proves nothing."""
    assert not verdict(BETTER, replace(CHAMPION, **{figure: math.nan})).is_passed


def test_gain_over_a_rate_that_is_no_number_does_not_count():
    """Where only the false alarms would have fallen, NaN before proves no fall."""
    challenger = replace(BETTER, image_auroc=CHAMPION.image_auroc)
    assert verdict(challenger).is_passed

    assert not verdict(challenger, replace(CHAMPION, fpr=math.nan)).is_passed


def test_evidence_of_no_images_is_refused():
    """A share of no images proves nothing."""
    assert not verdict(replace(BETTER, normal_images=0)).is_passed


@given(challenger=any_evidence, champion=st.none() | any_evidence, target_fpr=st.floats(0.001, 0.5))
def test_verdict_is_json_and_agrees_with_its_checks(challenger, champion, target_fpr):
    """Whatever the evidence, the verdict can be written down and says the same there."""
    found = judge(challenger, champion, target_fpr, "simulated")

    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))

    assert written["is_passed"] == found.is_passed
    assert written["is_passed"] == all(check["is_passed"] for check in written["checks"])
    assert written["reason"] == found.reason != ""
    assert written["golden_kind"] == "simulated"
    assert all(check["sentence"] for check in written["checks"])


@given(evidence=any_evidence, target_fpr=st.floats(0.001, 0.5))
def test_no_version_beats_itself(evidence, target_fpr):
    """Whatever its figures, a version is not better than itself."""
    assert not judge(evidence, evidence, target_fpr, "real").is_passed


def test_reason_names_every_rule_that_failed():
    """All that is wrong is said at once."""
    found = verdict(Evidence(0.5, 0.1, 0.1, 0.5, 50, 0.001, 0.0))

    assert failed(found) == [check.rule for check in found.checks]
    assert found.reason.count(";") == 5


def test_kind_of_anomalies_is_said():
    """The reason tells whether the anomalies were real."""
    found = judge(replace(BETTER, image_auroc=0.1), CHAMPION, 0.02, "simulated")

    assert "on the same simulated anomalies" in found.reason
    assert found.golden_kind == "simulated"
