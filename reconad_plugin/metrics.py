"""Figures of detection quality. What is undefined is an error, never a number."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from reconad_plugin.errors import UndefinedMetricError


def image_auroc(normal_scores: NDArray[np.float64], anomalous_scores: NDArray[np.float64]) -> float:
    """Chance that an anomalous image scores above a normal one.

    Args:
        normal_scores: (N,) scores of normal images.
        anomalous_scores: (M,) scores of anomalous images.

    Returns:
        In [0, 1]; 0.5 is no better than a coin.

    Raises:
        UndefinedMetricError: one of the two is empty, or a score is not finite.
    """
    if not len(normal_scores) or not len(anomalous_scores):
        raise UndefinedMetricError(
            "image_AUROC needs normal and anomalous images; got "
            f"{len(normal_scores)} and {len(anomalous_scores)}"
        )
    scores = np.concatenate([normal_scores, anomalous_scores])
    if not np.isfinite(scores).all():
        raise UndefinedMetricError("image_AUROC needs finite scores; got NaN or infinity")
    labels = np.repeat([0, 1], [len(normal_scores), len(anomalous_scores)])
    return float(roc_auc_score(labels, scores))


def share_above(scores: NDArray[np.float64], threshold: float) -> float:
    """Share of scores above a threshold: the false-positive rate on normal images, the recall
    on anomalous ones.

    Raises:
        UndefinedMetricError: there is no score.
    """
    if not len(scores):
        raise UndefinedMetricError("a share needs at least one score; got none")
    if not (np.isfinite(scores).all() and np.isfinite(threshold)):
        raise UndefinedMetricError("a share needs finite scores and threshold; got NaN or infinity")
    return float((scores > threshold).mean())
