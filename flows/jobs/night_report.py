"""What a person sees of a night: the Evidently dashboard, MLflow's run, a page."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure

from flows.jobs.product import Product
from mlflow_models.tracking import log_night
from mlflow_models.version_tags import watch_tags
from reconad_plugin.ledger.ledger import Ledger
from reconad_plugin.ledger.night_record import NightRecord
from reconad_plugin.ledger.night_values import night_values
from reconad_plugin.plots.figures import plot_maps, plot_scores
from reconad_plugin.watch.explanation import STATISTIC_WORDS, value_of

if TYPE_CHECKING:
    from flows.jobs.night import ScoredNight
    from monitoring.report import NightRun

SHOWN_IMAGES = 6  # the highest scores of the night, in the plot


def publish(
    product: Product, ledger: Ledger, night: date, scored: "ScoredNight", record: NightRecord
) -> None:
    """Put the night on the Evidently dashboard and in MLflow."""
    from monitoring.dashboard import add_night
    from monitoring.workspace import open_workspace

    threshold = scored.detector.calibration.image_threshold
    run = dashboard_run(night, scored.table, record, threshold, ledger)
    is_full = product.report == "full"  # drawings take most of a night's time
    files = {"evidently.html": run.snapshot.get_html_str(as_iframe=False)} if is_full else {}
    add_night(open_workspace(product.workspace), product.name, record, run.snapshot)
    statistics = scored.statistics
    log_night(
        product.name,
        night.isoformat(),
        metrics={
            **statistics.values,
            **run.values,
            "share_above_threshold": statistics.above_threshold.share,
            "share_suspect": statistics.suspects.share,
        },
        tags=watch_tags(record.cause, scored.version.number, record.explanation),
        figures=_figures(product, scored, record) if is_full else {},
        files=files,
    )


def dashboard_run(
    night: date,
    table: pd.DataFrame,
    record: NightRecord,
    image_threshold: float | None,
    ledger: Ledger,
) -> "NightRun":
    """Make a night's run of Evidently, from what is kept of the night; the threshold is None where
    nobody knows it any more.

    A training, or a promotion, comes after the night's own run, so it is marked on the next
    night with a record: the first that the new version scores.
    """
    from monitoring.report import NightRun, run_report

    earlier = [each for each in ledger.records if each < night]
    since = earlier[-1].isoformat() if earlier else ""

    def is_since_last(days: Iterable[str | None]) -> bool:
        return any(day is not None and since <= day < night.isoformat() for day in days)

    versions = ledger.history.versions
    values = night_values(
        record,
        image_threshold,
        is_retrained=is_since_last(each.night or None for each in versions),
        is_promoted=is_since_last(each.promoted_night for each in versions),
    )
    return NightRun(values, run_report(night, table, values, _reference(ledger, night)))


def _reference(ledger: Ledger, night: date) -> pd.DataFrame | None:
    """Images of the last ordinary nights, for Evidently to compare with."""
    tables = [ledger.scores.get(each) for each in ledger.reference_nights(night)]
    found = [table for table in tables if table is not None]
    return pd.concat(found, ignore_index=True) if found else None


def _figures(product: Product, scored: "ScoredNight", record: NightRecord) -> dict[str, Figure]:
    highest = scored.table.nlargest(SHOWN_IMAGES, "matched_score")
    images = product.load_images(highest, scored.detector.image_size_px)
    titles = [Path(key).name[-18:] for key in highest["key"]]
    calibration = scored.detector.calibration
    heading = f"{record.night}: most anomalous with the light matched, cause {record.cause}"
    scores, usual = scored.table["pred_score"].to_numpy(), calibration.normal_scores
    title = f"{product.name}, night {record.night}"
    return {
        "maps.png": plot_maps(scored.detector, images, titles, heading),
        "scores.png": plot_scores(scores, usual, calibration.image_threshold, title),
    }


def night_page(record: NightRecord) -> str:
    """Write the night as a page of Markdown: what happened, what to do, then every test."""
    verdict = f"ALARM, cause {record.cause}" if record.is_alarm else "no alarm"
    lines = [
        f"**Night {record.night}**, version {record.model_version}: {verdict}",
        "",
        record.explanation,
        "",
        *([f"Golden set: {record.golden}.", ""] if record.golden else ()),
        "| what | tonight | usually | score tonight | score on average | fails |",
        "|---|---|---|---|---|---|",
    ]
    for name, check in record.checks.items():
        usual = None if check.expected is None else value_of(name, check.expected)
        cells = (
            STATISTIC_WORDS[name].name,
            f"{value_of(name, check.value):.4g}",
            _number(usual, ".4g"),
            _number(check.score, "+.2f"),
            _number(check.average, "+.2f"),
            "yes" if check.is_alarm else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    limits = next(iter(record.checks.values()), None)
    if limits is not None:
        lines += ["", "Scores are in standard deviations; a test fails beyond "]
        lines[-1] += f"{limits.jump_limit:.1f} tonight, or {limits.average_limit:.1f} on average."
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "too few nights" if value is None else format(value, form)
