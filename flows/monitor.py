"""Score the night with the champion, decide whether the world has drifted, and say why."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.product import Product, open_product
from flows.steps import fails_clearly, step
from mlflow_models import flavor, registry
from mlflow_models.tracking import log_night
from monitoring.alarms import check_night
from monitoring.night import NightStatistics, describe_light, summarise_night
from monitoring.triage import DEFECTS, LIGHT, find_cause
from reconad_plugin.config import parse_night
from reconad_plugin.plots import plot_maps, plot_scores
from reconad_plugin.score_table import score_table
from reconad_plugin.scoring import Detector
from reconad_plugin.store.images import load_images
from reconad_plugin.store.manifest import accepted_rows, known_nights, read_manifest
from reconad_plugin.training.selection import normal_hashes

SHOWN_IMAGES = 6  # the highest scores of the night, in the plot
REFERENCE_NIGHTS = 7  # ordinary nights that Evidently compares with


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
def monitor(product: str, night: date) -> dict[str, Any] | None:
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
    """Score the night's accepted images with the version that serves, or served, that night."""
    manifest = read_manifest(product.store, product.layout, night)
    if manifest is None or (rows := accepted_rows([manifest])).empty:
        return None
    past = product.records.record(night)
    version = (
        registry.version(product.name, past["model_version"])
        if past
        else registry.champion(product.name)
    )
    detector = flavor.load_model(version.uri)
    images = load_images(product.store, product.cache, rows, detector.image_size_px, product.limits)
    table = score_table(detector, rows, images, version.number)
    product.records.write_scores(night, table)
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
def decide(product: Product, night: date, scored: ScoredNight) -> dict[str, Any]:
    """Test the night against those before it, name the cause, and keep the record."""
    records = product.records.records_before(night)
    history = _history(product, night, records)
    adapted = _adapted_nights(product.name, night)
    alarmed = {day.isoformat() for day, record in records.items() if record["is_alarm"]}
    checks = check_night(
        history,
        scored.statistics,
        ordinary={past.night for past in history} - alarmed | set(adapted),
        new_levels={day for day, cause in adapted.items() if cause == LIGHT},
        false_alarms_per_year=product.settings.false_alarms_per_year,
    )
    triage = find_cause(scored.statistics, checks, product.settings.false_alarms_per_year)
    record = {
        "night": night.isoformat(),
        "model_version": scored.version.number,
        "is_alarm": triage.is_alarm,
        "cause": triage.cause,
        "evidence": triage.evidence,
        "is_learning": triage.is_learning,
        "is_holding": triage.is_holding,
        "statistics": scored.statistics.to_dict(),
        "checks": {name: check.to_dict() for name, check in checks.items()},
    }
    product.records.write_record(night, record)
    get_run_logger().info("alarm %s, cause %s: %s", triage.is_alarm, triage.cause, triage.evidence)
    return record


@step()
def ask_persons(product: Product, night: date, scored: ScoredNight, record: dict[str, Any]) -> None:
    """List for a person every image that is not learnt from without one."""
    table = scored.table
    if record["is_holding"]:
        waiting, otherwise = table, f"night held: {record['cause']}"
    else:
        normal = normal_hashes(table, is_relit=record["cause"] == LIGHT)
        waiting, otherwise = table[~table["sha256"].isin(normal)], "scored anomalous"
    why = waiting["is_suspect"].map({True: "suspect", False: otherwise})
    product.records.ask_for_review(night, waiting.assign(why=why))


@step()
def report(product: Product, night: date, scored: ScoredNight, record: dict[str, Any]) -> None:
    """Put the night on the Evidently dashboard, in MLflow, and among Prefect's artifacts."""
    from monitoring.dashboard import add_night, open_workspace
    from monitoring.report import run_report

    values = _night_values(scored, record)
    snapshot = run_report(night, scored.table, values, _reference(product, night))
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "evidently.html"
        snapshot.save_html(str(page))
        html = page.read_text(encoding="utf-8")
    add_night(open_workspace(product.workspace), product.name, snapshot)
    log_night(
        product.name,
        night.isoformat(),
        metrics={**scored.statistics.values, **values},
        tags={
            registry.CAUSE_TAG: record["cause"],
            "reconad.model_version": scored.version.number,
            "reconad.evidence": record["evidence"],
        },
        figures=_figures(product, scored, record),
        files={"evidently.html": html},
    )
    create_markdown_artifact(
        key=f"night-{product.name.replace('_', '-')}",
        markdown=_markdown(record),
        description=f"{product.name}, night {night}",
    )


def _history(
    product: Product, night: date, records: dict[date, dict[str, Any]]
) -> Sequence[NightStatistics]:
    """Statistics of every earlier night; of nights before any version served, their light."""
    history = []
    for earlier in known_nights(product.store, product.layout, before=night):
        if earlier in records:
            history.append(NightStatistics.from_dict(records[earlier]["statistics"]))
            continue
        manifest = read_manifest(product.store, product.layout, earlier)
        if manifest is not None and len(rows := accepted_rows([manifest])):
            history.append(describe_light(earlier.isoformat(), rows))
    return history


def _adapted_nights(product: str, night: date) -> dict[str, str]:
    """Earlier nights that a version which served was fine-tuned for, with the cause."""
    return {
        version.tags[registry.NIGHT_TAG]: version.tags[registry.CAUSE_TAG]
        for version in registry.versions(product)
        if version.tags.get(registry.PURPOSE_TAG) == "finetune"
        and registry.NIGHT_TAG in version.tags
        and version.tags.get(registry.PROMOTED_NIGHT_TAG, "9999") < night.isoformat()
        and version.tags.get(registry.ROLLED_BACK_NIGHT_TAG, "9999") >= night.isoformat()
    }


def _night_values(scored: ScoredNight, record: dict[str, Any]) -> dict[str, float]:
    cause, statistics = record["cause"], scored.statistics
    return {
        "alarm": float(record["is_alarm"]),
        "alarm_light": float(cause == LIGHT),
        "alarm_defects": float(cause == DEFECTS),
        "alarm_other": float(record["is_alarm"] and cause not in (LIGHT, DEFECTS)),
        "model_version": float(scored.version.number),
        "image_threshold": scored.detector.calibration.image_threshold,
        "share_above_threshold": statistics.alarming.above / statistics.alarming.images,
        "share_suspect": statistics.suspects.above / statistics.suspects.images,
    }


def _reference(product: Product, night: date) -> pd.DataFrame | None:
    """Images of the last ordinary nights, for Evidently to compare with."""
    records = product.records.records_before(night)
    ordinary = [day for day, record in records.items() if not record["is_alarm"]]
    tables = [product.records.scores(day) for day in ordinary[-REFERENCE_NIGHTS:]]
    found = [table for table in tables if table is not None]
    return pd.concat(found, ignore_index=True) if found else None


def _figures(product: Product, scored: ScoredNight, record: dict[str, Any]) -> dict[str, Any]:
    highest = scored.table.nlargest(SHOWN_IMAGES, "matched_score")
    images = load_images(
        product.store, product.cache, highest, scored.detector.image_size_px, product.limits
    )
    titles = [Path(key).name[-18:] for key in highest["key"]]
    calibration = scored.detector.calibration
    heading = f"{record['night']}: most anomalous with the light matched, cause {record['cause']}"
    return {
        "maps.png": plot_maps(scored.detector, images, titles, heading),
        "scores.png": plot_scores(
            scored.table["pred_score"].to_numpy(),
            calibration.normal_scores,
            calibration.image_threshold,
            f"{product.name}, night {record['night']}",
        ),
    }


def _markdown(record: dict[str, Any]) -> str:
    lines = [
        f"**Night {record['night']}**, version {record['model_version']}: "
        f"{'ALARM, cause ' + record['cause'] if record['is_alarm'] else 'no alarm'}",
        "",
        record["evidence"],
        "",
        "| statistic | tonight | expected | sigma | moving average | alarm |",
        "|---|---|---|---|---|---|",
    ]
    for check in record["checks"].values():
        expected = "-" if check["expected"] is None else f"{check['expected']:.4f}"
        score = "too few nights" if check["score"] is None else f"{check['score']:+.2f}"
        lines.append(
            f"| {check['statistic']} | {check['value']:.4f} | {expected} | {score} | "
            f"{check['average']:+.2f} | {'yes' if check['is_alarm'] else ''} |"
        )
    return "\n".join(lines)
