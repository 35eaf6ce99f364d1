"""The table of a night's scores: what the watch and the choice of training images read."""

from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.windows import Pictures
from reconad_plugin.images.features import FEATURES
from reconad_plugin.images.region import pixels_inside

# from the manifest, as FEATURES
OF_ROWS: Final = ("key", "sha256", "pixels_sha256", "night", "split", "position")
SCORE, LABEL, P_VALUE = "pred_score", "pred_label", "p_value"
SAID: Final = (SCORE, P_VALUE)  # what a night takes of an image that was served
OF_SCORES: Final = (SCORE, LABEL, P_VALUE, "matched_score", "is_suspect")
COLUMNS: Final = (*OF_ROWS, "model_version", *OF_SCORES, "map_extent", "map_cells", *FEATURES)

CELLS: Final = 16  # of a map along each side, whatever its shape
FLOOR: Final = 0.01  # of the threshold, below which a cell shows nothing

CHUNK_IMAGES: Final = 256  # scored at once, so that the maps of a large night fit in memory


def score_table(
    detector: Detector,
    rows: pd.DataFrame,
    images: Pictures,
    model_version: str,
    said: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Score a night's accepted images.

    Args:
        detector: the model in service.
        rows: accepted rows of the manifest.
        images: their pixels, (N, 3, S, S) uint8, in the same order.
        model_version: its number in the registry.
        said: ``SAID`` of each row, as this version said it when the image was served; null where
            it did not, and the image is scored as it came here. The label follows from the
            threshold that is in force now, and the light is matched here in any case.

    Returns:
        One row an image with ``COLUMNS``. ``matched_score`` is the score after the picture's
        light was brought to the reference; ``is_suspect`` says that it is above its own
        threshold: anomalous for another reason than the light. ``map_extent`` and ``map_cells``
        are of the map with the light matched; see there. Each picture is looked at where its
        camera position has its region.
    """
    chunks = [slice(start, start + CHUNK_IMAGES) for start in range(0, len(rows), CHUNK_IMAGES)]
    positions = rows["position"].tolist()
    if said is None:
        said = pd.DataFrame(index=rows.index, columns=list(SAID))
    scored = [
        _score(detector, images[chunk], positions[chunk], said.iloc[chunk]) for chunk in chunks
    ]
    columns = {name: np.concatenate([chunk[name] for chunk in scored]) for name in scored[0]}
    table = rows[[*OF_ROWS, *FEATURES]].reset_index(drop=True)
    table = table.assign(**columns | {"map_cells": list(columns["map_cells"])})
    return table.assign(model_version=model_version)[list(COLUMNS)]


def map_extent(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how much of what counts of a picture its map covers, (N, S, S) or (N, P) and not
    negative: 1 where it is everywhere alike, near 0 for one spot.

    The inverse participation ratio: the square of the sum over the sum of the squares, as a share
    of the pixels. A lamp changes the map everywhere, a defect in one place.
    """
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    squares, extent = np.square(flat).sum(1), np.full(len(maps), flat.shape[1] * 1.0)
    np.divide(np.square(flat.sum(1)), squares, out=extent, where=squares > 0)
    return extent / flat.shape[1]


def map_cells(maps: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Return what a map shows in each of 16 x 16 cells: logarithms of their means.

    Args:
        maps: (N, H, W), not negative; H and W multiples of 16.
        threshold: of the score, above 0; tells what is next to nothing.

    Returns:
        (N, 256), row by row.
    """
    count, height, width = maps.shape
    means = maps.reshape(count, CELLS, height // CELLS, CELLS, width // CELLS).mean((2, 4))
    logarithms = np.log(means / max(threshold, 1e-12) + FLOOR)
    return np.asarray(logarithms.reshape(count, CELLS**2), np.float32)


def _score(
    detector: Detector, images: Pictures, positions: list[str], said: pd.DataFrame
) -> dict[str, NDArray[np.generic]]:
    at = np.flatnonzero(said["pred_score"].isna())
    new = images[at]
    scores = detector.score(new, [positions[index] for index in at])
    columns = {name: said[name].to_numpy(copy=True) for name in SAID}
    fresh = (scores.pred_score, detector.decide(new, scores).p_value)
    for name, values in zip(columns, fresh, strict=True):
        columns[name][at] = values
        columns[name] = columns[name].astype(values.dtype)
    all_scores = replace(scores, pred_score=columns[SCORE])
    matched = detector.score_matched(images, positions)
    calibrated = detector.matched_calibration.image_threshold  # what cells mean stays comparable
    return {
        **columns,
        LABEL: detector.decide(images, all_scores).pred_label,
        "matched_score": matched.pred_score,
        "is_suspect": matched.pred_score > detector.matched_threshold,
        "map_extent": map_extent(pixels_inside(matched.anomaly_map, detector.region)),
        "map_cells": map_cells(matched.anomaly_map, calibrated),
    }
