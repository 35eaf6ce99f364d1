"""What needs a person today: the nights of each product whose images wait."""

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

from monitoring.review_page.bounded import Bounded
from monitoring.review_page.product import ReviewedProduct
from reconad_plugin.errors import DamagedRecordError, ReconadError
from reconad_plugin.ledger.glance import READERS, Glance, read_glance
from reconad_plugin.ledger.night_record import WAITING
from reconad_plugin.ledger.read_back import unless_damaged

_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_MOST_COUNTS = 10_000  # of nights; a few numbers each


@dataclass(frozen=True)
class NightInShort:
    """A night that has a review."""

    night: date
    waiting: int  # images
    images: int  # on its list
    causes: tuple[str, ...] = ()  # of its alarm, the main one first
    is_held: bool = False
    sentence: str = ""  # what happened
    error: str = ""  # why its review cannot be read; empty where it can

    @property
    def decided(self) -> int:
        """How many images a person has decided on."""
        return self.images - self.waiting


@dataclass(frozen=True)
class ProductInShort:
    """A product, with its nights newest first."""

    name: str
    waiting: tuple[NightInShort, ...] = ()  # nights with images that wait, or that cannot be read
    decided: tuple[NightInShort, ...] = ()  # nights whose images are all decided
    error: str | None = None  # why it cannot be said
    glance: Glance | None = None  # how it stood when that was last noted; None where nobody did

    @property
    def images(self) -> int:
        """How many images wait."""
        return sum(night.waiting for night in self.waiting)

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody has to look."""
        return bool(self.error or self.waiting or (self.glance and self.glance.is_alarm))


class Overview:
    """Counts what waits; a review that is unchanged in the bucket is counted once."""

    def __init__(self) -> None:
        self._counts = Bounded[tuple[int, int]](_MOST_COUNTS)

    def of(self, products: Iterable[ReviewedProduct]) -> list[ProductInShort]:
        """Look at each product; what keeps one from being read is said of it alone."""
        with ThreadPoolExecutor(READERS) as threads:
            found = list(threads.map(self._of_product, products))
        return sorted(found, key=lambda each: (not each.error, not each.needs_a_person, each.name))

    def _of_product(self, product: ReviewedProduct) -> ProductInShort:
        """Look at one product: where it was noted that nothing waits, at that note alone."""
        try:
            glance = self._glance(product)
            if glance is not None and not glance.needs_a_person:
                return ProductInShort(product.name, glance=glance)
            return replace(self.of_product(product), glance=glance)
        except ReconadError as error:
            return ProductInShort(product.name, error=str(error))

    def _glance(self, product: ReviewedProduct) -> Glance | None:
        found = unless_damaged(lambda: read_glance(product.store, product.layout))
        return None if found is None or found.night is None else found

    def of_product(self, product: ReviewedProduct) -> ProductInShort:
        """Look at one product; a night whose review is damaged says so, and hides no other.

        Raises:
            StorageError: the bucket cannot be read.
        """
        nights = product.records.reviewed_nights()
        etags = {info.key: info.etag for info in product.store.list_objects(product.layout.reviews)}

        def count(night: date) -> NightInShort:
            key = product.layout.review(night)
            count_images = partial(_count_images, product, night)
            try:
                counts = self._counts.get((key, etags.get(key)), count_images)
            except DamagedRecordError as error:
                return NightInShort(night, 0, 0, error=str(error))
            return _describe(product, NightInShort(night, *counts))

        with ThreadPoolExecutor() as threads:
            found = list(threads.map(count, reversed(nights)))
        waiting = tuple(each for each in found if each.waiting or each.error)
        decided = tuple(each for each in found if not (each.waiting or each.error))
        return ProductInShort(product.name, waiting, decided)


def _count_images(product: ReviewedProduct, night: date) -> tuple[int, int]:
    review = product.records.review(night)
    return int((review["decision"] == WAITING).sum()), len(review)


def _describe(product: ReviewedProduct, night: NightInShort) -> NightInShort:
    """Add what the watch said of a night; of one that is decided nobody asks."""
    if not night.waiting:
        return night
    record = unless_damaged(partial(product.records.record, night.night))
    if record is None:
        return night
    return NightInShort(
        night.night,
        night.waiting,
        night.images,
        (record.cause, *record.also) if record.is_alarm else (),
        record.is_holding,
        first_sentence(record.explanation) if record.is_alarm else "",
    )


def first_sentence(text: str) -> str:
    """Return the first sentence of a text.

    Example:
        >>> first_sentence("It is darker (0.39, usually 0.49). Look at the lamp.")
        'It is darker (0.39, usually 0.49).'
    """
    return _SENTENCE_ENDS.split(text, maxsplit=1)[0]
