"""A threshold of a version: tried on what is known, and set by a person."""

from dataclasses import dataclass

import pandas as pd

from flows.jobs.ledger import open_ledger, see_history
from flows.jobs.product import Product
from mlflow_models import flavor, registry
from reconad_plugin.detector.calibration import Calibration
from reconad_plugin.gate.threshold_trial import gather_trial, score_missing
from reconad_plugin.store.golden_images import read_golden_images


@dataclass(frozen=True)
class Trial:
    """A version, and the images that tell what another threshold would do."""

    version: registry.Version
    calibration: Calibration  # as it was calibrated
    images: pd.DataFrame  # see ``threshold_trial.gather_trial``, all with a score

    @property
    def calibrated(self) -> float:
        """The threshold that calibration set."""
        return self.calibration.image_threshold


def open_trial(product: Product, version: registry.Version) -> Trial:
    """Gather the images of a product that tell what a threshold would do, and score them where the
    version has not done so.

    Raises:
        InvalidImageError: a golden image lies in no folder that says what it shows.
        ReconadError: the version cannot be loaded, or the bucket not be read.
    """
    ledger = open_ledger(product, see_history(product))
    golden = read_golden_images(product.store, product.cache, product.layout, product.limits)
    detector = flavor.load_calibrated(version.uri)
    found = gather_trial(ledger, golden, version.number)
    images = score_missing(found, detector, product.read_image, product.limits)
    return Trial(version, detector.calibration, images)
