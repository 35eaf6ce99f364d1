"""What a person wants to know of one product among many: one small object, written anew by whatever
changes it, so that three hundred products are seen at once."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Final

from reconad_plugin.errors import ReconadError
from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.ledger import Ledger, read_ledger
from reconad_plugin.ledger.night_record import NightRecords
from reconad_plugin.ledger.read_back import check_types, reading_back
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore
from reconad_plugin.watch.cause import NONE
from reconad_plugin.watch.statistics import MATCHED_SCORE_STATISTIC

TREND_NIGHTS: Final = 14
READERS: Final = 16  # threads that read the notes of many products; reading waits on the network
LUMINANCE: Final = "luminance"
_SMALLEST_SCORE_SPAN: Final = 0.5  # of logarithms, that fills the height of a trend
_SMALLEST_LIGHT_SPAN: Final = 0.05

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Glance:
    """A product as it stood after its last night, or after what a person decided since."""

    product: str
    night: str | None = None  # the last one that was taken in, `YYYY-MM-DD`
    cause: str = NONE  # of the alarm that is open, or `none`
    since: str | None = None  # the night that the alarm began on; None without one
    explanation: str = ""  # of the last watched night: what happened, and what to do
    waiting: Mapping[str, int] | None = None  # night -> images of it that wait for a person
    champion: str | None = None  # number of the version that serves
    champion_since: str | None = None  # the night that it was let into service on
    # mean of each watched night, the newest last; of the version's nights alone what it scored
    scores: tuple[float, ...] = ()  # logarithm of the score, its light matched
    luminances: tuple[float, ...] = ()  # in [0, 1]
    error: str = ""  # why the note cannot be read; empty where it can

    @classmethod
    def of(cls, product: str, ledger: Ledger) -> "Glance":
        """Sum up a product's ledger."""
        last, is_open = ledger.last_record(), ledger.open_alarm(date.max)
        newest = list(ledger.records)[-TREND_NIGHTS:]
        shown = [record for night in newest if (record := ledger.records.get(night))]
        serving = ledger.history.champion
        return cls(
            product=product,
            night=max((night.isoformat() for night in ledger.manifests), default=None),
            cause=is_open.cause if is_open else NONE,
            since=is_open.since if is_open else None,
            explanation=last.explanation if last else "",
            waiting=ledger.waiting_images(),
            champion=serving.number if serving else None,
            champion_since=serving.promoted_night if serving else None,
            scores=tuple(
                each.statistics.values[MATCHED_SCORE_STATISTIC]
                for each in shown
                if each.model_version == shown[-1].model_version
                and MATCHED_SCORE_STATISTIC in each.statistics.values
            ),
            luminances=tuple(
                each.statistics.values[LUMINANCE]
                for each in shown
                if LUMINANCE in each.statistics.values
            ),
        )

    @property
    def is_alarm(self) -> bool:
        """Whether an alarm is open."""
        return self.cause != NONE

    @property
    def waiting_images(self) -> int:
        """How many images wait for a person."""
        return sum((self.waiting or {}).values())

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody has to look."""
        return bool(self.error) or self.is_alarm or self.waiting_images > 0

    @property
    def champion_nights(self) -> int | None:
        """How many nights the champion has served, up to the last; None where nobody noted it."""
        if self.champion_since is None or self.night is None:
            return None
        return (date.fromisoformat(self.night) - date.fromisoformat(self.champion_since)).days

    @property
    def trends(self) -> tuple[list[float], list[float]]:
        """Score and light as heights of bars, in [0, 1]."""
        return (
            _heights(self.scores, _SMALLEST_SCORE_SPAN),
            _heights(self.luminances, _SMALLEST_LIGHT_SPAN),
        )

    def to_json(self) -> bytes:
        """Write it as JSON."""
        return json.dumps(asdict(self), indent=2, sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "Glance":
        """Read it back."""
        found = json.loads(content)
        lists = {name: tuple(found[name]) for name in ("scores", "luminances")}
        return check_types(cls(**{**found, **lists}))


def _heights(values: Sequence[float], smallest_span: float) -> list[float]:
    """Scale a series from its lowest to its highest value, but over no smaller span.

    Example:
        >>> _heights([0.0, 1.0, 0.5], 0.5)
        [0.0, 1.0, 0.5]
        >>> _heights([2.0, 2.5], 1.0)
        [0.0, 0.5]
    """
    lowest = min(values, default=0.0)
    span = max(max(values, default=0.0) - lowest, smallest_span)
    return [(value - lowest) / span for value in values]


def write_glance(store: ObjectStore, layout: ProductLayout, glance: Glance) -> None:
    """Keep how a product stands."""
    store.write(layout.glance, glance.to_json(), "application/json")


def note_glance(store: ObjectStore, layout: ProductLayout) -> None:
    """Keep how a product stands now. What led here is done: where this fails, a warning says so,
    and the next night notes it."""
    records = NightRecords(store, layout)
    try:
        ledger = read_ledger(store, layout, records, records.history() or History())
        write_glance(store, layout, Glance.of(layout.product, ledger))
    except ReconadError as error:
        _logger.warning("how %s stands could not be noted: %s", layout.product, error)


def read_glance(store: ObjectStore, layout: ProductLayout) -> Glance:
    """Read how a product stood; nothing but its name where nobody noted that yet.

    Raises:
        DamagedRecordError: the note is not as it was written.
        StorageError: it cannot be had.
    """
    content = store.read_optional(layout.glance)
    if content is None:
        return Glance(layout.product)
    with reading_back(store.uri(layout.glance), "delete it: the next night writes it anew"):
        return replace(Glance.from_json(content), product=layout.product)
