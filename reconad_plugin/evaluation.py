"""A detector on labelled test images: the figures that papers and people compare."""

from dataclasses import dataclass

import numpy as np

from reconad_plugin.errors import NotEnoughImagesError
from reconad_plugin.images.folder import NORMAL_LABEL, ImageFolder, has_masks, load_masks
from reconad_plugin.metrics import (
    image_ap,
    image_auroc,
    image_f1,
    pixel_ap,
    pixel_aupro,
    pixel_auroc,
    share_above,
)
from reconad_plugin.scoring import Detector
from reconad_plugin.store.source import load_files

AUPRO_FPR_LIMIT = 0.3


@dataclass(frozen=True)
class DefectFigures:
    """How one kind of defect is found."""

    images: int
    image_AUROC: float  # noqa: N815  the field's name
    recall: float


@dataclass(frozen=True)
class Evaluation:
    """Figures on a test split, at the detector's own threshold where one is needed.

    Attributes:
        images: number of test images by label.
        fpr: share of normal test images above the threshold.
        recall: share of defect images above it.
        pixel_AUROC: None, like the other two pixel figures, where a defect has no mask. Masks
            are brought to the network's square; maps are compared at that size.
        defects: by kind.
    """

    images: dict[str, int]
    image_threshold: float
    image_AUROC: float  # noqa: N815
    image_AP: float  # noqa: N815
    image_F1Score: float  # noqa: N815
    fpr: float
    recall: float
    pixel_AUROC: float | None  # noqa: N815
    pixel_AP: float | None  # noqa: N815
    pixel_AUPRO: float | None  # noqa: N815
    pixel_AUPRO_fpr_limit: float  # noqa: N815
    defects: dict[str, DefectFigures]


def evaluate(detector: Detector, folder: ImageFolder) -> Evaluation:
    """Score the test split of a folder.

    Raises:
        NotEnoughImagesError: it has no normal or no defect images.
        InvalidImageError: a picture or a mask cannot be read.
    """
    labels = np.array([file.label for file in folder.test])
    is_normal = labels == NORMAL_LABEL
    if is_normal.all() or not is_normal.any():
        raise NotEnoughImagesError(
            "an evaluation needs normal and defect images in test/good and test/<defect>; "
            f"{folder.root} has {int(is_normal.sum())} and {int((~is_normal).sum())}"
        )
    images = load_files(
        [file.path for file in folder.test], detector.image_size_px, detector.limits
    )
    scores = detector.score(images)
    normal, anomalous = scores.pred_score[is_normal], scores.pred_score[~is_normal]
    threshold = detector.calibration.image_threshold
    maps, masks = scores.anomaly_map, None
    if has_masks(folder.test):
        masks = load_masks(folder.test, detector.image_size_px)
    return Evaluation(
        images={str(label): int((labels == label).sum()) for label in np.unique(labels)},
        image_threshold=threshold,
        image_AUROC=image_auroc(normal, anomalous),
        image_AP=image_ap(normal, anomalous),
        image_F1Score=image_f1(normal, anomalous, threshold),
        fpr=share_above(normal, threshold),
        recall=share_above(anomalous, threshold),
        pixel_AUROC=None if masks is None else pixel_auroc(maps, masks),
        pixel_AP=None if masks is None else pixel_ap(maps, masks),
        pixel_AUPRO=None if masks is None else pixel_aupro(maps, masks, AUPRO_FPR_LIMIT),
        pixel_AUPRO_fpr_limit=AUPRO_FPR_LIMIT,
        defects={
            str(label): DefectFigures(
                images=int((labels == label).sum()),
                image_AUROC=image_auroc(normal, scores.pred_score[labels == label]),
                recall=share_above(scores.pred_score[labels == label], threshold),
            )
            for label in np.unique(labels[~is_normal])
        },
    )
