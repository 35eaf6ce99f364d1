"""The first images are checked before a version learns them: those that stand out wait."""

from dataclasses import dataclass
from datetime import date

import pandas as pd

from flows.jobs.ledger import open_ledger_to_train
from flows.jobs.product import Product
from flows.jobs.training_job import hash_of
from reconad_plugin.ledger.eligibility import Status, waiting_images
from reconad_plugin.ledger.first_check import FirstCheck
from reconad_plugin.ledger.night_record import WAITING
from reconad_plugin.networks.registry import RANDOM_FEATURES
from reconad_plugin.training.first_images import (
    MOST_DEVIATIONS,
    SIZE,
    find_outliers,
    measure_deviations,
)
from reconad_plugin.training.images import parts_told
from reconad_plugin.training.pretrained_features import find_weights

WHY = "unlike the first images"


@dataclass(frozen=True)
class HeldImages:
    """Those of the first images that stood out."""

    rows: pd.DataFrame  # ``key`` and ``night`` of each that still waits for a person

    @property
    def remark(self) -> str:
        """What a person reads of it; empty where none waits."""
        count, nights = len(self.rows), sorted(set(self.rows["night"]))
        if not count:
            return ""
        images = "1 image that is" if count == 1 else f"{count} images that are"
        return f"; {images} unlike the others of {', '.join(nights)} wait for review"


def hold_outliers(product: Product, night: date) -> HeldImages:
    """Queue for review what stands out among the images of all nights up to one, before the first
    version learns any; nothing once a version has served.

    What was found is kept, so that the same images lead to the same answer wherever and whenever
    the night is run again.

    Raises:
        StorageError: the bucket cannot be read.
    """
    ledger = open_ledger_to_train(product).as_of(night)
    if ledger.history.founding_until is not None:
        return HeldImages(pd.DataFrame(columns=["key", "night"]))
    rows = ledger.without_waiting().training_images(product.settings.target_fpr)
    rows = product.with_parts(product.still_there(rows))
    checked = hash_of(
        {"images": rows["sha256"].tolist(), "parts": parts_told(rows), "limit": MOST_DEVIATIONS}
    )
    known = product.records.first_check()
    if known is None or known.checked != checked:
        known = FirstCheck(checked, len(rows), _measure(product, rows))
        product.records.write_first_check(known)
    stand_off = rows["sha256"].map(known.held)
    rows = rows.assign(is_outlier=stand_off.notna(), pred_score=stand_off, why=WHY)
    held = rows[waiting_images(rows, Status.FOUNDING)]
    held = held.assign(matched_score=held["pred_score"])
    for day, of_day in held.groupby("night"):
        product.records.ask_for_review(date.fromisoformat(str(day)), of_day)
    return still_waiting(product, sorted(set(held["night"])))


def still_waiting(product: Product, nights: list[str]) -> HeldImages:
    """Return what of some nights stood out among the first images and no person has decided on."""
    reviews = [product.records.review(date.fromisoformat(day)) for day in nights]
    rows = pd.concat([pd.DataFrame(columns=["key", "night", "why", "decision"]), *reviews])
    is_open = (rows["why"] == WHY) & (rows["decision"] == WAITING)
    return HeldImages(rows.loc[is_open, ["key", "night"]].reset_index(drop=True))


def _measure(product: Product, rows: pd.DataFrame) -> dict[str, float]:
    """Return how far each image that stands out does, by its SHA-256."""
    settings = product.settings
    features = settings.features if find_weights(settings.features) is not None else RANDOM_FEATURES
    images = product.load_images(rows, SIZE)
    deviations = measure_deviations(images, features, parts_told(rows), settings.seed)
    found = zip(rows["sha256"], deviations.tolist(), find_outliers(deviations), strict=True)
    return {sha256: round(deviation, 3) for sha256, deviation, is_out in found if is_out}
