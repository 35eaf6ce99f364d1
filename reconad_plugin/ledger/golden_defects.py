"""Confirmed defects in the golden set: they follow what persons decide on their images."""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from reconad_plugin.ledger.deciding import Decision
from reconad_plugin.ledger.night_record import DEFECT
from reconad_plugin.store.golden_notes import note_golden, read_golden_notes
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore

UNNAMED: Final = "unnamed"  # a golden defect without a name


def follow_decision(
    store: ObjectStore, layout: ProductLayout, hashes: Collection[str], decision: Decision
) -> None:
    """Take what is no defect any more out of the golden set, and call the others as they are called
    now.

    Args:
        store: the bucket.
        layout: the product's keys.
        hashes: SHA-256 of the images that were decided on; most are not golden.
        decision: what was said of them.

    Raises:
        DamagedRecordError: it cannot be read what is golden.
        StorageError: the bucket cannot be read or written.
    """
    is_defect, called = decision.decision == DEFECT, decision.defect or UNNAMED
    changed = [
        replace(
            note,
            defect=called if is_defect else note.defect,
            is_golden=is_defect,
            by=decision.by,
            at=decision.at,
        )
        for note in read_golden_notes(store, layout)
        if note.sha256 in hashes and note.is_golden and not (is_defect and note.defect == called)
    ]
    if changed:
        note_golden(store, layout, changed)
