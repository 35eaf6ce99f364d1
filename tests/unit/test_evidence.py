"""What a detector does on the judge's images."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from reconad_plugin.errors import UndefinedMetricError
from reconad_plugin.evidence import (
    SIMULATED,
    GoldenSet,
    gather_evidence,
    simulated_golden_set,
)


def test_same_seed_gives_the_same_golden_set(make_normal):
    """Every version is judged on the same anomalies."""
    normal = make_normal(5, 40)

    first, second = simulated_golden_set(normal, seed=3), simulated_golden_set(normal, seed=3)
    other = simulated_golden_set(normal, seed=4)

    assert torch.equal(first.anomalous, second.anomalous)
    assert not torch.equal(first.anomalous, other.anomalous)


def test_simulated_set_has_every_image_several_times(make_normal):
    """Each normal image stands there as it is, and several times with an anomaly of its own."""
    normal = make_normal(5, 40)

    golden = simulated_golden_set(normal, seed=0, repeats=3)

    assert golden.kind == SIMULATED
    assert torch.equal(golden.normal, normal)
    assert golden.anomalous.shape == (15, 3, 32, 32)
    changed = (golden.anomalous != normal.repeat(3, 1, 1, 1)).flatten(1).any(1)
    assert changed.all()
    assert len({image.numpy().tobytes() for image in golden.anomalous}) == 15


def test_more_normal_images_can_join(make_normal):
    """Held-out normal images join those of the set, and its anomalies stay."""
    golden = GoldenSet(make_normal(2, 1), make_normal(3, 2), "real")

    joined = golden.with_normal(make_normal(4, 3))

    assert torch.equal(joined.normal, torch.cat([make_normal(2, 1), make_normal(4, 3)]))
    assert torch.equal(joined.anomalous, golden.anomalous)
    assert joined.kind == "real"


def test_evidence_by_hand(tiny_detector, make_normal, plant_defect):
    """Each figure follows from the detector's own scores and maps."""
    invisible = make_normal(9, 44)  # defects that cannot be told from normal
    anomalous = torch.cat([plant_defect(make_normal(3, 42)), invisible])
    golden = GoldenSet(make_normal(20, 41), anomalous, "real")

    evidence = gather_evidence(tiny_detector, golden, target_fpr=0.1)

    normal, anomalous = tiny_detector.score(golden.normal), tiny_detector.score(golden.anomalous)
    threshold = tiny_detector.calibration.image_threshold
    labels = [0] * 20 + [1] * 12
    scores = np.concatenate([normal.pred_score, anomalous.pred_score])
    assert evidence.image_auroc == pytest.approx(roc_auc_score(labels, scores))
    assert evidence.fpr == np.mean(normal.pred_score > threshold)
    assert evidence.recall == np.mean(anomalous.pred_score > threshold)
    tenth_highest = np.quantile(normal.pred_score, 0.9, method="higher")
    assert evidence.recall_at_equal_fpr == np.mean(anomalous.pred_score > tenth_highest)
    assert evidence.normal_images == 20
    spreads = [one.std() / one.mean() for one in normal.anomaly_map]
    assert evidence.map_spread == pytest.approx(np.mean(spreads), rel=1e-4)


@pytest.mark.parametrize(
    ("normal", "anomalous"),
    [pytest.param(0, 2, id="no normal image"), pytest.param(2, 0, id="no anomalous image")],
)
def test_half_a_golden_set_is_refused(tiny_detector, make_normal, normal, anomalous):
    """Without one of the classes there is no evidence."""
    images = make_normal(2, 43)
    golden = GoldenSet(images[:normal], images[:anomalous], "real")

    with pytest.raises(UndefinedMetricError, match=f"got {normal} and {anomalous}"):
        gather_evidence(tiny_detector, golden, target_fpr=0.1)
