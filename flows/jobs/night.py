"""A night under the watch: score it, decide on it, and queue what a person has to look at."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

import pandas as pd

from flows.jobs.product import Product
from mlflow_models import flavor, registry
from mlflow_models.version_names import version_to_load
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.score_table import score_table
from reconad_plugin.errors import ConfigError
from reconad_plugin.ledger.eligibility import status_of, waiting_images
from reconad_plugin.ledger.golden_figures import GoldenFigures
from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.ledger import Ledger
from reconad_plugin.ledger.night_record import NightRecord
from reconad_plugin.ledger.read_back import unless_damaged
from reconad_plugin.ledger.repeats import most_repeated, rows_to_score
from reconad_plugin.ledger.served import find_answers, said_by, said_most
from reconad_plugin.watch.cause import NONE, find_cause
from reconad_plugin.watch.cells import KNOWN_NIGHTS, MAP_CELLS, known_cells, summarise_cells
from reconad_plugin.watch.contrast import with_outliers
from reconad_plugin.watch.forecast import expected_false_alarms
from reconad_plugin.watch.night_tests import comparable, watch_night
from reconad_plugin.watch.statistics import NightStatistics, summarise_night

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoredNight:
    """A night's images with their scores."""

    version: registry.Version  # the version that scored them
    detector: Detector  # it, loaded
    table: pd.DataFrame  # see ``score_table``
    statistics: NightStatistics  # the night as the watch sees it


def score_night(product: Product, ledger: Ledger, night: date) -> ScoredNight | None:
    """Score the night's accepted images; None where it has none.

    Raises:
        NoChampionError: no version serves yet.
    """
    manifest = ledger.manifests.get(night)
    if manifest is None or (rows := rows_to_score(manifest)).empty:
        return None
    answers = None
    if product.settings.watch_served:
        answers = find_answers(product.store, product.layout, night, rows)
    most = None if answers is None else said_most(answers, len(rows))
    version = choose_scorer(product, ledger, night, most)
    said = None if answers is None else said_by(answers, version.number, rows)
    if said is not None:
        served = int(said["pred_score"].notna().sum())
        _logger.info("%d of %d images: as served by %s", served, len(rows), version.number)
    detector = flavor.load_model(version.uri)
    images = product.load_images(rows, detector.image_size_px)
    table = score_table(detector, rows, images, version.number, said)
    product.records.write_scores(night, table.drop(columns=MAP_CELLS))
    product.records.write_cells(night, summarise_cells(table))
    statistics = summarise_night(
        night.isoformat(),
        table,
        detector.calibration.normal_scores,
        detector.calibration.image_threshold,
        detector.matched_calibration.normal_scores,
        detector.matched_threshold,
        is_trained_on=night.isoformat() <= version.night,
    )
    statistics = replace(
        statistics, repeats=most_repeated(manifest), set_threshold=detector.set_threshold
    )
    return ScoredNight(version, detector, table, statistics)


def choose_scorer(
    product: Product, ledger: Ledger, night: date, said_most: str | None = None
) -> registry.Version:
    """Return the version that served on a night: the one that its record names, else the one that
    answered for most of its images. The champion where neither is known, or both were rolled back
    or are gone.

    Raises:
        NoChampionError: no version serves yet.
    """
    past = ledger.records.get(night)
    for number in (None if past is None else past.model_version, said_most):
        if number is None or number in ledger.history.rolled_back:
            continue
        with suppress(ConfigError):  # somebody deleted it
            return version_to_load(product.name, number)
    return registry.champion(product.name)


def decide(
    product: Product,
    ledger: Ledger,
    night: date,
    scored: ScoredNight,
    golden: GoldenFigures | None = None,
) -> NightRecord:
    """Test the night against those before it, name the cause, and keep the record, with the figures
    on the golden set where it is followed."""
    baseline, allowed = ledger.baseline(night), product.settings.false_alarms_per_year
    known = comparable(baseline.nights, baseline.ordinary, scored.version.number)
    cells = known_cells(_kept_cells(product, known))
    tonight = with_outliers(scored.statistics, scored.table, cells)
    watch = watch_night(baseline, tonight, allowed)
    open_alarm = ledger.open_alarm(before=night)
    triage = find_cause(watch, open_alarm.cause if open_alarm else NONE)
    scores, seed = watch.ordinary_scores, night.toordinal()
    expected = expected_false_alarms(scores, watch.autocorrelation, len(scores), allowed, seed=seed)
    before = (open_alarm.cause, open_alarm.since) if open_alarm else None
    record = replace(NightRecord.of(tonight, watch, triage, before, expected), golden=golden)
    product.records.write_record(night, record)
    return record


def queue_for_review(
    product: Product, night: date, scored: ScoredNight, record: NightRecord
) -> None:
    """List for a person every image that looks anomalous, or all of a held night."""
    status = status_of(record.night, record, History())
    waiting = scored.table[waiting_images(scored.table, status)]
    otherwise = f"night held: {record.cause}" if record.is_holding else "scored anomalous"
    why = waiting["is_suspect"].map({True: "suspect", False: otherwise})
    product.records.ask_for_review(night, waiting.assign(why=why))


def _kept_cells(product: Product, known: Sequence[NightStatistics]) -> list[pd.DataFrame]:
    """Read what the newest of these nights showed, as far as it was kept and can be read."""
    nights = [date.fromisoformat(night.night) for night in known[-KNOWN_NIGHTS:]]
    kept = [unless_damaged(partial(product.records.cells, night)) for night in nights]
    return [cells for cells in kept if cells is not None]
