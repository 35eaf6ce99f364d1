"""What detectors do on the judge's images."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from reconad_plugin.errors import UndefinedMetricError
from reconad_plugin.gate.comparison import disagreements
from reconad_plugin.gate.golden import SIMULATED, GoldenLabels, GoldenSet, simulated_golden_set
from reconad_plugin.gate.limits import LIMITS
from reconad_plugin.gate.scored_golden import score_golden_set
from reconad_plugin.plots.figures import plot_disagreement

NIGHT = "2026-04-01"


def real_set(normal, anomalous):
    """A golden set of these pictures."""
    normals, defects = len(normal), len(anomalous)
    return GoldenSet(
        normal,
        anomalous,
        GoldenLabels(
            kind="real",
            normal=tuple(f"n{place}" for place in range(normals)),
            nights=("",) * normals,
            anomalous=tuple(f"d{place}" for place in range(defects)),
            defects=("dent",) * defects,
        ),
    )


def simulated(normal, seed, names="abcdefgh"):
    """A simulated golden set on these pictures."""
    return simulated_golden_set(normal, list(names[: len(normal)]), [NIGHT] * len(normal), seed)


@pytest.fixture
def pictures(make_normal):
    """Normal pictures as the gate has them."""
    return lambda count, seed: make_normal(count, seed).numpy()


@pytest.fixture
def defective(plant_defect):
    """Such pictures with a defect."""
    return lambda images: plant_defect(torch.from_numpy(images)).numpy()


def test_same_seed_gives_the_same_golden_set(pictures):
    """Every version is judged on the same anomalies."""
    normal = pictures(5, 40)

    first, second, other = (simulated(normal, seed) for seed in (3, 3, 4))

    assert np.array_equal(first.anomalous, second.anomalous)
    assert not np.array_equal(first.anomalous, other.anomalous)


def test_anomalies_stay_when_images_join(pictures):
    """An image keeps its simulated anomalies whatever other images there are."""
    normal = pictures(5, 40)

    alone, together = simulated(normal[3:4], 0, names="d"), simulated(normal, 0)

    places = [together.labels.anomalous.index(name) for name in alone.labels.anomalous]
    assert np.array_equal(alone.anomalous, together.anomalous[places])


def test_anomalies_stay_when_so_many_join_that_each_image_has_fewer(pictures, monkeypatch):
    """One name is one picture, however many an image has."""
    monkeypatch.setattr("reconad_plugin.gate.golden.LIMITS", replace(LIMITS, max_simulated=8))
    normal = pictures(4, 40)

    few, many = simulated(normal[:2], 0), simulated(normal, 0)

    shared = [name for name in many.labels.anomalous if name in few.labels.anomalous]
    assert shared == ["a simulated 1", "a simulated 2", "b simulated 1", "b simulated 2"]
    for name in shared:
        places = [each.labels.anomalous.index(name) for each in (few, many)]
        assert np.array_equal(few.anomalous[places[0]], many.anomalous[places[1]])


def test_simulated_set_has_every_image_several_times(pictures):
    """Each normal image stands there as it is, and several times with an anomaly of its own."""
    normal = pictures(5, 40)

    golden = simulated(normal, seed=0)

    assert np.array_equal(golden.normal, normal)
    assert golden.anomalous.shape == (20, 3, 32, 32)
    changed = (golden.anomalous != np.repeat(normal, 4, 0)).any((1, 2, 3))
    assert changed.all()
    assert len({image.tobytes() for image in golden.anomalous}) == 20
    labels = golden.labels
    assert (labels.kind, set(labels.defects), len(labels.defects)) == (SIMULATED, {SIMULATED}, 20)
    assert labels.nights == (NIGHT,) * 5
    assert labels.anomalous[:5] == (*(f"a simulated {n}" for n in (1, 2, 3, 4)), "b simulated 1")


def test_many_images_have_few_anomalies_each(pictures, monkeypatch):
    """The number of anomalies is bounded, down to one an image."""
    monkeypatch.setattr("reconad_plugin.gate.golden.LIMITS", replace(LIMITS, max_simulated=8))

    assert [len(simulated(pictures(n, 1), 0).anomalous) for n in (1, 3, 4, 8)] == [4, 6, 8, 8]


def test_more_normal_images_can_join(pictures):
    """Held-out normal images join those of the set, and its anomalies stay."""
    golden = real_set(pictures(2, 1), pictures(3, 2))

    joined = golden.with_normal(pictures(1, 3), ["new"], [NIGHT])

    assert np.array_equal(joined.normal, np.concatenate([pictures(2, 1), pictures(1, 3)]))
    assert np.array_equal(joined.anomalous, golden.anomalous)
    assert joined.labels == replace(
        golden.labels, normal=("n0", "n1", "new"), nights=("", "", NIGHT)
    )
    assert joined.labels.is_recent.tolist() == [False, False, True]


def test_scores_by_hand(tiny_detector, pictures, defective):
    """Each figure follows from the detector's own scores and maps."""
    invisible = pictures(9, 44)  # defects that cannot be told from normal
    golden = real_set(pictures(20, 41), np.concatenate([defective(pictures(3, 42)), invisible]))

    (scored,) = score_golden_set([tiny_detector], golden)

    normal, anomalous = tiny_detector.score(golden.normal), tiny_detector.score(golden.anomalous)
    threshold = tiny_detector.calibration.image_threshold
    labels = [0] * 20 + [1] * 12
    scores = np.concatenate([normal.pred_score, anomalous.pred_score])
    assert scored.auroc == pytest.approx(roc_auc_score(labels, scores))
    assert scored.normal_flagged.tolist() == (normal.pred_score > threshold).tolist()
    assert scored.recall == np.mean(anomalous.pred_score > threshold)
    assert scored.threshold_at(0.1) == np.quantile(normal.pred_score, 0.9, method="higher")
    assert (scored.calibration_images, scored.calibration_flagged) == (9, 1)
    spreads = [one.std() / one.mean() for one in normal.anomaly_map]
    assert scored.map_spread == pytest.approx(np.mean(spreads), rel=1e-4)
    level = np.median([one.max() for one in anomalous.anomaly_map]) / 2
    assert scored.map_coverage == pytest.approx(np.mean(normal.anomaly_map > level))
    weights = tiny_detector.engine.network.state_dict().values()
    assert scored.size_bytes == sum(each.numpy().nbytes for each in weights)


def test_each_version_sees_the_images_at_its_own_size(tiny_detector, pictures):
    """Golden images of twice the size give what they give when they are made smaller first."""
    large = real_set(
        pictures(4, 1).repeat(2, 2).repeat(2, 3),
        pictures(2, 2).repeat(2, 2).repeat(2, 3),
    )
    small = large.at(tiny_detector.image_size_px)

    (of_large,), (of_small,) = (score_golden_set([tiny_detector], each) for each in (large, small))

    assert small.normal.shape[-2:] == tiny_detector.image_size_px.shape
    assert of_large.normal_scores.tolist() == of_small.normal_scores.tolist()
    assert of_large.anomalous_scores.tolist() == of_small.anomalous_scores.tolist()


def test_two_kinds_of_anomalies_judge_together(pictures):
    """Few real defects, and simulated ones beside them, each of its type."""
    normal = pictures(3, 1)
    both = real_set(normal, pictures(2, 2)).with_anomalous(simulated(normal, 0))

    assert both.labels.kind == "real and simulated"
    assert len(both.anomalous) == len(both.labels.anomalous) == 2 + 3 * 4
    assert both.labels.defects == ("dent",) * 2 + (SIMULATED,) * 12
    assert len(both.normal) == 3


def test_the_quickest_of_several_rounds_counts(tiny_detector, pictures):
    """A clock that stalls now and then makes no version slow; all are timed by turns."""
    ticks = itertools.cycle([0.0, 8.0, 100.0, 116.0, 200.0, 204.0, 300.0, 302.0])

    first, second = score_golden_set(
        [tiny_detector] * 2, real_set(pictures(4, 1), pictures(1, 2)), lambda: next(ticks)
    )

    assert first.seconds_per_image == 1.0  # of 8 and 4 seconds for four images
    assert second.seconds_per_image == 0.5  # of 16 and 2


def test_normal_share_above_counts_the_image_itself(tiny_detector, pictures):
    """Share of normal images at or above a score, as a conformal p-value."""
    (scored,) = score_golden_set([tiny_detector], real_set(pictures(4, 1), pictures(1, 2)))
    normal = np.sort(scored.normal_scores)

    found = scored.normal_share_above(np.array([normal[0] - 1, normal[2], normal[3] + 1]))

    assert found.tolist() == [1.0, 0.6, 0.2]


def test_disagreements_begin_where_one_flags_alone(tiny_detector, pictures, defective):
    """Images that only one version calls anomalous come first, then those ranked differently; and
    they can be drawn."""
    golden = real_set(pictures(4, 1), defective(pictures(2, 2)))
    (champion,) = score_golden_set([tiny_detector], golden)
    order = np.argsort(champion.normal_scores)
    swapped = champion.normal_scores.copy()
    swapped[order[[0, -1]]] = swapped[order[[-1, 0]]]
    challenger = replace(
        champion, normal_scores=swapped, anomalous_flagged=~champion.anomalous_flagged
    )

    places = disagreements(challenger, champion, 4)

    assert set(places[:2]) == {4, 5}
    assert set(places[2:]) == {order[0], order[-1]}
    figure = plot_disagreement(
        tiny_detector, tiny_detector, golden.normal[:1], ["a normal image"], "apart"
    )
    assert [axes.get_ylabel() for axes in figure.axes] == ["image", "champion", "challenger"]


@pytest.mark.parametrize(
    ("normal", "anomalous"),
    [pytest.param(0, 2, id="no normal image"), pytest.param(2, 0, id="no anomalous image")],
)
def test_half_a_golden_set_is_refused(tiny_detector, pictures, normal, anomalous):
    """Without one of the classes no version can be judged."""
    images = pictures(2, 43)

    with pytest.raises(UndefinedMetricError, match=f"got {normal} and {anomalous}"):
        score_golden_set([tiny_detector], real_set(images[:normal], images[:anomalous]))
