"""Tables and notes that reconad keeps beside the images: scores, night records, reviews."""

import io
import json
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

import pandas as pd

from reconad_plugin.ledger.first_check import FirstCheck
from reconad_plugin.ledger.golden_figures import GoldenFigures
from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.manifest import nights_under, to_parquet
from reconad_plugin.ledger.read_back import MEND, check_columns, check_types, reading_back
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore
from reconad_plugin.watch.cause import CAUSES, NONE, Triage
from reconad_plugin.watch.night_tests import Watch
from reconad_plugin.watch.results import CameraFault, ContrastCheck, CountCheck, StatisticCheck
from reconad_plugin.watch.statistics import NightStatistics

WAITING, NORMAL, DEFECT = "waiting", "normal", "defect"
DECISIONS: Final = (WAITING, NORMAL, DEFECT)
# of a review: of a decision also the name of the defect, the person, and when (ISO 8601)
SAID_BY_PERSONS: Final = ("defect", "by", "at")
REVIEW_COLUMNS: Final = (
    "key", "sha256", "pixels_sha256", "night", "pred_score", "matched_score", "why", "decision",
    *SAID_BY_PERSONS,
)  # fmt: skip
_YOUNGER: Final = "pixels_sha256"  # what older tables of images lack
_SCORES: Final = ("key", "sha256", "pred_score", "pred_label", "is_suspect")  # what is read of them
_CELLS: Final = ("position", "images", "means", "squares")
_COPY_ALONE: Final = "put it back from a copy"

_PARQUET = "application/vnd.apache.parquet"
_JSON = "application/json"
_COUNTS: Final = {  # key in a record's JSON -> field, and its type
    "alarming": ("above_threshold", CountCheck),
    "suspects": ("suspects", CountCheck),
    "outliers": ("contrast", ContrastCheck),
}


@dataclass(frozen=True)
class NightRecord:
    """What the watch saw and decided on a night."""

    night: str  # `YYYY-MM-DD`
    model_version: str  # the version that scored the night
    is_alarm: bool  # whether an alarm is open
    is_raised: bool  # whether a test fails on this night; False where an alarm is only still open
    is_new: bool  # whether no alarm with this cause was open the night before
    since: str | None  # the night that the alarm began on; None without one
    cause: str  # of the alarm, or `none`
    also: tuple[str, ...]  # further causes that are seen, besides
    explanation: str  # what happened, what to do, and the numbers that the cause rests on
    is_learning: bool  # whether fine-tuning is the right answer
    is_holding: bool  # whether all images of the night wait for a person
    statistics: NightStatistics  # the night in numbers
    checks: Mapping[str, StatisticCheck]  # what the tests say of each statistic
    # the test of how many images score above the threshold as they came
    above_threshold: CountCheck | None = None
    suspects: CountCheck | None = None  # the same after matching the light
    contrast: ContrastCheck | None = None  # the test of how far images stand out from their cells
    expected_false_alarms: float | None = None  # in the next year
    faults: tuple[CameraFault, ...] = ()  # where the camera hangs or is silent
    golden: GoldenFigures | None = None  # of its version; None where too few defects are golden

    @classmethod
    def of(
        cls,
        tonight: NightStatistics,
        watch: Watch,
        triage: Triage,
        still_open: tuple[str, str] | None,
        expected_false_alarms: float,
    ) -> "NightRecord":
        """Put together what the watch decided; ``still_open`` has cause and first night of an alarm
        that was open the night before."""
        cause_before, since = still_open or (NONE, tonight.night)
        return cls(
            night=tonight.night,
            model_version=tonight.model_version,
            **asdict(triage),
            is_new=triage.is_alarm and triage.cause != cause_before,
            since=since if triage.is_alarm else None,
            is_learning=triage.is_learning,
            is_holding=triage.is_holding,
            statistics=tonight,
            checks=watch.checks,
            above_threshold=watch.above_threshold,
            suspects=watch.suspects,
            contrast=watch.contrast,
            expected_false_alarms=expected_false_alarms,
            faults=watch.faults,
        )

    @property
    def began(self) -> str:
        """The night that the alarm began on, ``YYYY-MM-DD``."""
        return self.since or self.night

    @property
    def results(self) -> list[StatisticCheck | CountCheck | CameraFault]:
        """What each test of the night says, as far as it was kept."""
        of_images = (self.above_threshold, self.suspects, self.contrast)
        known = [each for each in of_images if each is not None]
        return [*self.checks.values(), *known, *self.faults]

    @property
    def open_nights(self) -> int:
        """For how many nights the alarm has been open, this one included; 0 without one."""
        if not self.is_alarm:
            return 0
        return (date.fromisoformat(self.night) - date.fromisoformat(self.began)).days + 1

    def to_dict(self) -> dict[str, object]:
        """Return what stands in the record's JSON."""
        counts = {key: getattr(self, field) for key, (field, _) in _COUNTS.items()}
        return {
            "night": self.night,
            "model_version": self.model_version,
            "is_alarm": self.is_alarm,
            "is_raised": self.is_raised,
            "is_new": self.is_new,
            "since": self.since,
            "cause": self.cause,
            "also": list(self.also),
            "evidence": self.explanation,
            "is_learning": self.is_learning,
            "is_holding": self.is_holding,
            "statistics": self.statistics.to_dict(),
            "checks": {name: check.to_dict() for name, check in self.checks.items()},
            "counts": {name: asdict(count) for name, count in counts.items() if count is not None},
            "expected_false_alarms": self.expected_false_alarms,
            "camera_faults": [asdict(fault) for fault in self.faults],
            "golden": None if self.golden is None else asdict(self.golden),
        }

    def to_json(self) -> bytes:
        """Return the record as it is kept."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "NightRecord":
        """Read a record."""
        kept = json.loads(content)
        explanation, counts = kept.pop("evidence"), kept.pop("counts")
        faults = tuple(CameraFault(**fault) for fault in kept.pop("camera_faults", ()))
        tests = {
            field: of_test(**counts[key])
            for key, (field, of_test) in _COUNTS.items()
            if key in counts
        }
        checks, golden = kept["checks"].items(), kept.pop("golden", None)
        read = {
            "also": tuple(kept["also"]),
            "statistics": NightStatistics.from_dict(kept["statistics"]),
            "checks": {name: StatisticCheck.from_dict(check) for name, check in checks},
            "golden": None if golden is None else GoldenFigures(**golden),
        }
        record = cls(**kept | read | tests, explanation=explanation, faults=faults)
        if record.cause not in (NONE, *CAUSES):
            raise ValueError(f"no alarm has the cause {record.cause!r}")
        date.fromisoformat(record.began)
        return check_types(record)


class NightRecords:
    """What is kept about the nights of one product."""

    def __init__(self, store: ObjectStore, layout: ProductLayout) -> None:
        self._store = store
        self._layout = layout

    def scores(self, night: date) -> pd.DataFrame | None:
        """Read the night's table of scores, or None."""
        return self._read_table(self._layout.scores(night), _SCORES)

    def write_scores(self, night: date, table: pd.DataFrame) -> None:
        """Keep the night's table of scores."""
        self._store.write(self._layout.scores(night), to_parquet(table), _PARQUET)

    def cells(self, night: date) -> pd.DataFrame | None:
        """Read what each cell of the night's maps showed, or None."""
        return self._read_table(self._layout.cells(night), _CELLS)

    def write_cells(self, night: date, table: pd.DataFrame) -> None:
        """Keep what each cell of the night's maps showed."""
        self._store.write(self._layout.cells(night), to_parquet(table), _PARQUET)

    def record(self, night: date) -> NightRecord | None:
        """Read what the watch decided on a night, or None."""
        key = self._layout.night_record(night)
        content = self._store.read_optional(key)
        with reading_back(self._store.uri(key)):
            record = None if content is None else NightRecord.from_json(content)
            if record is not None and record.night != night.isoformat():
                raise ValueError(f"it is of {record.night}")
            return record

    def write_record(self, night: date, record: NightRecord) -> None:
        """Keep what the watch decided on a night."""
        self._store.write(self._layout.night_record(night), record.to_json(), _JSON)

    def watched_nights(self) -> list[date]:
        """Return the nights that have a record, oldest first."""
        return nights_under(self._store, self._layout.nights, ".json")

    def reviewed_nights(self) -> list[date]:
        """Return the nights that have a review, oldest first."""
        return nights_under(self._store, self._layout.reviews, ".parquet")

    def history(self) -> History | None:
        """Return which versions the product has had; None where that was never kept."""
        content = self._store.read_optional(self._layout.history)
        mend = f"{_COPY_ALONE}; without it, what versions deleted in MLflow said would be trusted"
        with reading_back(self._store.uri(self._layout.history), mend):
            return None if content is None else History.from_json(content)

    def write_history(self, history: History) -> None:
        """Keep which versions the product has had."""
        self._store.write(self._layout.history, history.to_json(), _JSON)

    def first_check(self) -> FirstCheck | None:
        """Read what the check of the first images found, or None."""
        content = self._store.read_optional(self._layout.first_check)
        with reading_back(self._store.uri(self._layout.first_check)):
            return None if content is None else FirstCheck.from_json(content)

    def write_first_check(self, check: FirstCheck) -> None:
        """Keep what the check of the first images found."""
        self._store.write(self._layout.first_check, check.to_json(), _JSON)

    def resolve(self, night: date, note: str) -> None:
        """Keep a person's word that the world as it was on a night is normal from then on."""
        content = json.dumps({"night": night.isoformat(), "note": note}, indent=2).encode()
        self._store.write(self._layout.resolution(night), content, _JSON)

    def resolved_nights(self) -> list[date]:
        """Return the nights that a person resolved, oldest first."""
        return nights_under(self._store, self._layout.resolutions, ".json")

    def write_quarantine_note(self, night: date, row: Mapping[Hashable, Any]) -> None:
        """Keep why an image was quarantined; the image itself stays where the factory put it."""
        note = {name: row[name] for name in ("key", "version_id", "sha256", "size_bytes", "reason")}
        key = self._layout.quarantine(night, str(row["key"]))
        self._store.write(key, json.dumps(note, indent=2).encode(), _JSON)

    def review(self, night: date) -> pd.DataFrame:
        """Read the night's images that wait for a person, with what the person said."""
        return self._to_review(night, self._store.read_optional(self._layout.review(night)))

    def ask_for_review(self, night: date, waiting: pd.DataFrame) -> int:
        """Add images to the night's review; what a person already decided stays. How many wait."""
        asked = waiting.assign(decision=WAITING, **dict.fromkeys(SAID_BY_PERSONS, ""))

        def add(known: pd.DataFrame) -> pd.DataFrame:
            new = asked[~is_one_of(asked, known)]
            return pd.concat([known, new[list(REVIEW_COLUMNS)]]) if len(known) else new

        return int((self.change_review(night, add)["decision"] == WAITING).sum())

    def change_review(
        self, night: date, change: Callable[[pd.DataFrame], pd.DataFrame]
    ) -> pd.DataFrame:
        """Read a night's review, change it and keep it, so that nobody's word is overwritten.

        Where somebody else wrote it meanwhile, theirs is changed in its place; so ``change`` may
        be called several times.

        Raises:
            DamagedRecordError: it is not as it was written.
            ObjectChangedError: others changed it each time.
        """

        def rewrite(before: bytes | None) -> bytes | None:
            table = change(self._to_review(night, before))
            is_one = before is not None or len(table)
            return to_parquet(table[list(REVIEW_COLUMNS)]) if is_one else None

        return self._to_review(
            night, self._store.change(self._layout.review(night), _PARQUET, rewrite)
        )

    def _to_review(self, night: date, content: bytes | None) -> pd.DataFrame:
        if content is None:
            return pd.DataFrame(columns=list(REVIEW_COLUMNS))
        key = self._layout.review(night)
        columns = set(REVIEW_COLUMNS) - {_YOUNGER, *SAID_BY_PERSONS}
        mend = f"{_COPY_ALONE}: it holds what persons decided"
        table = self._to_table(content, key, columns, mend)
        with reading_back(self._store.uri(key), mend):
            if unknown := sorted(set(table["decision"]) - set(DECISIONS)):
                raise ValueError(f"{unknown[0]!r} is no decision")
        lacking = [name for name in SAID_BY_PERSONS if name not in table]  # of before its time
        return table.assign(**dict.fromkeys(lacking, ""))

    def _read_table(self, key: str, columns: Collection[str]) -> pd.DataFrame | None:
        content = self._store.read_optional(key)
        return None if content is None else self._to_table(content, key, columns)

    def _to_table(
        self, content: bytes, key: str, columns: Collection[str], mend: str = MEND
    ) -> pd.DataFrame:
        with reading_back(self._store.uri(key), mend):
            table = check_columns(pd.read_parquet(io.BytesIO(content)), columns)
            is_whole = _YOUNGER in table or "sha256" not in table
            return table if is_whole else table.assign(**{_YOUNGER: ""})


def is_one_of(images: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    """Say which images are one of the others, by their bytes or by what they show: (N,) bool."""
    same_bytes = images["sha256"].isin(others["sha256"])
    shown = others.loc[others["pixels_sha256"] != "", "pixels_sha256"]
    return same_bytes | images["pixels_sha256"].isin(shown)
