"""Figures of detection quality. What is undefined is an error, never a number."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from reconad_plugin.errors import UndefinedMetricError

_EIGHT_CONNECTED = np.ones((3, 3))


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


def image_ap(normal_scores: NDArray[np.float64], anomalous_scores: NDArray[np.float64]) -> float:
    """Average precision of the ranking of images: the mean over recall of the precision.

    Args:
        normal_scores: (N,) scores of normal images.
        anomalous_scores: (M,) scores of anomalous images.

    Returns:
        In (0, 1]; M / (N + M) is no better than a coin.

    Raises:
        UndefinedMetricError: one of the two is empty, or a score is not finite.
    """
    _check_scores("image_AP", normal_scores, anomalous_scores)
    scores = np.concatenate([normal_scores, anomalous_scores])
    labels = np.repeat([0, 1], [len(normal_scores), len(anomalous_scores)])
    return float(average_precision_score(labels, scores))


def image_f1(
    normal_scores: NDArray[np.float64], anomalous_scores: NDArray[np.float64], threshold: float
) -> float:
    """Harmonic mean of precision and recall of the labels ``score > threshold``.

    The threshold is the one that calibration set, not the best one over the test images.

    Args:
        normal_scores: (N,) scores of normal images.
        anomalous_scores: (M,) scores of anomalous images.
        threshold: the calibrated ``image_threshold``.

    Returns:
        In [0, 1]; 0 when no anomalous image lies above the threshold.

    Raises:
        UndefinedMetricError: one of the two is empty, or a score or the threshold is not finite.
    """
    _check_scores("image_F1", normal_scores, anomalous_scores)
    if not np.isfinite(threshold):
        raise UndefinedMetricError(f"image_F1 needs a finite threshold; got {threshold}")
    hits = np.count_nonzero(anomalous_scores > threshold)
    false_alarms = np.count_nonzero(normal_scores > threshold)
    return float(2 * hits / (hits + false_alarms + len(anomalous_scores)))


def pixel_auroc(anomaly_maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> float:
    """Chance that an anomalous pixel scores above a normal one, a tie counted half.

    Args:
        anomaly_maps: (N, S, S), higher is more anomalous.
        masks: (N, S, S) bool, True on defects; all False for a normal image.

    Returns:
        In [0, 1], over all pixels of all images; 0.5 is no better than a coin.

    Raises:
        UndefinedMetricError: the shapes differ, a value is not finite, or there is no anomalous
            or no normal pixel.
    """
    ranking = _rank_pixels("pixel_AUROC", anomaly_maps, masks)
    normals_below = ranking.normals - (ranking.normals_above + ranking.normals_at_least) / 2
    return float(ranking.gained @ normals_below / (ranking.gained.sum() * ranking.normals))


def pixel_ap(anomaly_maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> float:
    """Average precision of the ranking of pixels: the mean over recall of the precision.

    Args:
        anomaly_maps: (N, S, S), higher is more anomalous.
        masks: (N, S, S) bool, True on defects; all False for a normal image.

    Returns:
        In (0, 1], over all pixels of all images; the share of anomalous pixels is no better
        than a coin.

    Raises:
        UndefinedMetricError: the shapes differ, a value is not finite, or there is no anomalous
            or no normal pixel.
    """
    ranking = _rank_pixels("pixel_AP", anomaly_maps, masks)
    hits = ranking.gained.cumsum()
    precision = hits / (hits + ranking.normals_at_least)
    return float(ranking.gained @ precision / hits[-1])


def pixel_aupro(
    anomaly_maps: NDArray[np.float32], masks: NDArray[np.bool_], fpr_limit: float = 0.3
) -> float:
    """Area under the per-region overlap, up to a false-positive rate, over that rate.

    A region is a set of 8-connected anomalous pixels in one mask. Its overlap is the share of
    it above a pixel threshold; the mean over all regions weighs a small defect like a large one.
    The false-positive rate is that of the normal pixels of all images. The curve is linear
    between the thresholds, and at the limit.

    Args:
        anomaly_maps: (N, S, S), higher is more anomalous.
        masks: (N, S, S) bool, True on defects; all False for a normal image.
        fpr_limit: in (0, 1].

    Returns:
        In [0, 1]; fpr_limit / 2 is no better than a coin.

    Raises:
        UndefinedMetricError: the shapes differ, a value is not finite, there is no anomalous or
            no normal pixel, or the limit is not in (0, 1].

    Source: Bergmann, Fauser, Sattlegger and Steger, "Uninformed Students: Student-Teacher
    Anomaly Detection with Discriminative Latent Embeddings", CVPR 2020.
    """
    if not 0 < fpr_limit <= 1:
        raise UndefinedMetricError(
            f"pixel_AUPRO needs a false-positive rate in (0, 1] as its limit; got {fpr_limit}"
        )
    ranking = _rank_pixels("pixel_AUPRO", anomaly_maps, masks, by_region=True)
    overlap = ranking.gained.cumsum() / ranking.gained.sum()
    # a threshold just above each score, then at it: (K,), (K,) -> (2K,), from (0, 0) to (1, 1)
    counts = np.stack([ranking.normals_above, ranking.normals_at_least], axis=1).ravel()
    fpr = np.concatenate([[0.0], counts / ranking.normals, [1.0]])
    pro = np.concatenate([[0.0, 0.0], np.repeat(overlap, 2)])
    end = int(np.searchsorted(fpr, fpr_limit, side="right"))
    pro_at_limit = np.interp(fpr_limit, fpr[end - 1 : end + 1], pro[end - 1 : end + 1])
    area = np.trapezoid(np.append(pro[:end], pro_at_limit), np.append(fpr[:end], fpr_limit))
    return float(area / fpr_limit)


@dataclass(frozen=True)
class _PixelRanking:
    """What a threshold at each of the K distinct scores of anomalous pixels does, highest first.

    Between two of them only normal pixels are gained, so that these K say all that a curve
    needs, ties included.

    Attributes:
        gained: (K,) number (or weight) of anomalous pixels with exactly this score.
        normals_above: (K,) number of normal pixels with a higher score.
        normals_at_least: (K,) number of normal pixels with this score or a higher one.
        normals: number of normal pixels.
    """

    gained: NDArray[np.float64]
    normals_above: NDArray[np.int64]
    normals_at_least: NDArray[np.int64]
    normals: int


def _rank_pixels(
    figure: str,
    anomaly_maps: NDArray[np.float32],
    masks: NDArray[np.bool_],
    *,
    by_region: bool = False,
) -> _PixelRanking:
    """Sort the normal pixels by value alone, which spares an index for each of them."""
    _check_pixels(figure, anomaly_maps, masks)
    scores, place = np.unique(anomaly_maps[masks], return_inverse=True)
    weights = _region_weights(masks) if by_region else None
    gained = np.bincount(place, weights=weights).astype(np.float64)
    normals = anomaly_maps[~masks]  # (N, S, S) -> (number of normal pixels,)
    normals.sort()
    return _PixelRanking(
        gained=gained[::-1],
        normals_above=len(normals) - np.searchsorted(normals, scores, side="right")[::-1],
        normals_at_least=len(normals) - np.searchsorted(normals, scores, side="left")[::-1],
        normals=len(normals),
    )


def _region_weights(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """One over the size of its region for each anomalous pixel, in the order of the masks."""
    weights = []
    for mask in masks[masks.any(axis=(1, 2))]:
        regions, _ = ndimage.label(mask, structure=_EIGHT_CONNECTED)
        region_of_pixel = regions[mask]  # (S, S) -> (anomalous pixels of this image,)
        weights.append(1 / np.bincount(region_of_pixel)[region_of_pixel])
    return np.concatenate(weights)


def _check_scores(
    figure: str, normal_scores: NDArray[np.float64], anomalous_scores: NDArray[np.float64]
) -> None:
    if not len(normal_scores) or not len(anomalous_scores):
        raise UndefinedMetricError(
            f"{figure} needs normal and anomalous images; got "
            f"{len(normal_scores)} and {len(anomalous_scores)}"
        )
    if not (np.isfinite(normal_scores).all() and np.isfinite(anomalous_scores).all()):
        raise UndefinedMetricError(f"{figure} needs finite scores; got NaN or infinity")


def _check_pixels(figure: str, anomaly_maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> None:
    if anomaly_maps.shape != masks.shape or masks.ndim != 3 or masks.dtype != np.bool_:
        raise UndefinedMetricError(
            f"{figure} needs maps and bool masks of one (N, S, S) shape; got "
            f"{anomaly_maps.shape} and {masks.dtype} {masks.shape}: resize the masks to the maps"
        )
    anomalous = int(np.count_nonzero(masks))
    if not anomalous or anomalous == masks.size:
        raise UndefinedMetricError(
            f"{figure} needs normal and anomalous pixels; got "
            f"{masks.size - anomalous} and {anomalous}"
        )
    if not np.isfinite(anomaly_maps).all():
        raise UndefinedMetricError(f"{figure} needs finite anomaly maps; got NaN or infinity")
