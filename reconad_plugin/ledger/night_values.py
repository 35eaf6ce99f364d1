"""A night in the few numbers that it has as a whole, for dashboards and runs."""

from typing import Final

from reconad_plugin.ledger.golden_figures import GoldenFigures
from reconad_plugin.ledger.night_record import NightRecord
from reconad_plugin.watch.cause import CAUSES

NIGHT_VALUES: Final = (
    "alarm", *(f"alarm_{cause}" for cause in CAUSES), "open_nights", "farthest", "model_version",
    "image_threshold", "retrained", "promoted", "golden_auroc", "golden_recall", "golden_floor",
)  # fmt: skip


def night_values(
    record: NightRecord, image_threshold: float | None, is_retrained: bool, is_promoted: bool
) -> dict[str, float]:
    """Return what a night has as a whole: ``NIGHT_VALUES`` by name.

    ``farthest`` is how far the farthest of all tests is on the way to its limit: above 1 it fails.
    ``model_version`` is left out where it is no number, as a registered version's is, and
    ``image_threshold`` where nobody knows it any more.
    ``open_nights`` counts from the night that the open alarm began on, and is 0 without an alarm.
    Those of the golden set are left out where it is not followed, and its floor where none is set.
    A version was trained or promoted where it was since the night before.
    """
    seen = {record.cause, *record.also} if record.is_alarm else set()
    version = record.model_version
    return {
        "alarm": float(record.is_alarm),
        **{f"alarm_{cause}": float(cause in seen) for cause in CAUSES},
        "open_nights": float(record.open_nights),
        "farthest": max((each.share_of_limit for each in record.results), default=0.0),
        **({"model_version": float(version)} if version.isdecimal() else {}),
        **({} if image_threshold is None else {"image_threshold": image_threshold}),
        "retrained": float(is_retrained),
        "promoted": float(is_promoted),
        **(_golden_values(record.golden) if record.golden else {}),
    }


def _golden_values(golden: GoldenFigures) -> dict[str, float]:
    values = {"golden_auroc": golden.auroc, "golden_recall": golden.recall}
    return values if golden.floor is None else {**values, "golden_floor": golden.floor}
