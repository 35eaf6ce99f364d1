"""Score the night with the champion, decide whether the world has drifted, and say why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd
from prefect import flow, get_run_logger

from flows.jobs.alarm_state import new_levels, open_alarm
from flows.jobs.night_report import report
from flows.jobs.product import Product, open_product
from flows.runtime.steps import fails_clearly, step
from mlflow_models import flavor, registry
from reconad_plugin.config import parse_night
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.score_table import score_table
from reconad_plugin.ledger.eligibility import normal_hashes
from reconad_plugin.ledger.manifest import accepted_rows, known_nights, read_manifest
from reconad_plugin.ledger.night_record import NightRecord
from reconad_plugin.store.images import load_images
from reconad_plugin.watch.cause import LIGHT, NONE, find_cause
from reconad_plugin.watch.cells import KNOWN_NIGHTS, MAP_CELLS, known_cells, summarise_cells
from reconad_plugin.watch.contrast import with_outliers
from reconad_plugin.watch.forecast import expected_false_alarms
from reconad_plugin.watch.night_tests import comparable, watch_night
from reconad_plugin.watch.statistics import NightStatistics, describe_light, summarise_night


@dataclass(frozen=True)
class ScoredNight:
    """A night's images with their scores.

    Attributes:
        version: the version that scored them.
        detector: it, loaded.
        table: see ``score_table``.
        statistics: the night as the watch sees it.
    """

    version: registry.Version
    detector: Detector
    table: pd.DataFrame
    statistics: NightStatistics


@flow(name="monitor", flow_run_name="monitor {product} {night}")
@fails_clearly
def monitor(product: str, night: date) -> NightRecord | None:
    """Score a night and decide on it.

    Returns:
        The night's record, or None where the night has no image to score.

    Raises:
        NoChampionError: no version serves yet.
    """
    night = parse_night(night)
    opened = open_product(product)
    scored = score_night(opened, night)
    if scored is None:
        get_run_logger().info("night %s has no images to score", night)
        return None
    record = decide(opened, night, scored)
    ask_persons(opened, night, scored, record)
    report(opened, night, scored, record)
    return record


@step()
def score_night(product: Product, night: date) -> ScoredNight | None:
    """Score the night's accepted images with the version that served that night, or serves where
    none did or that one was rolled back."""
    manifest = read_manifest(product.store, product.layout, night)
    if manifest is None or (rows := accepted_rows([manifest])).empty:
        return None
    past = product.records.record(night)
    version = registry.version(product.name, past.model_version) if past else None
    if version is None or version.is_rolled_back:
        version = registry.champion(product.name)
    detector = flavor.load_model(version.uri)
    images = load_images(product.store, product.cache, rows, detector.image_size_px, product.limits)
    table = score_table(detector, rows, images, version.number)
    product.records.write_scores(night, table.drop(columns=MAP_CELLS))
    product.records.write_cells(night, summarise_cells(table))
    statistics = summarise_night(
        night.isoformat(),
        table,
        detector.calibration.normal_scores,
        detector.calibration.image_threshold,
        detector.matched_calibration.normal_scores,
        detector.matched_calibration.image_threshold,
        is_trained_on=night.isoformat() <= version.tags.get(registry.NIGHT_TAG, ""),
    )
    return ScoredNight(version, detector, table, statistics)


@step()
def decide(product: Product, night: date, scored: ScoredNight) -> NightRecord:
    """Test the night against those before it, name the cause, and keep the record."""
    records = product.records.records_before(night)
    history = _history(product, night, records)
    accepted = new_levels(product, night)
    withdrawn = registry.withdrawn(product.name)
    odd = {
        day.isoformat()
        for day, record in records.items()
        if record.is_alarm or record.model_version in withdrawn
    }
    ordinary = {past.night for past in history} - odd
    allowed = product.settings.false_alarms_per_year
    known = comparable(history, ordinary, scored.version.number)
    cells = known_cells(_kept_cells(product, known))
    tonight = with_outliers(scored.statistics, scored.table, cells)
    watch = watch_night(history, tonight, ordinary, accepted, allowed)
    still_open = open_alarm(records, accepted)
    triage = find_cause(watch, still_open[0] if still_open else NONE)
    record = NightRecord.of(
        tonight,
        watch,
        triage,
        still_open,
        expected_false_alarms(
            watch.ordinary_scores,
            watch.autocorrelation,
            len(watch.ordinary_scores),
            allowed,
            seed=night.toordinal(),
        ),
    )
    product.records.write_record(night, record)
    get_run_logger().info(
        "alarm %s, cause %s: %s", triage.is_alarm, triage.cause, triage.explanation
    )
    return record


@step()
def ask_persons(product: Product, night: date, scored: ScoredNight, record: NightRecord) -> None:
    """List for a person every image that looks anomalous, or all of a held night."""
    table = scored.table
    if record.is_holding:
        waiting, otherwise = table, f"night held: {record.cause}"
    else:
        normal = normal_hashes(table, is_relit=record.cause == LIGHT)
        waiting, otherwise = table[~table["sha256"].isin(normal)], "scored anomalous"
    why = waiting["is_suspect"].map({True: "suspect", False: otherwise})
    product.records.ask_for_review(night, waiting.assign(why=why))


def _kept_cells(product: Product, known: Sequence[NightStatistics]) -> list[pd.DataFrame]:
    """What the newest of these nights showed; one of a time before that was kept shows nothing."""
    nights = [date.fromisoformat(night.night) for night in known[-KNOWN_NIGHTS:]]
    kept = [product.records.cells(night) for night in nights]
    return [cells for cells in kept if cells is not None]


def _history(
    product: Product, night: date, records: dict[date, NightRecord]
) -> Sequence[NightStatistics]:
    """Statistics of every earlier night; of nights before any version served, their light.

    A later night without a record is one whose run died before it was watched. Nothing vouches
    for it, so it teaches nothing until it is run again.
    """
    history = []
    trusted_until = registry.trusted_until(product.name)
    first_watched = min(records, default=night).isoformat()
    for earlier in known_nights(product.store, product.layout, before=night):
        if earlier in records:
            history.append(records[earlier].statistics)
            continue
        day = earlier.isoformat()
        is_of_the_first = day <= trusted_until if trusted_until else day < first_watched
        if not is_of_the_first:
            continue
        manifest = read_manifest(product.store, product.layout, earlier)
        if manifest is not None and len(rows := accepted_rows([manifest])):
            history.append(describe_light(earlier.isoformat(), rows))
    return history
