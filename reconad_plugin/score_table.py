"""The table of a night's scores: what the watch and the choice of training images read."""

from typing import Final

import pandas as pd
from torch import Tensor

from reconad_plugin.images.features import FEATURES
from reconad_plugin.scoring import Detector

COLUMNS: Final = (
    "key",
    "sha256",
    "night",
    "split",
    "model_version",
    "pred_score",
    "pred_label",
    "p_value",
    "matched_score",
    "is_suspect",
    *FEATURES,
)


def score_table(
    detector: Detector, rows: pd.DataFrame, images: Tensor, model_version: str
) -> pd.DataFrame:
    """Score a night's accepted images.

    Args:
        detector: the model in service.
        rows: accepted rows of the manifest.
        images: their pixels, (N, 3, S, S) uint8, in the same order.
        model_version: its number in the registry.

    Returns:
        One row an image with ``COLUMNS``. ``matched_score`` is the score after the picture's
        light was brought to the reference; ``is_suspect`` says that it is above its own
        threshold: anomalous for another reason than the light.
    """
    scores = detector.score(images)
    decided = detector.decide(images, scores)
    matched = detector.score_matched(images).pred_score
    table = rows[["key", "sha256", "night", "split", *FEATURES]].reset_index(drop=True)
    return table.assign(
        model_version=model_version,
        pred_score=scores.pred_score,
        pred_label=decided.pred_label,
        p_value=decided.p_value,
        matched_score=matched,
        is_suspect=matched > detector.matched_calibration.image_threshold,
    )[list(COLUMNS)]
