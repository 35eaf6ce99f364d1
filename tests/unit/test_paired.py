"""What chance makes of the difference of two versions."""

import numpy as np
import pytest

from reconad_plugin.gate.comparison import bootstrap_auroc, swap_recalls
from tests.judged import TARGET_FPR, label, see


def test_error_of_the_difference_is_that_of_delong():
    """The bootstrap's standard error agrees with DeLong, DeLong and Clarke-Pearson (1988)."""
    random = np.random.default_rng(3)
    shared = random.normal(size=(2, 150))
    ours, theirs = (shared + 0.6 * random.normal(size=(2, 150)) for _ in range(2))

    found = bootstrap_auroc(
        see(ours[0], ours[1] + 1.5),
        see(theirs[0], theirs[1] + 1.3),
        label(150, ["dent"] * 150),
        np.random.default_rng(0),
    )

    wins = [
        (anomalous[:, None] > normal[None]).astype(float)
        for normal, anomalous in ((ours[0], ours[1] + 1.5), (theirs[0], theirs[1] + 1.3))
    ]
    gained = wins[0] - wins[1]
    variance = gained.mean(1).var(ddof=1) / 150 + gained.mean(0).var(ddof=1) / 150
    assert found.value == pytest.approx(gained.mean())
    assert found.deviation == pytest.approx(variance**0.5, rel=0.05)


def test_chance_of_recall_by_hand():
    """Three defects, found by one version alone: all swaps but one in eight differ by less."""
    normal = np.zeros(50)
    (recall,) = swap_recalls(
        see(normal, [-1.0] * 3),
        see(normal, [1.0] * 3),
        label(50, ["dent"] * 3),
        TARGET_FPR,
        np.random.default_rng(0),
    )

    assert (recall.challenger, recall.champion, recall.difference) == (0, 1, -1)
    assert recall.chance_low == -1
    assert recall.chance_high == 1
