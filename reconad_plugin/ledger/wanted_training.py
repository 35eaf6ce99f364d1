"""The training that a product needs and waits for, where the products share a night's minutes.

The nightly run notes what is needed; the dispatcher deals the minutes out and notes what came of
it.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from functools import partial
from typing import Final

from reconad_plugin.ledger.read_back import check_types, reading_back, unless_damaged
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore


class Need(StrEnum):
    """Why a training is needed."""

    FIRST = "first version"
    DRIFT = "drift"
    GOLDEN_FLOOR = "golden_floor"
    DUE = "retraining"

    @property
    def head_start(self) -> timedelta:
        """How far it goes before others that asked on the same night."""
        return timedelta(0 if self is Need.DUE else HEAD_START_NIGHTS)


HEAD_START_NIGHTS: Final = 7  # of what cannot wait before what is merely due


@dataclass(frozen=True)
class WantedTraining:
    """A training that a product asked for. Nights are written ``YYYY-MM-DD``."""

    need: Need
    night: str  # the night to train on
    since: str  # the night that it was first needed on
    minutes: float  # it may last
    is_open: bool = True  # whether it still waits, or is at work
    # what the dispatcher notes
    rank: str | None = None  # a night, which it is ordered by: the lower goes first
    tried: str | None = None  # the last night that it was started on
    is_awaited: bool = False  # whether nobody has seen yet how that ended
    expected: str | None = None  # the night that its turn comes on at the latest

    def ranked(self, tonight: date) -> "WantedTraining":
        """Give it its rank: as of the first night that a dispatcher saw it on, less its head start.
        It keeps a better one that it has."""
        rank = (tonight - self.need.head_start).isoformat()
        return replace(self, rank=rank if self.rank is None else min(rank, self.rank))

    def started(self, tonight: date) -> "WantedTraining":
        """Note that it is started tonight."""
        return replace(self, tried=tonight.isoformat(), is_awaited=True, expected=None)

    def behind(self, night: date) -> "WantedTraining":
        """Put it behind all that asked before a night, after it failed."""
        rank = (night - self.need.head_start).isoformat()
        return replace(self, rank=rank, is_awaited=False)

    def done(self) -> "WantedTraining":
        """Note that it waits no more."""
        return replace(self, is_open=False, is_awaited=False, expected=None)

    def asked_again(self, before: "WantedTraining | None") -> "WantedTraining":
        """Keep its turn from the note of the night before, if that is still open."""
        if before is None or not before.is_open:
            return self
        return replace(before, need=self.need, night=self.night, minutes=self.minutes)

    def __str__(self) -> str:
        if self.is_awaited:
            return f"{self.need}, since {self.since}; it was started on {self.tried}"
        soon = f"; its turn comes by {self.expected}" if self.expected else ""
        return f"{self.need}, since {self.since}{soon}"

    def to_json(self) -> bytes:
        """Write it as JSON."""
        return json.dumps(asdict(self), indent=2, sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "WantedTraining":
        """Read it back."""
        found = json.loads(content)
        found = check_types(cls(**{**found, "need": Need(found["need"])}))
        for night in filter(None, (found.night, found.since, found.rank, found.tried)):
            date.fromisoformat(night)
        return found


def read_wanted(store: ObjectStore, layout: ProductLayout) -> WantedTraining | None:
    """Read what a product asked for last; None where it never asked.

    Raises:
        DamagedRecordError: the note is not as it was written.
        StorageError: it cannot be had.
    """
    content = store.read_optional(layout.wanted_training)
    return None if content is None else _read(store, layout, content)


def change_wanted(
    store: ObjectStore,
    layout: ProductLayout,
    change: Callable[[WantedTraining | None], WantedTraining | None],
) -> None:
    """Change the note of a product; where ``change`` returns None it stays as it is. A damaged note
    counts as none, with a warning.

    Raises:
        StorageError: it cannot be read or written.
    """

    def changed(content: bytes | None) -> bytes | None:
        before = None
        if content is not None:
            before = unless_damaged(partial(_read, store, layout, content))
        after = change(before)
        return None if after is None else after.to_json()

    store.change(layout.wanted_training, "application/json", changed)


def _read(store: ObjectStore, layout: ProductLayout, content: bytes) -> WantedTraining:
    uri = store.uri(layout.wanted_training)
    with reading_back(uri, "delete it: the next night writes it anew"):
        return WantedTraining.from_json(content)
