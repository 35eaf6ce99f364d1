"""Whether the turns of trainings are fair: nights of many products, without servers.

    python benchmarks/training_turns.py --json FILE
    python benchmarks/training_turns.py --products 50 --nights 100 --seed 3

The products ask at random for trainings that cannot wait or are merely due, for about as many
minutes as the nights have; on some nights a lamp changes for a third of them. Trainings end sooner
or later than they may, fail, or hang into the next nights. Some nights have no dispatcher, on
others it is killed after a few starts and begins anew, or a second one runs for the same night.

Counted are the promises that are broken, by what was seen from outside: which training was started
when, and what the products were told.
"""

import argparse
import heapq
import json
import random
import sys
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reconad_plugin.ledger.training_turns import TrainingTurns
from reconad_plugin.ledger.wanted_training import HEAD_START_NIGHTS, Need, WantedTraining

FIRST_NIGHT: Final = date(2026, 1, 1)
NIGHT_MINUTES: Final = 24 * 60
MINUTES: Final = (5.0, 15.0, 60.0)  # that a training may last
MISSING, KILLED, DOUBLED, LAMP = 0.02, 0.1, 0.05, 0.01  # shares of nights
FAILING, HANGING, ALWAYS_FAILING = 0.05, 0.005, 0.01  # of trainings, and of products
LOAD: Final = 0.9  # minutes that are asked for in the long run, of those that there are


@dataclass
class Counts:
    """What was seen.

    Attributes:
        asked: trainings that products began to wait for.
        trained: that ended well.
        failed: that did not.
        told: nights that were promised to products whose training cannot wait.
        later_than_told: how many of these had no turn by then. Nights without dispatcher count not.
        overtaken: starts before a product that had asked more than seven nights earlier and fitted.
        twice_at_once: starts of a product while a training of it was at work.
        twice_a_night: second turns of a product on the same night.
        over_the_minutes: starts for which no minutes were left.
        longest_wait_nights: of all, to the first turn or the next one.
        still_waiting: at the end.
    """

    asked: int = 0
    trained: int = 0
    failed: int = 0
    told: int = 0
    later_than_told: int = 0
    overtaken: int = 0
    twice_at_once: int = 0
    twice_a_night: int = 0
    over_the_minutes: int = 0
    longest_wait_nights: int = 0
    still_waiting: int = 0

    @property
    def broken(self) -> int:
        """Promises that were not kept."""
        broken = self.later_than_told + self.overtaken + self.over_the_minutes
        return broken + self.twice_at_once + self.twice_a_night


@dataclass
class Run:
    """A training as Prefect knows it."""

    start: float  # minutes since the first night
    end: float
    is_well: bool


@dataclass
class Watched:
    """What is known from outside of a product that waits."""

    asked: int | None = None  # index of the first night with a dispatcher, or of its last try
    promised: int | None = None  # how many more nights with a dispatcher


@dataclass
class Factory:
    """All products, their notes in the bucket, and Prefect's runs."""

    products: int
    minutes: float
    at_once: int
    draw: random.Random
    notes: dict[str, WantedTraining] = field(default_factory=dict)
    runs: dict[tuple[str, str], Run] = field(default_factory=dict)  # by idempotency key
    last: dict[str, Run] = field(default_factory=dict)
    watched: dict[str, Watched] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)

    def ask(self, index: int) -> None:
        """Run the nights of all products: some ask, those that wait ask again."""
        night = (FIRST_NIGHT + timedelta(index)).isoformat()
        mean_minutes = sum(MINUTES) / len(MINUTES) * 0.65  # they rarely take all they may
        chance = LOAD * self.minutes / mean_minutes / self.products
        has_lamp = self.draw.random() < LAMP
        for number in range(self.products):
            product, before = f"p{number:04}", self.notes.get(f"p{number:04}")
            waits = before is not None and before.is_open
            hit = has_lamp and self.draw.random() < 0.3
            if not waits and not hit and self.draw.random() >= chance:
                continue
            need = before.need if waits else Need.DUE if self.draw.random() < 0.6 else Need.FIRST
            need = Need.DRIFT if hit else need
            minutes = MINUTES[number % len(MINUTES)]
            note = WantedTraining(need, night, night, minutes).asked_again(before)
            if not waits:
                self.counts.asked += 1
                self.watched[product] = Watched()
            elif before.need is Need.DUE and need is not Need.DUE:
                self.watched[product].promised = None
            self.notes[product] = note

    def begin(self, index: int, now: float) -> "Night":
        """Begin a dispatcher's work, from what lies in the bucket and in Prefect alone."""
        night = FIRST_NIGHT + timedelta(index)
        wanted = {
            name: WantedTraining.from_json(note.to_json()) for name, note in self.notes.items()
        }
        turns = TrainingTurns(night, self.minutes, wanted)
        for seen in self.watched.values():
            seen.asked = index if seen.asked is None else seen.asked
        for product, tried in turns.unended.items():
            run = self.runs.get((product, tried))
            if run is not None and run.end > now:
                turns.leave(product)
            elif run is not None:
                self.notes[product] = turns.end_earlier(product, run.is_well)
                self.ended(product, index, not self.notes[product].is_open)
        for product in turns.at_work:
            self.start(product, index, now)
        return Night(self, index, turns)

    def start(self, product: str, index: int, now: float) -> Run:
        """Ask Prefect for a run, which it makes once for each key."""
        key = (product, (FIRST_NIGHT + timedelta(index)).isoformat())
        if key in self.runs:
            return self.runs[key]
        last = self.last.get(product)
        if last is not None and last.end > now:
            self.counts.twice_at_once += 1
        minutes = self.notes[product].minutes * self.draw.uniform(0.1, 1.2)
        if self.draw.random() < HANGING:
            minutes = NIGHT_MINUTES * self.draw.uniform(0.5, 2.5)
        fails = self.draw.random() < FAILING or hash_share(product) < ALWAYS_FAILING
        self.runs[key] = self.last[product] = run = Run(now, now + minutes, not fails)
        seen = self.watched[product]
        waited = self.counts.longest_wait_nights, index - seen.asked
        self.counts.longest_wait_nights = max(waited)
        seen.promised = None
        return run

    def ended(self, product: str, index: int, is_well: bool) -> None:
        """Count what a dispatcher noted first."""
        if product not in self.watched:
            return  # another dispatcher of the night has seen it
        if is_well:
            self.counts.trained += 1
            del self.watched[product]
        else:
            self.counts.failed += 1
            self.watched[product].asked = index
            self.watched[product].promised = None

    def check_start(self, product: str, index: int, left: float) -> None:
        """Count what a start breaks, by what is known from outside."""
        night = (FIRST_NIGHT + timedelta(index)).isoformat()
        self.counts.twice_a_night += (product, night) in self.runs
        if min(self.notes[product].minutes, self.minutes) > left + 1e-3:
            self.counts.over_the_minutes += 1
        now = index * NIGHT_MINUTES
        for other, seen in self.watched.items():
            if seen.asked + HEAD_START_NIGHTS >= self.watched[product].asked:
                continue
            is_at_work = other in self.last and self.last[other].end > now
            had_turn = self.notes[other].tried == night
            if not is_at_work and not had_turn and self.notes[other].minutes <= left:
                self.counts.overtaken += 1


def hash_share(product: str) -> float:
    """Draw a number in [0, 1) that is always the same for a product."""
    return random.Random(product).random()  # noqa: S311


@dataclass
class Night:
    """A dispatcher at work."""

    factory: Factory
    index: int
    turns: TrainingTurns

    def work(self, now: float, most_starts: int | None = None) -> float:
        """Start and await trainings until nothing fits, or until it is killed; the time then."""
        factory, starts = self.factory, 0
        night = (FIRST_NIGHT + timedelta(self.index)).isoformat()
        ends = [(factory.runs[each, night].end, each) for each in self.turns.at_work]
        heapq.heapify(ends)
        while True:
            while len(self.turns.at_work) < factory.at_once:
                product = self.turns.choose()
                if product is None:
                    break
                if starts == most_starts:
                    return now
                starts += 1
                factory.check_start(product, self.index, self._left())
                factory.notes[product] = self.turns.start(product)
                heapq.heappush(ends, (factory.start(product, self.index, now).end, product))
            if not ends:
                return now
            end, product = heapq.heappop(ends)
            if end > (self.index + 0.9) * NIGHT_MINUTES:
                return now  # what hangs is left
            now = max(now, end)
            run = factory.runs[product, night]
            factory.ended(product, self.index, run.is_well)
            factory.notes[product] = self.turns.end(product, run.end - run.start, run.is_well)

    def _left(self) -> float:
        """Count the minutes that are left, from the runs of the night."""
        night, left = (FIRST_NIGHT + timedelta(self.index)).isoformat(), self.factory.minutes
        for product, note in self.factory.notes.items():
            run = self.factory.runs.get((product, night))
            if run is not None:
                may = min(note.minutes, self.factory.minutes)
                left -= may if product in self.turns.at_work else min(run.end - run.start, may)
        return left

    def tell(self) -> None:
        """Tell those who wait; note what is promised."""
        for product, note in self.turns.expect().items():
            self.factory.notes[product] = note
            if note.need is Need.DUE:
                continue
            nights = (date.fromisoformat(note.expected or "") - self.turns.night).days
            seen = self.factory.watched[product]
            if seen.promised is None:
                self.factory.counts.told += 1
                seen.promised = nights

    def keep(self) -> None:
        """Count the promises that this night should have kept."""
        for seen in self.factory.watched.values():
            if seen.promised is not None:
                seen.promised -= 1
                if seen.promised < 0:
                    self.factory.counts.later_than_told += 1
                    seen.promised = None


def simulate(products: int, nights: int, seed: int, minutes: float = 0.0) -> Counts:
    """Run the nights of many products.

    Args:
        products: how many.
        nights: how many.
        seed: of all that is drawn.
        minutes: of trainings a night; 0 for five a product in ten.
    """
    draw = random.Random(seed)  # noqa: S311
    factory = Factory(products, minutes or products / 2, max(2, products // 50), draw)
    for index in range(nights):
        factory.ask(index)
        if draw.random() < MISSING:
            continue
        now = float(index * NIGHT_MINUTES)
        night = factory.begin(index, now)
        if draw.random() < KILLED:
            now = night.work(now, most_starts=draw.randrange(10))
            night = factory.begin(index, now)
        now = night.work(now)
        if draw.random() < DOUBLED:
            night = factory.begin(index, now)
            night.work(now)
        night.keep()
        night.tell()
    waits = [nights - (seen.asked or 0) for seen in factory.watched.values() if seen.asked]
    factory.counts.still_waiting = len(factory.watched)
    factory.counts.longest_wait_nights = max([factory.counts.longest_wait_nights, *waits])
    return factory.counts


def main() -> int:
    """Print what was seen; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--products", type=int, default=1000)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    counts = simulate(options.products, options.nights, options.seed)
    found = {**asdict(counts), "broken": counts.broken}
    for name, value in found.items():
        print(f"{name.replace('_', ' '):22} {value}")
    if options.json:
        content = {"products": options.products, "nights": options.nights, "seed": options.seed}
        options.json.write_text(json.dumps({**content, **found}, indent=2), encoding="utf-8")
    return 1 if counts.broken else 0


if __name__ == "__main__":
    sys.exit(main())
