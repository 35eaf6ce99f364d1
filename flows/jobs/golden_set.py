"""What the version that scored a night makes of the golden set, followed from night to night."""

from dataclasses import replace
from datetime import date

from flows.jobs.night import ScoredNight
from flows.jobs.product import Product
from mlflow_models.tracking import filled_from
from reconad_plugin.errors import NotEnoughImagesError
from reconad_plugin.gate.golden import GoldenSet, read_golden
from reconad_plugin.gate.golden_figures import count_defects, hash_golden, measure
from reconad_plugin.gate.limits import LIMITS
from reconad_plugin.ledger.golden_figures import GoldenFigures
from reconad_plugin.ledger.ledger import Ledger
from reconad_plugin.store.golden_images import GoldenImages, read_golden_images


def follow_golden(
    product: Product, ledger: Ledger, night: date, scored: ScoredNight
) -> GoldenFigures | None:
    """Return the figures of the version that scored a night, on the golden images as they are now.

    They are those of the night before where version, threshold and golden images are the same. A
    night that was watched before a later one keeps what it had, since the golden images have
    changed meanwhile; None where it had nothing.

    Raises:
        NotEnoughImagesError: too few real defects are golden.
        ReconadError: a golden image cannot be read, or lies in no folder; or a score is no number.
    """
    if any(later > night for later in ledger.records):
        past = ledger.records.get(night)
        return past.golden if past and past.model_version == scored.version.number else None
    golden = read_golden_images(product.store, product.cache, product.layout, product.limits)
    if golden.unreadable:  # the gate judges nothing without it either
        raise golden.unreadable[0]
    defects = count_defects(golden, product.part_of)
    if defects < LIMITS.fewest_followed:
        raise _too_few(product, defects)
    images, known = hash_golden(golden), _figures_before(ledger, night, scored)
    if known is not None and known.images == images:
        return replace(known, floor=product.settings.golden_floor)
    found = _read(product, golden, scored)
    return measure(scored.detector, found, images, product.settings.golden_floor)


def _too_few(product: Product, defects: int) -> NotEnoughImagesError:
    return NotEnoughImagesError(
        f"the golden set is followed from {LIMITS.fewest_followed} real defects on; {product.name} "
        f"has {defects}: put more in from the review page"
    )


def _read(product: Product, golden: GoldenImages, scored: ScoredNight) -> GoldenSet:
    """Read the golden images at the size of a version; no night's training learns them, but a
    defect may have filled simulated anomalies before it became golden."""
    size, learnt = scored.detector.image_size_px, frozenset(filled_from(scored.version)["sha256"])
    found = read_golden(golden, size, product.intake_limits, fitted_to=(), filled_from=learnt)
    defects = 0 if found is None else len(found.anomalous)
    if found is None or (learnt and defects < LIMITS.fewest_followed):
        raise _too_few(product, defects)
    if product.part_of is None:
        return found
    return replace(found, labels=found.labels.with_parts(product.part_of))


def _figures_before(ledger: Ledger, night: date, scored: ScoredNight) -> GoldenFigures | None:
    """Return the figures of the last watched night, if they are of the same version held against
    the same threshold."""
    last = ledger.last_record(before=night)
    if last is None or last.golden is None or last.model_version != scored.version.number:
        return None
    is_same = last.golden.image_threshold == scored.detector.calibration.image_threshold
    return last.golden if is_same else None
