"""Figures of images. What is undefined is an error, never a number.

All take the (N,) scores of normal and the (M,) scores of anomalous images, and raise an
UndefinedMetricError where one of the two is empty, or a score or the threshold is not finite.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from reconad_plugin.errors import UndefinedMetricError
from reconad_plugin.metrics.intervals import clopper_pearson

Scores = NDArray[np.float64]


def image_auroc(normal_scores: Scores, anomalous_scores: Scores) -> float:
    """Return the chance that an anomalous image scores above a normal one: in [0, 1]; 0.5 is no
    better than a coin."""
    _check_scores("image_AUROC", normal_scores, anomalous_scores)
    return float(roc_auc_score(*label_scores(normal_scores, anomalous_scores)))


def share_above(scores: Scores, threshold: float) -> float:
    """Return the share of scores above a threshold: the false-positive rate on normal images,
    the recall on anomalous ones.

    Raises:
        UndefinedMetricError: there is no score.
    """
    if not len(scores):
        raise UndefinedMetricError("a share needs at least one score; got none")
    if not (np.isfinite(scores).all() and np.isfinite(threshold)):
        raise UndefinedMetricError("a share needs finite scores and threshold; got NaN or infinity")
    return float((scores > threshold).mean())


def share_interval(
    scores: Scores, threshold: float, parts: int | None = None
) -> tuple[float, float]:
    """Return where the share of all such images above a threshold lies, seen from the scores of
    independent images, or of images of so many independent parts: limits of a 95 % confidence
    interval (``clopper_pearson``).

    Raises:
        UndefinedMetricError: there is no score.
    """
    above = round(share_above(scores, threshold) * len(scores))
    return clopper_pearson(above, len(scores), parts)


def escape_rate(anomalous_scores: Scores, threshold: float) -> float:
    """Return the share of anomalous images that pass as normal: those at or below the threshold,
    which is one less the recall.

    Raises:
        UndefinedMetricError: there is no score.
    """
    return 1 - share_above(anomalous_scores, threshold)


def image_ap(normal_scores: Scores, anomalous_scores: Scores) -> float:
    """Compute the average precision of the ranking of images, the mean over recall of the
    precision: in (0, 1]; M / (N + M) is no better than a coin."""
    _check_scores("image_AP", normal_scores, anomalous_scores)
    return float(average_precision_score(*label_scores(normal_scores, anomalous_scores)))


def image_f1(normal_scores: Scores, anomalous_scores: Scores, threshold: float) -> float:
    """Compute the harmonic mean of precision and recall of the labels ``score > threshold``.

    The threshold is the one that calibration set, not the best one over the test images.

    Returns:
        In [0, 1]; 0 when no anomalous image lies above the threshold.
    """
    _check_scores("image_F1", normal_scores, anomalous_scores)
    if not np.isfinite(threshold):
        raise UndefinedMetricError(f"image_F1 needs a finite threshold; got {threshold}")
    hits = np.count_nonzero(anomalous_scores > threshold)
    false_alarms = np.count_nonzero(normal_scores > threshold)
    return float(2 * hits / (hits + false_alarms + len(anomalous_scores)))


def image_f1_best(normal_scores: Scores, anomalous_scores: Scores) -> tuple[float, float]:
    """Find the highest ``image_f1`` of any threshold, and that threshold.

    It is chosen on the very images that it is measured on, so it says how well a detector could
    label them, and how it compares with what papers report; it sets no threshold.

    Returns:
        The figure, in (0, 1], and the threshold, the highest one where several do as well: a
        score, or the next number below all scores.
    """
    _check_scores("image_F1_best", normal_scores, anomalous_scores)
    scores = np.unique(np.concatenate([normal_scores, anomalous_scores]))
    thresholds = np.append(np.nextafter(scores[0], -np.inf), scores)[::-1]
    hits, false_alarms = (
        len(group) - np.searchsorted(np.sort(group), thresholds, side="right")
        for group in (anomalous_scores, normal_scores)
    )
    f1 = 2 * hits / (hits + false_alarms + len(anomalous_scores))
    best = int(f1.argmax())
    return float(f1[best]), float(thresholds[best])


def label_scores(
    normal_scores: Scores, anomalous_scores: Scores
) -> tuple[NDArray[np.int64], Scores]:
    """Join the labels, 1 for anomalous, and the scores of all images: (N + M,) each."""
    labels = np.repeat([0, 1], [len(normal_scores), len(anomalous_scores)])
    return labels, np.concatenate([normal_scores, anomalous_scores])


def _check_scores(figure: str, normal_scores: Scores, anomalous_scores: Scores) -> None:
    if not len(normal_scores) or not len(anomalous_scores):
        raise UndefinedMetricError(
            f"{figure} needs normal and anomalous images; got "
            f"{len(normal_scores)} and {len(anomalous_scores)}"
        )
    if not (np.isfinite(normal_scores).all() and np.isfinite(anomalous_scores).all()):
        raise UndefinedMetricError(f"{figure} needs finite scores; got NaN or infinity")
