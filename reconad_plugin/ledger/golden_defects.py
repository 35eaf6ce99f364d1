"""Confirmed defects in the golden set: they follow what persons decide on their images."""

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import date
from typing import Final

import pandas as pd

from reconad_plugin.ledger.deciding import Decision, says
from reconad_plugin.ledger.night_record import DEFECT, NightRecords
from reconad_plugin.store.golden_notes import note_golden, read_golden_notes
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore

UNNAMED: Final = "unnamed"  # a golden defect without a name


def write_decision(
    store: ObjectStore,
    layout: ProductLayout,
    night: date,
    decision: Decision,
    change: Callable[[pd.DataFrame], pd.DataFrame],
) -> pd.DataFrame:
    """Write a decision into a night's review, and have the golden set follow: what is no defect any
    more leaves it, and the others are called as they are called now.

    Only images that hold the decision afterwards count, so none where somebody was faster.

    Args:
        store: the bucket.
        layout: the product's keys.
        night: whose images were decided on.
        decision: what is said.
        change: writes it into the review; see ``NightRecords.change_review``.

    Returns:
        The review with the decision.

    Raises:
        DamagedRecordError: it cannot be read what waits, or what is golden; then the decision
            stands.
        StorageError: the bucket cannot be read or written; the golden set follows when the decision
            is given again.
    """
    review = NightRecords(store, layout).change_review(night, change)
    decided = set(review["sha256"][says(review, decision)])
    _follow(store, layout, decided, decision)
    return review


def _follow(
    store: ObjectStore, layout: ProductLayout, decided: Collection[str], decision: Decision
) -> None:
    """Note what a decision on images, named by their SHA-256, makes of those that are golden."""
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
        if note.sha256 in decided and note.is_golden and not (is_defect and note.defect == called)
    ]
    if changed:
        note_golden(store, layout, changed)
