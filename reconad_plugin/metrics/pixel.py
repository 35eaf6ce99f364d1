"""Figures of pixels over any number of anomaly maps, in a memory that does not grow with them.

The maps are not kept: each pixel is counted in a bin of its score. The bins are fine wherever
scores crowd: each spans at most 1/512 of the score, or of 1 - score between a half and 1. Scores
in one bin count as tied. AUROC and AUPRO move by less than 1e-4 for it, AP, in which a tie counts
as its worst order, falls by less than 1e-3; by more where most scores lie within a few percent of
one value other than 0 and 1.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from reconad_plugin.errors import UndefinedMetricError

_SHIFT: Final = 14  # of a float32's bits: leaves its sign, its exponent and 9 bits of the rest
_NEGATIVE: Final = 1 << (31 - _SHIFT)  # the first bin of negative scores, here that of -0.0
_INFINITE: Final = 0x7F800000 >> _SHIFT  # the first bin of infinity and NaN, by magnitude
_LEAST_REST: Final = np.float32(2.0**-25)  # below 1 - score for each float32 score below 1
_LARGEST: Final = 1e31  # times 1 / _LEAST_REST it is still a float32
_BLOCK: Final = 32_768  # pixels that are counted at once: their bins stay in the cache
_EIGHT_CONNECTED: Final = np.ones((3, 3), np.bool_)


class PixelCurves:
    """Pixel AUROC, AP, AUPRO and F1 of maps that come batch by batch.

    Each figure raises an UndefinedMetricError where there was no anomalous or no normal pixel, or
    a score was not finite or beyond 1e31.

    Example:
        >>> curves = PixelCurves()
        >>> for low, high in ((0.1, 0.3), (0.2, 0.4)):
        ...     curves.update(np.array([[[low, high]]]), np.array([[[False, True]]]))
        >>> curves.auroc()
        1.0
    """

    def __init__(self) -> None:
        self._pixels = np.zeros(2 * _NEGATIVE, np.int64)
        self._anomalous = np.zeros(2 * _NEGATIVE, np.int64)
        self._overlap = np.zeros(2 * _NEGATIVE)  # every region adds 1 in all

    def update(
        self,
        anomaly_maps: NDArray[np.float32],
        masks: NDArray[np.bool_],
        inside: NDArray[np.bool_] | None = None,
    ) -> None:
        """Count the pixels of more maps.

        Args:
            anomaly_maps: (N, S, S), higher is more anomalous.
            masks: (N, S, S) bool, True on defects; all False for a normal image.
            inside: (S, S) bool, the pixels that count; all where None. Of a defect its part counts.

        Raises:
            UndefinedMetricError: the shapes differ, or the masks are not bool.
        """
        if anomaly_maps.shape != masks.shape or masks.ndim != 3 or masks.dtype != np.bool_:
            raise UndefinedMetricError(
                "a pixel figure needs maps and bool masks of one (N, S, S) shape; got "
                f"{anomaly_maps.shape} and {masks.dtype} {masks.shape}: resize the masks to the "
                "maps"
            )
        if inside is not None:
            masks = masks & inside
        counted = anomaly_maps if inside is None else anomaly_maps[:, inside]
        pixels = counted.reshape(-1)  # (N, S, S) -> (N * S * S,)
        for start in range(0, len(pixels), _BLOCK):
            np.add.at(self._pixels, _find_bins(pixels[start : start + _BLOCK]), 1)
        if masks.any():
            hit = _find_bins(anomaly_maps[masks])
            np.add.at(self._anomalous, hit, 1)
            np.add.at(self._overlap, hit, _region_weights(masks))
        for counts in (self._pixels, self._anomalous, self._overlap):
            counts[0] += counts[_NEGATIVE]  # -0.0 is 0
            counts[_NEGATIVE] = 0

    def auroc(self) -> float:
        """Return the chance that an anomalous pixel scores above a normal one, a tie counted half.

        Returns:
            In [0, 1], over all pixels of all images; 0.5 is no better than a coin.
        """
        gained = self._gains("pixel_AUROC")
        normals = gained.normal.sum()
        normals_below = normals - gained.normal.cumsum() + gained.normal / 2
        return float(gained.anomalous @ normals_below / (gained.anomalous.sum() * normals))

    def ap(self) -> float:
        """Compute the average precision of the ranking of pixels: the mean over recall of the
        precision.

        Returns:
            In (0, 1], over all pixels of all images; the share of anomalous pixels is no better
            than a coin.
        """
        gained = self._gains("pixel_AP")
        hits = gained.anomalous.cumsum()
        precision = hits / (hits + gained.normal.cumsum())
        return float(gained.anomalous @ precision / hits[-1])

    def aupro(self, fpr_limit: float) -> float:
        """Compute the area under the per-region overlap, up to a false-positive rate, over that
        rate.

        A region is a set of 8-connected anomalous pixels in one mask. Its overlap is the share of
        it above a pixel threshold; the mean over all regions weighs a small defect like a large
        one. The false-positive rate is that of the normal pixels of all images. The curve is
        linear between the thresholds, and at the limit.

        Args:
            fpr_limit: in (0, 1].

        Returns:
            In [0, 1]; fpr_limit / 2 is no better than a coin.

        Raises:
            UndefinedMetricError: as for every figure, or the limit is not in (0, 1].

        Source: Bergmann, Fauser, Sattlegger and Steger, "Uninformed Students: Student-Teacher
        Anomaly Detection with Discriminative Latent Embeddings", CVPR 2020.
        """
        if not 0 < fpr_limit <= 1:
            raise UndefinedMetricError(
                f"pixel_AUPRO needs a false-positive rate in (0, 1] as its limit; got {fpr_limit}"
            )
        gained = self._gains("pixel_AUPRO")
        fpr = np.append(0.0, gained.normal.cumsum() / gained.normal.sum())
        overlap = gained.overlap.cumsum()
        pro = np.append(0.0, overlap / overlap[-1])
        end = int(np.searchsorted(fpr, fpr_limit, side="right"))
        pro_at_limit = np.interp(fpr_limit, fpr[end - 1 : end + 1], pro[end - 1 : end + 1])
        area = np.trapezoid(np.append(pro[:end], pro_at_limit), np.append(fpr[:end], fpr_limit))
        return float(area / fpr_limit)

    def f1(self, threshold: float) -> float:
        """Compute the F1 score of the pixels at a threshold, known as SegF1: the harmonic mean of
        the precision and the recall of those in its bin or above.

        Returns:
            In [0, 1], over all pixels of all images.

        Source: Heckler-Kram et al., "The MVTec AD 2 Dataset", arXiv 2503.21622.
        """
        gained = self._gains("pixel_F1Score")
        edge = _find_bins(np.array([threshold], np.float32))[0]
        is_above = gained.rank >= (_NEGATIVE - 1 - edge if edge >= _NEGATIVE else edge)
        hits = int(gained.anomalous[is_above].sum())
        marked = hits + int(gained.normal[is_above].sum())
        return 2 * hits / (marked + int(gained.anomalous.sum()))

    def _gains(self, figure: str) -> "_Gains":
        anomalous, pixels = int(self._anomalous.sum()), int(self._pixels.sum())
        if not 0 < anomalous < pixels:
            raise UndefinedMetricError(
                f"{figure} needs normal and anomalous pixels; got "
                f"{pixels - anomalous} and {anomalous}"
            )
        used = np.flatnonzero(self._pixels)
        is_negative = used >= _NEGATIVE
        if (used - _NEGATIVE * is_negative >= _INFINITE).any():
            raise UndefinedMetricError(
                f"{figure} needs finite anomaly maps, up to {_LARGEST:.0e}; got NaN, infinity or "
                "a larger score"
            )
        # by their bits negative floats fall where positive ones rise
        falling = np.concatenate([used[~is_negative][::-1], used[is_negative]])
        return _Gains(
            normal=self._pixels[falling] - self._anomalous[falling],
            anomalous=self._anomalous[falling],
            overlap=self._overlap[falling],
            rank=np.where(falling >= _NEGATIVE, _NEGATIVE - 1 - falling, falling),
        )


@dataclass(frozen=True)
class _Gains:
    """What a threshold gains as it falls through the K bins that hold a pixel, highest first."""

    normal: NDArray[np.int64]  # (K,) number of normal pixels
    anomalous: NDArray[np.int64]  # (K,) number of anomalous pixels
    overlap: NDArray[np.float64]  # (K,) sum of the shares of regions
    rank: NDArray[np.int64]  # (K,) of the bin, rising with its scores; below 0 for negative ones


def _find_bins(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Find the bin of each of K scores, (K,): the upper bits of its odds, score / (1 - score).

    A float's bits rise like its logarithm, so that these bins are fine near 0 and near 1 alike.
    Below 0 the score stands for its odds, and from 1 on the score over the least rest.
    """
    odds = np.subtract(1, scores, dtype=np.float32)
    np.clip(odds, _LEAST_REST, 1, out=odds)
    with np.errstate(over="ignore"):
        np.divide(scores, odds, out=odds)
    bins = np.empty(len(scores), np.int64)
    np.right_shift(odds.view(np.uint32), _SHIFT, out=bins)
    return bins


def _region_weights(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return one over the size of its region for each anomalous pixel, in the order of the
    masks."""
    weights = []
    for mask in masks[masks.any(axis=(1, 2))]:
        rows, columns = np.divmod(np.flatnonzero(mask), mask.shape[1])
        box = mask[rows[0] : rows[-1] + 1, columns.min() : columns.max() + 1]
        regions, _ = ndimage.label(box, structure=_EIGHT_CONNECTED)
        region_of_pixel = regions[box]  # (rows, columns) -> (anomalous pixels of this mask,)
        weights.append(1 / np.bincount(region_of_pixel)[region_of_pixel])
    return np.concatenate(weights)
