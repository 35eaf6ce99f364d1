"""A product as the review page needs it."""

from collections.abc import Callable
from dataclasses import dataclass

from reconad_plugin.detector.detector import Detector
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.ledger.night_record import NightRecords
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore


@dataclass(frozen=True)
class ReviewedProduct:
    """What the page reads and writes of one product."""

    name: str
    store: ObjectStore
    cache: ContentCache
    layout: ProductLayout
    records: NightRecords
    limits: ImageLimits
    load_detector: Callable[[str], Detector]  # loads a version by its number

    def read_image(self, sha256: str, key: str) -> bytes:
        """Read the bytes of an accepted image, from the cache where they are there."""
        return self.cache.get(sha256, lambda: self.store.read(key).content)
