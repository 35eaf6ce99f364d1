"""The table of a night's scores: what the watch and the choice of training images read."""

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from reconad_plugin.images.features import FEATURES
from reconad_plugin.scoring import Detector

COLUMNS: Final = (
    "key",
    "sha256",
    "night",
    "split",
    "position",
    "model_version",
    "pred_score",
    "pred_label",
    "p_value",
    "matched_score",
    "is_suspect",
    "map_extent",
    *FEATURES,
)


CHUNK_IMAGES: Final = 256  # scored at once, so that the maps of a large night fit in memory


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
        threshold: anomalous for another reason than the light. ``map_extent`` is of the map with
        the light matched.
    """
    starts = range(0, len(rows), CHUNK_IMAGES)
    scored = [_score(detector, images[start : start + CHUNK_IMAGES]) for start in starts]
    table = rows[["key", "sha256", "night", "split", "position", *FEATURES]].reset_index(drop=True)
    return table.assign(
        model_version=model_version,
        **{name: np.concatenate([chunk[name] for chunk in scored]) for name in scored[0]},
    )[list(COLUMNS)]


def map_extent(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """How much of the picture a map covers: 1 where it is everywhere alike, near 0 for one spot.

    The inverse participation ratio: the square of the sum over the sum of the squares, as a share
    of the pixels. A lamp changes the map everywhere, a defect in one place.

    Args:
        maps: (N, S, S), not negative.
    """
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    squares = np.square(flat).sum(1)
    sums = np.square(flat.sum(1))
    extent = np.divide(
        sums, squares, out=np.full(len(maps), flat.shape[1] * 1.0), where=squares > 0
    )
    return np.asarray(extent / flat.shape[1])


def _score(detector: Detector, images: Tensor) -> dict[str, NDArray[np.generic]]:
    scores = detector.score(images)
    decided = detector.decide(images, scores)
    matched = detector.score_matched(images)
    return {
        "pred_score": scores.pred_score,
        "pred_label": decided.pred_label,
        "p_value": decided.p_value,
        "matched_score": matched.pred_score,
        "is_suspect": matched.pred_score > detector.matched_calibration.image_threshold,
        "map_extent": map_extent(matched.anomaly_map),
    }
