"""The gate's rule of gain: what is worth a change of version, and what it may cost."""

from dataclasses import replace

import numpy as np
import pytest

from reconad_plugin.gate.comparison import unseen
from reconad_plugin.gate.limits import LIMITS
from tests.judged import (
    CHAMPION,
    NORMAL,
    check_of,
    failed,
    label,
    see,
    verdict,
)


@pytest.mark.parametrize(
    ("alarms", "is_passed"),
    [
        pytest.param(5, True, id="five in a hundred, all one way"),
        pytest.param(4, False, id="less than five in a hundred"),
    ],
)
def test_fewer_alarms_are_a_gain(alarms, is_passed):
    """False alarms that end are a gain from five percent on."""
    noisy = replace(CHAMPION, normal_flagged=np.arange(100) < alarms)

    found = verdict(CHAMPION, noisy)

    assert failed(found) == ([] if is_passed else ["is_better"])
    assert found.reason.startswith(
        f"it is better in {'fewer false alarms (' if is_passed else 'nothing: the champion stays'}"
    )


@pytest.mark.parametrize(
    ("alarms", "found_images", "is_passed"),
    [
        pytest.param(5, 90, True, id="it costs a tenth of the recall"),
        pytest.param(5, 89, False, id="it costs more"),
        pytest.param(15, 89, True, id="but the champion raises more than it promises"),
    ],
)
def test_a_higher_threshold_alone_is_no_gain(alarms, found_images, is_passed):
    """Fewer alarms that cost recall are a gain over a champion that broke its promise alone."""
    champion = see(NORMAL, [3.0] * 100, normal_flagged=np.arange(100) < alarms)
    is_found = np.arange(100) < found_images

    found = verdict(see(NORMAL, [3.0] * 100, anomalous_flagged=is_found), champion)

    assert failed(found) == ([] if is_passed else ["is_better"])


def test_alarms_that_move_are_no_gain():
    """Five fewer alarms are chance where a dozen others ended and began."""
    champion = replace(CHAMPION, normal_flagged=np.arange(100) < 22)
    challenger = replace(
        CHAMPION, normal_flagged=np.arange(100) >= 83, calibration_images=10, calibration_flagged=1
    )

    assert failed(verdict(challenger, champion)) == ["is_better"]


def test_fewer_alarms_do_not_serve_while_a_loss_cannot_be_excluded():
    """Few images of two unlike versions prove nothing; the sentence asks for more."""
    random = np.random.default_rng(1)
    champion, challenger = (see(random.normal(size=20), random.normal(2, 1, 20)) for _ in range(2))
    noisy = replace(champion, normal_flagged=np.arange(20) < 10)

    found = verdict(challenger, noisy, label(20, ["dent"] * 20))

    assert not check_of(found, "is_better").is_passed
    assert check_of(found, "is_better").value >= 1
    assert "20 normal and 20 anomalous images cannot exclude" in found.reason
    assert found.reason.endswith("bring more")


@pytest.mark.parametrize(
    ("defects", "is_passed"),
    [
        pytest.param(10, False, id="ten: a loss of every tenth stays unseen in a third of cases"),
        pytest.param(56, False, id="one too few"),
        pytest.param(57, True, id="enough: a chance of 0.9^57, less than 0.25 percent"),
    ],
)
def test_few_defects_that_both_find_exclude_no_loss(defects, is_passed):
    """Where no image tells two versions apart, only their number says what may be lost."""
    champion = see(NORMAL, [3.0] * defects, normal_flagged=np.arange(100) < 15)
    challenger = see(NORMAL, [3.0] * defects)

    found = verdict(challenger, champion, label(100, ["dent"] * defects))

    assert failed(found) == ([] if is_passed else ["is_better"])
    assert found.reason.startswith("it is better in fewer false alarms")
    assert found.reason.endswith("bring more") is not is_passed


def test_golden_defects_judge_alone_from_so_many_on_that_a_loss_shows():
    """Fewer have simulated ones beside them."""
    assert unseen(LIMITS.hidden_loss_chance, LIMITS.enough_defects) < LIMITS.max_auroc_loss
