"""What one version makes of the real golden defects: what is followed from night to night.

Simulated anomalies stay out, since they say nothing new on another night, and so do the nights' own
images: a figure moves when the version, its threshold or the golden images do.
docs/decisions/0047 says why.
"""

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.detector.detector import Detector
from reconad_plugin.gate.golden import GoldenSet
from reconad_plugin.ledger.golden_figures import GoldenFigures
from reconad_plugin.metrics.image import image_auroc, share_above
from reconad_plugin.store.golden_images import NORMAL, GoldenImages


def hash_golden(golden: GoldenImages) -> str:
    """Hash the golden images with whether each shows a defect; in which files they lie, and what a
    defect is called, changes nothing.

    Raises:
        InvalidImageError: one lies in no folder.
    """
    shown = {f"{image.sha256} {golden.shows(image) == NORMAL}" for image in golden.images}
    return hashlib.sha256("\n".join(sorted(shown)).encode()).hexdigest()


def count_defects(golden: GoldenImages, part_of: Callable[[str], str] | None) -> int:
    """Count the images that show a defect, or the parts where ``part_of`` tells that of a key.

    Raises:
        InvalidImageError: one lies in no folder.
    """
    defects = [image for image in golden.images if golden.shows(image) != NORMAL]
    return len({part_of(each.key) if part_of else each.sha256 for each in defects})


def measure(
    detector: Detector, golden: GoldenSet, images: str, floor: float | None
) -> GoldenFigures:
    """Score the golden images of the bucket with a version, beside what its calibration kept of
    held-out normal images.

    Args:
        detector: the version, held against the threshold in force.
        golden: real defects of two parts or more, and the normal ones of ``golden/normal/`` if any.
        images: see ``hash_golden``.
        floor: of the image_AUROC, if one is set.

    Raises:
        UndefinedMetricError: a score is no number.
    """
    calibration = detector.calibration
    normal = np.asarray(calibration.normal_scores)
    if len(golden.normal):
        normal = np.concatenate([normal, detector.score(golden.normal).pred_score])
    anomalous = detector.score(golden.anomalous).pred_score
    parts = golden.labels.part_of_anomalous
    return GoldenFigures(
        images=images,
        defects=len(anomalous),
        normals=len(normal),
        auroc=image_auroc(normal, anomalous),
        auroc_but_one=_auroc_but_one(normal, anomalous, parts),
        recall=share_above(anomalous, calibration.image_threshold),
        image_threshold=calibration.image_threshold,
        floor=floor,
    )


def _auroc_but_one(
    normal: NDArray[np.float64], anomalous: NDArray[np.float64], parts: NDArray[np.intp]
) -> float:
    """Return the highest image_AUROC that is left when one part's anomalous images are not there;
    ``parts`` are (M,) numbers."""
    return max(image_auroc(normal, anomalous[parts != part]) for part in np.unique(parts))
