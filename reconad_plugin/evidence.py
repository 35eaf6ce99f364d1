"""What a detector does on the judge's images: the figures that the gate decides on."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reconad_plugin.calibration import exceedance_p_value
from reconad_plugin.gate import Evidence
from reconad_plugin.metrics import image_auroc, share_above
from reconad_plugin.scoring import Detector
from reconad_plugin.simulation.anomalies import simulate_anomalies
from reconad_plugin.simulation.presets import STAINS

REAL, SIMULATED = "real", "simulated"


@dataclass(frozen=True)
class GoldenSet:
    """Images every version is judged on, each (N, 3, S, S) uint8.

    Attributes:
        normal: held-out normal images.
        anomalous: images with a defect.
        kind: ``real`` or ``simulated`` defects.
    """

    normal: Tensor
    anomalous: Tensor
    kind: str

    def with_normal(self, images: Tensor) -> "GoldenSet":
        """The same set with more normal images."""
        return GoldenSet(torch.cat([self.normal, images]), self.anomalous, self.kind)


def simulated_golden_set(normal: Tensor, seed: int, repeats: int = 4) -> GoldenSet:
    """Held-out normal images, and the same images with simulated anomalies.

    Args:
        normal: (N, 3, S, S) uint8, the judge's.
        seed: the same seed and images give the same set.
        repeats: anomalies an image.
    """
    generator = torch.Generator().manual_seed(seed)
    anomalous = simulate_anomalies(normal.repeat(repeats, 1, 1, 1), generator, STAINS).pixels
    return GoldenSet(normal, anomalous, SIMULATED)


def gather_evidence(detector: Detector, golden: GoldenSet, target_fpr: float) -> Evidence:
    """Score the golden set with one detector.

    Args:
        detector: the version in question.
        golden: the same images for every version.
        target_fpr: the product's wished-for false-positive rate.

    Raises:
        UndefinedMetricError: there are no normal or no anomalous images.
    """
    normal = detector.score(golden.normal)
    anomalous = detector.score(golden.anomalous)
    threshold = detector.calibration.image_threshold
    above = int((normal.pred_score > threshold).sum())
    maps = normal.anomaly_map
    spread = maps.std((1, 2)) / np.maximum(maps.mean((1, 2)), 1e-12)
    return Evidence(
        image_auroc=image_auroc(normal.pred_score, anomalous.pred_score),
        recall_at_equal_fpr=share_above(
            anomalous.pred_score, np.quantile(normal.pred_score, 1 - target_fpr, method="higher")
        ),
        recall=share_above(anomalous.pred_score, threshold),
        fpr=share_above(normal.pred_score, threshold),
        normal_images=len(normal.pred_score),
        fpr_chance=exceedance_p_value(
            above,
            len(normal.pred_score),
            len(detector.calibration.normal_scores),
            detector.calibration.scores_at_threshold,
        ),
        map_spread=float(spread.mean()),
    )
