"""Take in a night: every object gets its row, none is lost."""

from datetime import date
from typing import Final

import pandas as pd
from prefect import flow, get_run_logger
from prefect.runtime import task_run

from flows.jobs.ledger import read_history
from flows.jobs.product import Product, open_product
from flows.runtime.events import emit
from flows.runtime.steps import STORAGE_RETRIES, fails_clearly, step
from reconad_plugin.config.event_names import IMAGES_QUARANTINED
from reconad_plugin.config.names import parse_night
from reconad_plugin.errors import StorageError, StorageUnreachableError
from reconad_plugin.ledger import manifest as manifests
from reconad_plugin.ledger.repeats import most_repeated
from reconad_plugin.ledger.splits import SplitRules, first_group
from reconad_plugin.watch.delivery import hung_camera
from reconad_plugin.watch.explanation import describe_faults

VERDICTS: Final = (manifests.ACCEPTED, manifests.QUARANTINED, manifests.DUPLICATE)
MOST_REASONS: Final = 100  # in one event, which Prefect takes up to 1.5 MB


@flow(name="ingest", flow_run_name="ingest {product} {night}")
@fails_clearly
def ingest(product: str, night: date) -> dict[str, int]:
    """Validate what arrived for a night and write its manifest.

    Returns:
        How many images have each verdict.

    Raises:
        StorageError: the bucket is not there, or access is refused.
    """
    night = parse_night(night)
    opened = open_product(product)
    manifest = make_manifest(opened, night)
    report_quarantined(opened, night, manifest)
    if fault := hung_camera(most_repeated(manifest)):
        get_run_logger().warning("night %s: %s", night, *describe_faults([fault]))
    if unmatched := describe_untold_parts(opened, manifest):
        get_run_logger().warning("night %s: %s", night, unmatched)
    counts = manifest["verdict"].value_counts()
    summary = {name: int(counts.get(name, 0)) for name in VERDICTS}
    get_run_logger().info("night %s: %s", night, summary)
    return summary


@step(**STORAGE_RETRIES)
def make_manifest(product: Product, night: date) -> pd.DataFrame:
    """Make the night's manifest, or keep it where the bucket still holds the same objects."""
    store, layout, pattern = product.store, product.layout, product.settings.position_pattern
    known = product.manifest(night)
    if known is not None and manifests.is_current(store, layout, known, night, pattern):
        return known
    is_closed = read_history(product).is_closed(night)
    is_last_try = (task_run.run_count or 0) > STORAGE_RETRIES["retries"]
    splits = SplitRules(product.settings.part_pattern, product.settings.split_by)
    rules = manifests.IntakeRules(product.intake_limits, pattern, splits, is_closed, is_last_try)
    manifest = manifests.build_manifest(store, product.cache, layout, night, rules, known)
    if len(manifest) or known is not None:
        manifests.write_manifest(store, layout, night, manifest)
    return manifest


def describe_untold_parts(product: Product, manifest: pd.DataFrame) -> str | None:
    """Describe accepted images whose name tells no part; None without, or without a pattern."""
    pattern = product.settings.part_pattern
    if pattern is None:
        return None
    keys = manifest.loc[manifest["verdict"] == manifests.ACCEPTED, "key"]
    untold = [key for key in keys if not first_group(pattern, product.layout.name_of(key))]
    if not untold:
        return None
    return (
        f"part_pattern {pattern!r} finds no part in {len(untold)} of {len(keys)} images, such as "
        f"{untold[0]}: each of them counts as a part of its own; correct the pattern before more "
        "nights are dealt by it"
    )


@step()
def report_quarantined(product: Product, night: date, manifest: pd.DataFrame) -> None:
    """Note why images were quarantined, and emit how many, with the first reasons.

    A note that cannot be written stops no night: its reason stands in the manifest.
    """
    rows = manifest[manifest["verdict"] == manifests.QUARANTINED].to_dict("records")
    for row in rows:
        try:
            product.records.write_quarantine_note(night, row)
        except StorageUnreachableError as error:  # each of the others would wait as long
            get_run_logger().warning("the notes on quarantined images were given up: %s", error)
            break
        except StorageError as error:
            get_run_logger().warning("a note on a quarantined image is missing: %s", error)
    if rows:
        reasons = {row["key"]: row["reason"] for row in rows[:MOST_REASONS]}
        payload = {"night": night.isoformat(), "images": len(rows), "reasons": reasons}
        emit(IMAGES_QUARANTINED, product.name, payload)
