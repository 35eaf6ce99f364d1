"""A threshold of a version: tried on what is known, and set by a person."""

from flows.jobs.ledger import open_ledger, see_history
from flows.jobs.product import Product
from mlflow_models import flavor, registry
from reconad_plugin.gate.threshold_trial import Trial, gather_trial, score_missing
from reconad_plugin.images.lens import limits_with
from reconad_plugin.store.golden_images import read_golden_images


def open_trial(product: Product, version: registry.Version) -> Trial:
    """Gather the images of a product that tell what a threshold would do, and score them where the
    version has not done so.

    Raises:
        ReconadError: the version cannot be loaded, or the bucket not be read.
    """
    ledger = open_ledger(product, see_history(product))
    golden = read_golden_images(product.store, product.cache, product.layout, product.limits)
    detector = flavor.load_calibrated(version.uri)
    found = gather_trial(ledger, golden, version.number)
    limits = limits_with(detector.lens, product.limits)
    images = score_missing(found, detector, product.read_image, limits)
    calibrated = detector.calibration.image_threshold
    nights = {
        record.night: record.statistics.set_threshold or calibrated
        for night in ledger.records
        if (record := ledger.records.get(night)) and record.model_version == version.number
    }
    return Trial(version.number, calibrated, version.thresholds, images, nights)
