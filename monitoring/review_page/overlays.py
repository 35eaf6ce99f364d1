"""What the version that judged a night sees in its images: maps laid over pictures."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from monitoring.review_page.bounded import Bounded
from monitoring.review_page.pictures import shrink_picture, to_jpeg
from monitoring.review_page.product import ReviewedProduct
from reconad_plugin.detector.answer import scale_map
from reconad_plugin.detector.detector import Detector
from reconad_plugin.errors import ReconadError
from reconad_plugin.images.geometry import decode_to_size, stack_images
from reconad_plugin.plots.overlays import draw_overlay

MOST_OVERLAYS: Final = 200
MOST_VERSIONS: Final = 2  # loaded at one time


@dataclass(frozen=True)
class AskedImage:
    """An image, and who judged it how."""

    sha256: str
    key: str
    position: str  # of the camera; empty where the product has one
    version: str  # that judged its night
    is_matched: bool  # whether its light was matched for that


@dataclass(frozen=True)
class SeenImage:
    """What a version sees in an image."""

    overlay: bytes  # a JPEG
    score: float
    threshold: float  # that the score was held against
    has_region: bool  # whether only a part of the picture counts


class Overlays:
    """Makes overlays for one thread; keeps some of them, and the versions that make them."""

    def __init__(self) -> None:
        self._seen = Bounded[SeenImage](MOST_OVERLAYS)
        self._detectors = Bounded[Detector](MOST_VERSIONS)
        self._failures: dict[tuple[str, str], ReconadError] = {}

    def see(self, product: ReviewedProduct, image: AskedImage) -> SeenImage:
        """Return what the version of an image sees in it.

        Raises:
            ReconadError: the version cannot be loaded, or the image not be read.
        """

        def make() -> SeenImage:
            return _see(self._detector(product, image.version), product, image)

        return self._seen.get((product.name, image), make)

    def forgive(self, product: str) -> None:
        """Try again from now on what could not be loaded of a product."""
        failures = dict(self._failures)  # what makes overlays may add to them meanwhile
        self._failures = {name: why for name, why in failures.items() if name[0] != product}

    def _detector(self, product: ReviewedProduct, version: str) -> Detector:
        """Load a version; one that could not be loaded is not asked for at each image."""
        name = product.name, version
        if name in self._failures:
            raise self._failures[name]
        load: Callable[[], Detector] = lambda: product.load_detector(version)  # noqa: E731
        try:
            return self._detectors.get(name, load)
        except ReconadError as error:
            self._failures[name] = error
            raise


def _see(detector: Detector, product: ReviewedProduct, image: AskedImage) -> SeenImage:
    content = product.read_image(image.sha256, image.key)
    size = detector.image_size_px
    pixels = stack_images([decode_to_size(content, size, product.limits)], size)
    positions = [image.position]
    if image.is_matched:
        scores = detector.score_matched(pixels, positions)
        threshold = detector.matched_threshold
    else:
        scores = detector.score(pixels, positions)
        threshold = float(detector.decide(pixels, scores).image_threshold[0])
    shown = shrink_picture(content, "shown", product.limits)
    region = detector.region
    inside = None if region is None else region.of(positions)[0]
    drawn = draw_overlay(shown, _to_png(scale_map(scores.anomaly_map[0], threshold)), inside)
    overlay = to_jpeg(Image.open(io.BytesIO(drawn)))
    return SeenImage(overlay, float(scores.pred_score[0]), threshold, region is not None)


def _to_png(grey: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG")
    return buffer.getvalue()
