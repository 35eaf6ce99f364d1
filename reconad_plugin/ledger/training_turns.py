"""Whose training comes next, where many products share the minutes of a night.

The rule: each product has a rank, the night that it asked on, and seven nights earlier where the
training cannot wait (``WantedTraining.ranked``). The lowest rank goes first. A training is started
while the minutes that it may last are left; one that ends sooner gives the rest back. A smaller one
may use what is too little for those before it, since each night begins anew with the first.

What follows from it, and is promised:

* Nobody who asks more than seven nights later goes before, so nobody waits for ever.
* A training that cannot wait is told a night, and its turn comes on that night at the latest: who
  asks later has a higher rank, and one that failed is tried again after all who had asked before.
* No product is started while a training of its own is at work, nor twice for one night.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Final

from reconad_plugin.ledger.wanted_training import Need, WantedTraining

ROUNDING: Final = 1e-6  # of minutes that were taken and given back


class TrainingTurns:
    """The turns of one night."""

    def __init__(
        self, night: date, minutes: float, wanted: Mapping[str, WantedTraining | None]
    ) -> None:
        """Take in what the products asked for.

        Args:
            night: tonight.
            minutes: what trainings may take tonight, all together.
            wanted: product -> its note. A product whose note says that it was started tonight has
                had its turn: ``end`` says what came of it.
        """
        self.night, self.minutes = night, minutes
        self._left = minutes  # neither used nor kept free for what is at work
        noted = {product: note for product, note in wanted.items() if note is not None}
        self._notes = {
            product: note.ranked(night) if note.is_open else note for product, note in noted.items()
        }
        self.at_work = dict[str, WantedTraining]()
        for product, note in self._notes.items():
            if note.tried == night.isoformat():
                self._take(product)

    @property
    def unended(self) -> dict[str, str]:
        """Products whose last try nobody saw the end of, and the earlier night of it: before
        anything else, ``leave`` or ``end_earlier`` says what became of each."""
        return {
            product: note.tried
            for product, note in self._notes.items()
            if note.is_awaited and note.tried is not None and product not in self.at_work
        }

    def leave(self, product: str) -> None:
        """Leave a product out tonight: a training of it from an earlier night is at work."""
        del self._notes[product]

    def end_earlier(self, product: str, is_done: bool) -> WantedTraining:
        """Take in how a training of an earlier night has ended meanwhile. A drift of a later night
        than that is another one, and waits on."""
        note = self._notes[product]
        is_another = note.need is Need.DRIFT and note.night > (note.tried or note.night)
        self._notes[product] = note.behind(self.night) if is_another else self._ended(note, is_done)
        return self._notes[product]

    def choose(self) -> str | None:
        """Return the product whose training is to be started next; None while nothing fits."""
        left = self._left + ROUNDING
        return next((each for each in self._waiting if self._needs(each) <= left), None)

    def start(self, product: str) -> WantedTraining:
        """Give a product its turn, with all the minutes that its training may last."""
        self._notes[product] = self._notes[product].started(self.night)
        self._take(product)
        return self._notes[product]

    def end(self, product: str, minutes: float, is_done: bool) -> WantedTraining:
        """Take back what a training did not use.

        Args:
            product: whose training has ended.
            minutes: it lasted. What it took beyond what it may last is not counted, so that it
                takes no promised turn away.
            is_done: whether it ended well; else the product waits on.
        """
        del self.at_work[product]
        self._left += max(self._needs(product) - minutes, 0.0)
        self._notes[product] = self._ended(self._notes[product], is_done)
        return self._notes[product]

    def expect(self) -> dict[str, WantedTraining]:
        """Tell all who wait on which night their turn comes at the latest, if nothing goes before
        that asks later and each training takes all its minutes."""
        told, night, left = dict[str, WantedTraining](), self.night + timedelta(1), self.minutes
        for product in self._waiting_on:
            if self._needs(product) > left:
                night, left = night + timedelta(1), self.minutes
            left -= self._needs(product)
            told[product] = replace(self._notes[product], expected=night.isoformat())
        return told

    @property
    def _waiting(self) -> list[str]:
        """Return who has had no turn tonight, the lowest rank first."""
        tonight = self.night.isoformat()
        return [each for each in self._waiting_on if self._notes[each].tried != tonight]

    @property
    def _waiting_on(self) -> list[str]:
        """Return who waits after tonight, the lowest rank first."""
        is_open = [product for product, note in self._notes.items() if note.is_open]
        waiting = [product for product in is_open if product not in self.at_work]
        return sorted(waiting, key=lambda product: (self._notes[product].rank or "", product))

    def _ended(self, note: WantedTraining, is_done: bool) -> WantedTraining:
        return note.done() if is_done else note.behind(self.night)

    def _take(self, product: str) -> None:
        self._left -= self._needs(product)
        self.at_work[product] = self._notes[product]

    def _needs(self, product: str) -> float:
        """Return the minutes to keep free; one that may last longer than a night takes a whole."""
        return min(self._notes[product].minutes, self.minutes)
