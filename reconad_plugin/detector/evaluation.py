"""A detector on labelled test images: the figures that papers and people compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.detector.calibration import check_threshold
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.windows import Pictures
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.images.folder import (
    NORMAL_LABEL,
    ImageFolder,
    check_masks,
    has_masks,
    load_masks,
)
from reconad_plugin.metrics import image as figures
from reconad_plugin.metrics.intervals import index_parts
from reconad_plugin.metrics.pixel import PixelCurves

AUPRO_FPR_LIMIT: Final = 0.3
STRICT_FPR_LIMIT: Final = 0.05  # that papers since MVTec AD 2 compare by
PROTOCOLS: Final = {"whole": 1.0, "centre-crop": 224 / 256}  # share of the side that counts
_CHUNK: Final = 64  # images whose maps are in memory at once


@dataclass(frozen=True)
class DefectFigures:
    """How one kind of defect is found."""

    images: int
    image_AUROC: float  # noqa: N815  the field's name
    recall: float


@dataclass(frozen=True)
class Evaluation:
    """Figures on a test split, at the detector's own threshold where one is needed."""

    images: dict[str, int]  # number of test images by label
    # of the detector; where it has thresholds by light, each image is held against that of its own
    # light
    image_threshold: float
    image_AUROC: float  # noqa: N815
    image_AP: float  # noqa: N815
    image_F1Score: float  # noqa: N815
    # at the threshold that is best for these very images, which is ``image_F1_best_threshold``
    image_F1_best: float  # noqa: N815
    image_F1_best_threshold: float  # noqa: N815
    fpr: float  # share of normal test images above the threshold
    fpr_interval: tuple[float, float]  # limits of its 95 % confidence interval
    recall: float  # share of defect images above the threshold
    recall_interval: tuple[float, float]  # limits of its 95 % confidence interval
    escape_rate: float  # share of defect images that pass as normal, one less the recall
    threshold_check: str  # what the defects say of the threshold, which they have no part in
    # None, like the other pixel figures, where a defect has no mask, or none has a part in the
    # region; outside no pixel counts. Masks are brought to the network's size; maps are compared
    # at that size.
    pixel_AUROC: float | None  # noqa: N815
    pixel_AP: float | None  # noqa: N815
    pixel_AUPRO: float | None  # noqa: N815
    pixel_AUPRO_fpr_limit: float  # noqa: N815
    pixel_AUPRO_5: float | None  # noqa: N815  the same up to a false-positive rate of 0.05
    pixel_F1Score: float | None  # noqa: N815  at the detector's pixel threshold; known as SegF1
    defects: dict[str, DefectFigures]  # by kind
    # ``whole``; or ``centre-crop``, where pixel figures are of the middle 224 of 256 pixels each
    # way of maps and masks, and those of images as always
    protocol: str


def check_evaluable(folder: ImageFolder, protocol: str) -> None:
    """Raise what ``evaluate`` can know before a picture is decoded.

    Raises:
        ConfigError: no protocol has this name.
        NotEnoughImagesError: there are no normal or no defect images.
        InvalidImageError: a mask has another shape than its picture.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"protocol must be one of {', '.join(PROTOCOLS)}; got {protocol!r}")
    normal = sum(file.label == NORMAL_LABEL for file in folder.test)
    if not 0 < normal < len(folder.test):
        raise NotEnoughImagesError(
            "an evaluation needs normal and defect images in test/good and test/<defect>; "
            f"{folder.root} has {normal} and {len(folder.test) - normal}"
        )
    check_masks(folder.test)


def describe_hidden(detector: Detector, folder: ImageFolder) -> str | None:
    """Describe test images whose defects all lie outside the version's region; None without."""
    if detector.region is None:
        return None
    inside = detector.region.union
    marked = [file for file in folder.test if file.mask_paths]
    hidden = [
        file.path.name
        for file in marked
        if not (load_masks([file], detector.image_size_px)[0] & inside).any()
    ]
    if not hidden:
        return None
    return (
        f"{len(hidden)} of {len(marked)} defects lie outside the region by their masks, such as "
        f"{hidden[0]}: they count as missed, and none of their pixels counts; draw the region "
        "larger, or take them out"
    )


def evaluate(
    detector: Detector,
    folder: ImageFolder,
    images: Pictures,
    protocol: str = "whole",
    parts: Sequence[str] = (),
) -> Evaluation:
    """Score the test split of a folder.

    Args:
        detector: the model.
        folder: with labelled test images.
        images: their pixels, (N, 3, S, S) uint8, in the same order.
        protocol: see ``Evaluation``. Source of ``centre-crop``: the code of DSR's authors.
        parts: name of the part that each image shows, for the intervals; empty: each is its own.

    Raises:
        ConfigError: no protocol has this name.
        NotEnoughImagesError: it has no normal or no defect images.
        InvalidImageError: a picture or a mask cannot be read.
    """
    check_evaluable(folder, protocol)
    labels = np.array([file.label for file in folder.test])
    is_normal = labels == NORMAL_LABEL
    scores, excess, pixels = _score(detector, folder, images, PROTOCOLS[protocol])
    threshold, marked = (
        detector.calibration.image_threshold,
        detector.calibration.pixel_threshold,
    )
    of_defects = threshold + excess[~is_normal]  # each against the threshold of its own light

    def figures_of(is_kind: NDArray[np.bool_]) -> DefectFigures:
        auroc = figures.image_auroc(scores[is_normal], scores[is_kind])
        return DefectFigures(int(is_kind.sum()), auroc, figures.share_above(excess[is_kind], 0))

    part_of = index_parts(parts, len(labels))

    def shown(is_kind: NDArray[np.bool_]) -> int:
        return len(set(part_of[is_kind].tolist()))

    return Evaluation(
        images={str(label): int((labels == label).sum()) for label in np.unique(labels)},
        image_threshold=threshold,
        **image_figures(scores, excess, is_normal),
        fpr_interval=figures.share_interval(excess[is_normal], 0, shown(is_normal)),
        recall_interval=figures.share_interval(excess[~is_normal], 0, shown(~is_normal)),
        threshold_check=check_threshold(detector.calibration, of_defects).sentence,
        pixel_AUROC=None if pixels is None else pixels.auroc(),
        pixel_AP=None if pixels is None else pixels.ap(),
        pixel_AUPRO=None if pixels is None else pixels.aupro(AUPRO_FPR_LIMIT),
        pixel_AUPRO_fpr_limit=AUPRO_FPR_LIMIT,
        pixel_AUPRO_5=None if pixels is None else pixels.aupro(STRICT_FPR_LIMIT),
        pixel_F1Score=None if pixels is None or marked is None else pixels.f1(marked),
        defects={
            str(label): figures_of(labels == label) for label in np.unique(labels[~is_normal])
        },
        protocol=protocol,
    )


def image_figures(
    scores: NDArray[np.float64], excess: NDArray[np.float64], is_normal: NDArray[np.bool_]
) -> dict[str, float]:
    """Compute the figures of images, by their names in ``Evaluation``.

    Args:
        scores: (N,) image scores.
        excess: (N,) how far they are above their thresholds, which need not be one for all.
        is_normal: (N,) bool.

    Raises:
        UndefinedMetricError: there is no normal or no anomalous image.
    """
    normal, anomalous = scores[is_normal], scores[~is_normal]
    normal_excess, anomalous_excess = excess[is_normal], excess[~is_normal]
    best_f1, best_threshold = figures.image_f1_best(normal, anomalous)
    return {
        "image_AUROC": figures.image_auroc(normal, anomalous),
        "image_AP": figures.image_ap(normal, anomalous),
        "image_F1Score": figures.image_f1(normal_excess, anomalous_excess, 0),
        "image_F1_best": best_f1,
        "image_F1_best_threshold": best_threshold,
        "fpr": figures.share_above(normal_excess, 0),
        "recall": figures.share_above(anomalous_excess, 0),
        "escape_rate": figures.escape_rate(anomalous_excess, 0),
    }


def _score(
    detector: Detector, folder: ImageFolder, images: Pictures, share: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], PixelCurves | None]:
    """Score N test images: (N,) scores and (N,) how far they are above their thresholds; and the
    pixels in the middle, a share of the side each way, where there are masks."""
    margins = [round((1 - share) / 2 * side) for side in detector.map_size_px.shape]
    rows, columns = (slice(margin, -margin or None) for margin in margins)
    inside = None if detector.region is None else detector.region.union
    counted = None if inside is None else inside[rows, columns]
    pixels, has_pixels = PixelCurves() if has_masks(folder.test) else None, inside is None
    found, excess = [], []
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK]
        scores = detector.score(chunk)
        found.append(scores.pred_score)
        excess.append(scores.pred_score - detector.decide(chunk, scores).image_threshold)
        if pixels is not None:
            masks = load_masks(folder.test[start : start + _CHUNK], detector.map_size_px)
            masks = masks[:, rows, columns]
            pixels.update(scores.anomaly_map[:, rows, columns], masks, counted)
            has_pixels |= counted is not None and bool((masks & counted).any())
    return np.concatenate(found), np.concatenate(excess), pixels if has_pixels else None
