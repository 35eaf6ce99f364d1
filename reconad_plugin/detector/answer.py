"""What is said of one image, and how pictures and maps travel as text: the contract of serving.

Whoever asks a server needs this alone, and no network.
"""

import base64
import binascii
import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reconad_plugin.detector.regions_found import RegionsFound
from reconad_plugin.errors import InvalidImageError

MAP_COLUMN: Final = "anomaly_map"
REGIONS_COLUMN: Final = "regions_found"
CONTEXT_COLUMN: Final = "context"
MAP_FULL_SCALE: Final = 2.0  # a map's brightest grey stands for this many times the threshold


@dataclass(frozen=True)
class Prediction:
    """What is said of one image."""

    pred_score: float | None  # higher is more anomalous; None for a row that could not be read
    pred_label: bool | None  # whether the score is above the threshold
    # the threshold that it was held against, that of its light where there are levels
    image_threshold: float
    p_value: float | None  # share of held-out normal images that score at least this
    # base64 of a grey PNG, 0 to ``MAP_FULL_SCALE`` times the threshold, if asked
    anomaly_map: str | None
    model_version: str  # the version that answered
    error: str | None  # why the row could not be read, else None
    # areas of the map above the pixel threshold, if asked; None as well for a version without one
    regions_found: RegionsFound | None = None
    # the camera position, or variant, that it was held against, told or recognised; None where the
    # version does not know it, or has none
    context: str | None = None


def encode_map(anomaly_map: NDArray[np.float32], threshold: float) -> str:
    """Encode a (S, S) map as base64 of a grey PNG; see ``scale_map``."""
    buffer = io.BytesIO()
    Image.fromarray(scale_map(anomaly_map, threshold)).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def scale_map(anomaly_map: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """Bring a (S, S) map to 256 greys; the threshold is mid-grey."""
    return (anomaly_map / (MAP_FULL_SCALE * threshold) * 255).clip(0, 255).astype(np.uint8)


def decode_base64(encoded: object, what: str = "an image") -> bytes:
    """Return the bytes of base64 text, with or without a data URI's head and line breaks.

    Raises:
        InvalidImageError: it is something else; ``what`` names it.
    """
    if not isinstance(encoded, str):
        got = "nothing" if encoded is None or encoded != encoded else type(encoded).__name__
        raise InvalidImageError("not_base64", f"{what} must be base64 text; got {got}")
    try:
        text = "".join((encoded.partition("base64,")[2] or encoded).split())
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidImageError(
            "not_base64", f"{what} must be base64 text; got {len(encoded)} other characters"
        ) from None
