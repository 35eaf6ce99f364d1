"""The gate's verdict as a whole: odd scores, JSON, reasons."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconad_plugin.errors import UndefinedMetricError
from reconad_plugin.gate.judge import judge
from tests.judged import (
    ANOMALOUS,
    BETTER,
    CHAMPION,
    LABELS,
    NORMAL,
    TARGET_FPR,
    TYPES,
    failed,
    label,
    see,
    verdict,
)

shares = st.floats(0, 1)
scores = st.lists(st.floats(-5, 5), min_size=12, max_size=12)
any_scores = st.builds(
    see,
    normal=scores,
    anomalous=scores,
    threshold=st.floats(-5, 5),
    calibration_images=st.integers(2, 50),
    map_spread=st.floats(0, 2),
    map_coverage=shares,
    seconds_per_image=st.floats(0, 5),
)
FEW_LABELS = label(12, TYPES * 3)


@pytest.mark.parametrize(
    "champion", [pytest.param(None, id="first version"), pytest.param(CHAMPION, id="with champion")]
)
@pytest.mark.parametrize(
    "figure", ["map_spread", "map_coverage", "seconds_per_image", "normal_scores"]
)
def test_figure_that_is_no_number_is_refused(figure, champion):
    """NaN in any of the challenger's figures keeps it out, and the verdict is still JSON."""
    assert verdict(BETTER, champion).is_passed
    wrong = np.where(np.arange(100) == 3, math.nan, NORMAL) if "scores" in figure else math.nan

    found = verdict(replace(BETTER, **{figure: wrong}), champion)

    assert not found.is_passed
    json.dumps(found.to_dict(), allow_nan=False)


def test_champion_whose_scores_are_no_numbers_cannot_be_beaten():
    """A comparison with NaN proves nothing."""
    broken = replace(CHAMPION, anomalous_scores=np.full(100, math.nan))

    found = verdict(BETTER, broken)

    assert failed(found) == ["scores"]
    assert "0 of the challenger's and 100 of the champion's are none" in found.reason


def test_scores_of_no_recent_images_is_refused():
    """A share of no images proves nothing."""
    found = verdict(BETTER, labels=replace(LABELS, nights=("",) * 100))

    assert failed(found) == ["false_alarms"]


def test_half_a_golden_set_is_refused():
    """Without one of the classes there is no verdict."""
    with pytest.raises(UndefinedMetricError, match="got 0 and 100"):
        judge(see([], ANOMALOUS), None, label(0), TARGET_FPR, seed=0)


@given(challenger=any_scores, champion=st.none() | any_scores, target_fpr=st.floats(0.001, 0.5))
def test_verdict_is_json_and_agrees_with_its_checks(challenger, champion, target_fpr):
    """Whatever the scored, the verdict can be written down and says the same there."""
    found = judge(challenger, champion, FEW_LABELS, target_fpr, seed=0)

    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))

    assert written["is_passed"] == found.is_passed
    assert written["is_passed"] == all(check["is_passed"] for check in written["checks"])
    assert written["reason"] == found.reason != ""
    assert written["golden_kind"] == "real"
    assert all(check["sentence"] for check in written["checks"])


@given(scored=any_scores, target_fpr=st.floats(0.001, 0.5))
def test_no_version_beats_itself(scored, target_fpr):
    """Whatever its figures, a version is not better than itself."""
    assert not judge(scored, scored, FEW_LABELS, target_fpr, seed=0).is_passed


def test_reason_names_the_rules_that_failed():
    """All that is wrong is said at once, up to what a registry shows."""
    wrong = see(NORMAL, ANOMALOUS - 5, normal_flagged=NORMAL > -1, map_spread=0.0, map_coverage=1.0)

    found = verdict(replace(wrong, seconds_per_image=9.0, size_bytes=10**10))

    assert len(failed(found)) > 8
    assert found.reason.endswith(f"{len(failed(found)) - 8} more rules failed")


def test_same_scores_gives_the_same_verdict():
    """Resampling follows the seed alone."""
    assert verdict(BETTER).to_dict() == verdict(BETTER).to_dict()
