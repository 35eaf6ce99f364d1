"""Whether an alarm is still open, and from which nights on the world is a new one."""

from datetime import date

from flows.jobs.product import Product
from mlflow_models import registry
from reconad_plugin.ledger.night_record import NightRecord


def new_levels(product: Product, night: date) -> set[str]:
    """Earlier nights from which on the world as it was then is the normal one: a version that
    served was fine-tuned for it, or a person said so. A rollback takes that back."""
    adapted = {
        version.tags[registry.NIGHT_TAG]
        for version in registry.versions(product.name)
        if version.tags.get(registry.PURPOSE_TAG) == "finetune"
        and registry.NIGHT_TAG in version.tags
        and version.tags.get(registry.PROMOTED_NIGHT_TAG, "9999") < night.isoformat()
        and not version.is_rolled_back
    }
    resolved = {day.isoformat() for day in product.records.resolved_nights(before=night)}
    return adapted | resolved


def open_alarm(records: dict[date, NightRecord], accepted: set[str]) -> tuple[str, str] | None:
    """Cause of the last night's alarm and the night it began; None where there is none, or
    something has ended it.

    Args:
        records: of the nights that were watched.
        accepted: see ``new_levels``.
    """
    if not records:
        return None
    last = records[max(records)]
    if not last.is_alarm or any(last.began <= each <= last.night for each in accepted):
        return None
    return last.cause, last.began
