"""What an answered picture becomes in the prediction log: a row of it, with its features."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from mlflow_models.serving.shadow import Shadow
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.prediction import Observed
from reconad_plugin.detector.score_table import map_cells, map_extent
from reconad_plugin.errors import InvalidImageError
from reconad_plugin.images.decode import count_pixels, decode_image
from reconad_plugin.images.features import describe_image, hash_pixels
from reconad_plugin.images.region import pixels_inside
from reconad_plugin.ledger.served import ServedRow


@dataclass(frozen=True, eq=False)
class Answered:
    """What a request hands over of one row."""

    observed: Observed
    detector: Detector
    time: datetime  # when its request came
    latency_ms: float  # since then
    reference: str | None
    answered_s: float  # by the clock that does not jump

    @property
    def pixels(self) -> int:
        """Of its picture at its full size; 0 where none was read."""
        if self.observed.content is None or self.observed.anomaly_map is None:
            return 0
        try:
            return count_pixels(self.observed.content)
        except InvalidImageError:
            return 0

    @property
    def size_bytes(self) -> int:
        """What it holds in memory."""
        shown = self.observed.anomaly_map
        return len(self.observed.content or b"") + (0 if shown is None else shown.nbytes)


def describe(
    answered: Answered, keeps_picture: bool, is_in_time: bool, shadow: Shadow | None = None
) -> ServedRow:
    """Compute what the log has of a row beside what was answered; where there is no time, only
    what takes none."""
    detector, prediction = answered.detector, answered.observed.prediction
    content, shown = answered.observed.content, answered.observed.anomaly_map
    features, pixels_sha256 = dict[str, float](), ""
    if is_in_time and content is not None and shown is not None:
        try:
            image = decode_image(content, detector.limits)
            features, pixels_sha256 = describe_image(image), hash_pixels(image)
        except InvalidImageError:  # too damaged at its full size
            pass
    sha256 = "" if content is None else hashlib.sha256(content).hexdigest()
    seen = None
    if shadow is not None and content is not None and prediction.error is None:
        seen = shadow.look(content, sha256, prediction.context)
    maps = None if shown is None else shown[None]
    return ServedRow(
        time=answered.time,
        reference=answered.reference,
        context=prediction.context,
        model_version=prediction.model_version,
        engine=detector.engine.name,
        pred_score=prediction.pred_score,
        pred_label=prediction.pred_label,
        p_value=prediction.p_value,
        image_threshold=prediction.image_threshold,
        latency_ms=answered.latency_ms,
        sha256=sha256,
        pixels_sha256=pixels_sha256,
        features=features,
        map_extent=None
        if maps is None
        else float(map_extent(pixels_inside(maps, detector.region))[0]),
        map_cells=None if maps is None else map_cells(maps, prediction.image_threshold)[0],
        error=prediction.error,
        shadow_version=None if seen is None else seen.model_version,
        shadow_score=None if seen is None else seen.pred_score,
        shadow_label=None if seen is None else seen.pred_label,
        picture=content if keeps_picture and prediction.pred_label else None,
    )
