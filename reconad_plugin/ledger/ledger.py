"""What is known of every night of a product: one snapshot, of which every question is asked.

Contents are read when they are first asked for, and once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final, Generic, TypeVar

import pandas as pd

from reconad_plugin.ledger import eligibility
from reconad_plugin.ledger.coverage import cover_evenly, newest_nights
from reconad_plugin.ledger.eligibility import NightImages, Status, Use, allows
from reconad_plugin.ledger.golden_figures import GoldenFigures
from reconad_plugin.ledger.history import FINETUNE, History
from reconad_plugin.ledger.manifest import (
    ACCEPTED,
    accepted_rows,
    known_nights,
    read_manifest,
)
from reconad_plugin.ledger.night_record import (
    NORMAL,
    REVIEW_COLUMNS,
    WAITING,
    NightRecord,
    NightRecords,
    is_one_of,
)
from reconad_plugin.ledger.read_back import unless_damaged
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore
from reconad_plugin.watch.night_tests import Baseline
from reconad_plugin.watch.statistics import NightStatistics, describe_light

REFERENCE_NIGHTS: Final = 7  # the newest ordinary ones, that Evidently compares a night with

Content = TypeVar("Content")


class ByNight(Mapping[date, Content], Generic[Content]):
    """Contents by night, oldest first, each read once, when it is first asked for."""

    def __init__(self, nights: Sequence[date], read: Callable[[date], Content]) -> None:
        self._nights = dict.fromkeys(sorted(nights))
        self._read = read
        self._known: dict[date, Content] = {}

    def __getitem__(self, night: date) -> Content:
        if night not in self._nights:
            raise KeyError(night)
        if night not in self._known:
            self._known[night] = self._read(night)
        return self._known[night]

    def __iter__(self) -> Iterator[date]:
        return iter(self._nights)

    def __len__(self) -> int:
        return len(self._nights)

    def until(self, night: date) -> "ByNight[Content]":
        """Keep the nights up to one; contents are not read again."""
        return ByNight([each for each in self._nights if each <= night], self.__getitem__)


@dataclass(frozen=True)
class OpenAlarm:
    """An alarm that nothing has ended yet."""

    cause: str  # of the last night's alarm
    since: str  # the night it began, `YYYY-MM-DD`


@dataclass(frozen=True, eq=False)
class Ledger:
    """A snapshot of one product."""

    manifests: ByNight[pd.DataFrame]  # of every night that was taken in
    records: ByNight[NightRecord]  # what the watch said, of every night that it saw
    scores: ByNight[pd.DataFrame | None]  # tables of scores of these nights
    reviews: ByNight[pd.DataFrame]  # what persons were asked and have said, of every night
    resolved: frozenset[date]  # nights from which on a person said that the world is normal
    history: History  # of the product's versions
    golden: frozenset[str] = frozenset()  # SHA-256 of the golden images

    def as_of(self, night: date) -> "Ledger":
        """Return what was known when a night ended. Versions are known as they are now."""
        return replace(
            self,
            manifests=self.manifests.until(night),
            records=self.records.until(night),
            scores=self.scores.until(night),
            reviews=self.reviews.until(night),
            resolved=frozenset(each for each in self.resolved if each <= night),
        )

    def status(self, night: date, light_from: date | None = None) -> Status:
        """Return what a night is to everything that comes after it; see ``status_of``."""
        borrowed = light_from.isoformat() if light_from is not None else None
        record = self.records.get(night)
        return eligibility.status_of(night.isoformat(), record, self.history, borrowed)

    def training_images(self, target_fpr: float, light_from: date | None = None) -> pd.DataFrame:
        """Choose the images of all nights that a training learns from, with the light of one night
        where it is to be learnt; see ``choose_training_images``."""
        accepted = accepted_rows(self.manifests.values())
        nights = {
            night.isoformat(): NightImages(self.status(night, light_from), self.scores.get(night))
            for night in self.manifests
        }
        return eligibility.choose_training_images(
            accepted, self.golden, nights, self._reviewed(), target_fpr
        )

    def covering(self, rows: pd.DataFrame, nights: int, most: int) -> pd.DataFrame:
        """Choose, of images that may be learnt, those that a training takes: of so many nights, and
        at most so many; see ``cover_evenly``."""
        rows, reviewed = newest_nights(rows, nights), self._reviewed()
        released = reviewed[reviewed["decision"] == NORMAL]
        return cover_evenly(rows, is_one_of(rows, released), most).reset_index(drop=True)

    def fillings(self) -> pd.DataFrame:
        """Choose the defects of all nights that simulated anomalies may be filled from; see
        ``choose_fillings``."""
        accepted = accepted_rows(self.manifests.values())
        return eligibility.choose_fillings(accepted, self.golden, self._reviewed())

    def beside(self, night: date, position: str) -> pd.DataFrame:
        """Return the accepted images of a night and a camera position that are not golden; they
        tell where a defect of theirs is, and nothing learns them."""
        rows = accepted_rows([self.manifests[night]])
        is_golden = rows[["sha256", "pixels_sha256"]].isin(list(self.golden)).any(axis=1)
        return rows[(rows["position"] == position) & ~is_golden]

    def _reviewed(self) -> pd.DataFrame:
        """Put the reviews of all nights together."""
        reviews = [table for table in self.reviews.values() if len(table)]
        return pd.concat(reviews) if reviews else pd.DataFrame(columns=list(REVIEW_COLUMNS))

    def without_waiting(self) -> "Ledger":
        """Return the same without the images that wait for a person, as if nobody were asked."""

        def decided(night: date) -> pd.DataFrame:
            table = self.reviews[night]
            return table[table["decision"] != WAITING]

        return replace(self, reviews=ByNight(list(self.reviews), decided))

    def waiting_images(self) -> dict[str, int]:
        """Count the images that wait for a person, by their night; nights without are left out."""
        counts = {
            night.isoformat(): int((table["decision"] == WAITING).sum())
            for night, table in self.reviews.items()
        }
        return {night: count for night, count in counts.items() if count}

    def new_levels(self, night: date) -> frozenset[str]:
        """Return earlier nights from which on the world as it was then is the normal one.

        A version that was fine-tuned for it came into service before this night, or a person
        resolved it. A rollback takes the former back.
        """
        resolved = {each.isoformat() for each in self.resolved if each < night}
        return self.history.adapted_nights(before=night.isoformat()) | resolved

    def baseline(self, night: date) -> Baseline:
        """Return what a night is held against.

        A night without a record which is no founding one was taken in, but its run died before it
        was watched. Nothing vouches for it, so it is left out until it is run again.
        """
        known: list[NightStatistics] = []
        normal, ordinary, accepted = set[str](), set[str](), self.new_levels(night)
        for earlier in sorted({*self.manifests, *self.records}):
            if earlier >= night:
                break
            status = self.status(earlier)
            if earlier in self.records:
                known.append(self.records[earlier].statistics)
            elif status is Status.FOUNDING:
                rows = accepted_rows([self.manifests[earlier]])
                if len(rows):
                    known.append(describe_light(earlier.isoformat(), rows))
            name = earlier.isoformat()
            if allows(status, Use.SET_LEVEL, is_accepted=name in accepted):
                normal.add(name)
            if allows(status, Use.COUNT_SUSPECTS, is_accepted=name in accepted):
                ordinary.add(name)
        return Baseline(known, frozenset(normal), frozenset(ordinary), accepted)

    def last_record(self, before: date = date.max) -> NightRecord | None:
        """Return the record of the last watched night before another."""
        nights = [night for night in self.records if night < before]
        found = (self.records.get(night) for night in reversed(nights))
        return next((record for record in found if record is not None), None)

    def open_alarm(self, before: date) -> OpenAlarm | None:
        """Return the alarm of the last watched night before another, unless something ended it."""
        last = self.last_record(before)
        if last is None or not last.is_alarm:
            return None
        is_ended = any(last.began <= each <= last.night for each in self.new_levels(before))
        return None if is_ended else OpenAlarm(last.cause, last.began)

    def reference_nights(self, night: date) -> list[date]:
        """Return the newest ordinary nights before a night, newest first, for Evidently."""
        found = [
            earlier
            for earlier in reversed(list(self.records))
            if earlier < night and allows(self.status(earlier), Use.REFERENCE)
        ]
        return found[:REFERENCE_NIGHTS]

    def nights_with_images(self, until: date, after: date = date.min) -> list[date]:
        """Return the nights after one, up to another, that have an accepted image."""
        return [
            night
            for night in self.manifests
            if after < night <= until and (self.manifests[night]["verdict"] == ACCEPTED).any()
        ]

    def is_retraining_due(self, night: date, every_nights: int) -> bool:
        """Say whether enough nights with images have come since a version was last trained; 0 for
        never. This night has images, and is the last of them."""
        if not every_nights:
            return False
        trained = self.history.last_trained(before=night.isoformat())
        after = date.min if trained is None else date.fromisoformat(trained)
        since = self.nights_with_images(until=night - timedelta(1), after=after)
        return 1 + len(since) >= every_nights

    def is_floor_to_answer(self, record: NightRecord) -> bool:
        """Say whether the champion, which this record is of, is below the golden floor, and no
        training from scratch has answered that yet.

        It is answered where a version was trained since an earlier night that was below the floor
        on the same golden images: a night of the champion, or one that the champion was trained
        after. So each champion and each golden set lead to one training.
        """
        champion = self.history.champion
        if champion is None or champion.number != record.model_version:
            return False
        if record.golden is None or not record.golden.is_below:
            return False
        below = self._nights_below(record.golden, before=record.night)
        trained = [each for each in self.history.versions if each.purpose != FINETUNE]
        return not any(
            night.night <= version.night < record.night
            and champion.number in (night.model_version, version.number)
            for night in below
            for version in trained
        )

    def _nights_below(self, golden: GoldenFigures, before: str) -> list[NightRecord]:
        """Return the records of nights that were below the floor on the same golden images."""
        found = [self.records.get(night) for night in self.records if night.isoformat() < before]
        return [
            record
            for record in found
            if record is not None
            and record.golden is not None
            and record.golden.is_below
            and record.golden.images == golden.images
        ]

    def late_images(self, night: date) -> int:
        """Count accepted images of a closed night that came when it was closed already."""
        manifest = self.manifests.get(night)
        return 0 if manifest is None else int((accepted_rows([manifest])["split"] == "").sum())


def read_ledger(
    store: ObjectStore,
    layout: ProductLayout,
    records: NightRecords,
    history: History,
    golden: frozenset[str] = frozenset(),
) -> Ledger:
    """Take a snapshot of a product; golden images matter where a training is to be chosen for.

    What is damaged of a night counts as if it were not there, with a warning: nobody vouches for
    the night, and the others go on. What persons decided is never passed over.

    Raises:
        StorageError: the bucket cannot be read.
    """

    def manifest(night: date) -> pd.DataFrame:
        found = unless_damaged(lambda: read_manifest(store, layout, night))
        return accepted_rows([]) if found is None else found

    def record(night: date) -> NightRecord:
        found = unless_damaged(lambda: records.record(night))
        if found is None:
            raise KeyError(night)
        return found

    taken_in, watched = known_nights(store, layout, before=date.max), records.watched_nights()
    return Ledger(
        manifests=ByNight(taken_in, manifest),
        records=ByNight(watched, record),
        scores=ByNight(watched, lambda night: unless_damaged(lambda: records.scores(night))),
        reviews=ByNight(records.reviewed_nights(), records.review),
        resolved=frozenset(records.resolved_nights()),
        history=history,
        golden=golden,
    )
