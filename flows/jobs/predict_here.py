"""Predictions of a version that is loaded here."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mlflow_models import flavor
from reconad_plugin.detector.answer import Prediction
from reconad_plugin.detector.prediction import predict_contents
from reconad_plugin.images.names import read_file
from reconad_plugin.ledger.manifest import camera_position


def predict_here(
    model_uri: str, images: Sequence[Path], with_map: bool = False, max_pixels: int | None = None
) -> list[Prediction]:
    """Predict picture files in their order, with what was found in them; ``max_pixels`` of a
    picture in place of the version's own limit."""
    contents = [partial(read_file, path) for path in images]
    detector = flavor.load_model(model_uri).taking(max_pixels)
    known = detector.known_contexts
    told = None
    if known is not None and known.pattern is not None:
        told = [camera_position(path.name, known.pattern) for path in images]
    return predict_contents(
        detector, contents, model_uri, with_map=with_map, with_regions=True, contexts=told
    )
