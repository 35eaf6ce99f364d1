"""A product as the review page needs it."""

from collections.abc import Callable
from dataclasses import dataclass

from reconad_plugin.detector.detector import Detector
from reconad_plugin.gate.threshold_trial import Trial
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.ledger.night_record import NightRecords
from reconad_plugin.ledger.threshold_setting import ThresholdSetting
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
    # gathers what tells which threshold of the version that serves is right
    open_trial: Callable[[], Trial]
    # sets the threshold of a version, by its number, where so many settings were seen; returns all
    set_threshold: Callable[[str, ThresholdSetting, int], tuple[ThresholdSetting, ...]]

    def read_image(self, sha256: str, key: str) -> bytes:
        """Read the bytes of an accepted image, from the cache where they are there."""
        return self.cache.get(sha256, lambda: self.store.read(key).content)
