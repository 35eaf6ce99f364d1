"""What the code decides, as plain JSON. With `trainings`, `aliases` and `answers` beside it, it is
all of the golden master that knows the code.

Where functions move or get other names, this module follows, and what it answers must not change:
it asks the same questions, and says the answers in the same words. It calls what the flows call.
Where a decision lies within a function that goes on to work with pictures, the function is run up
to there, and what follows is put out of the way. There are no sentences and no raw numbers among
the answers: sentences may be worded anew, and a last digit differs between processors.

Every answer for a night is as of that night: of the bucket what earlier nights left, and the
night itself. The registry has no "as of" in today's code; its facts are those of the checkpoint.
"""

from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pandas as pd
from prefect.logging import disable_run_logger

import monitoring.report
from flows import finetune, nightly, train
from flows.commands import product_status
from flows.jobs import night as jobs
from flows.jobs import night_report
from flows.jobs.judging import PromotionOutcome
from flows.jobs.ledger import open_ledger, see_history
from flows.jobs.product import Product
from mlflow_models import alias_log, registry
from reconad_plugin.errors import ReconadError
from reconad_plugin.ledger.ledger import Ledger
from reconad_plugin.ledger.night_record import NightRecord
from reconad_plugin.watch.statistics import NightStatistics
from tests.golden_master.aliases import adopted, rolled_back
from tests.golden_master.answers import Json, ReachedError, Unwritten, nothing, opened, reviewed
from tests.golden_master.trainings import judging_images, training_of

RETRAINING_INTERVALS = (2, 4, 8)  # nights; asked for besides the product's own


def ask_for_product(name: str) -> Json:
    """What holds for a product at a checkpoint, whatever the night.

    It writes to copies of the product's registered model, so nothing may be remembered meanwhile.
    """
    found = product_status.read_status(name).to_dict()
    versions, history = registry.versions(name), see_history(opened(name))
    order = alias_log.serving_stack(move for move in alias_log.moves(name) if not move.is_open)
    return {
        "aliases": {
            alias: found[alias]
            for alias in (registry.CHAMPION, registry.PREVIOUS_CHAMPION, registry.CHALLENGER)
        },
        "served": [
            " ".join(str(turn[part]) for part in ("from", "to", "version", "by", "instead_of"))
            for turn in found["history"]
        ],
        "open_turns": len(alias_log.open_moves(versions)),
        "serving_stack": order,
        "last_watched": found["watch"]
        and {part: found["watch"][part] for part in ("night", "is_alarm", "is_open", "since")},
        "founding_until": history.founding_until,
        "rolled_back": sorted(history.rolled_back),
        "judging": judging_images(opened(name)),
        "adopted": adopted(name),
        "rolled_back_one_by_one": rolled_back(name),
    }


def ask_for_nights(name: str, nights: list[date]) -> Json:
    """What holds for each night; one may not have come yet."""
    product = opened(name)
    with disable_run_logger():
        ledger = open_ledger(product, see_history(product))
        return {night.isoformat(): _ask_for_night(product, ledger, night) for night in nights}


def _ask_for_night(product: Product, ledger: Ledger, night: date) -> Json:
    record, manifest = ledger.records.get(night), ledger.manifests.get(night)
    alarm = ledger.open_alarm(before=night)
    return {
        "scored_by": record.model_version if record else None,
        "would_be_scored": None if manifest is None else _scoring(product, ledger, night),
        "is_closed": ledger.history.is_closed(night),
        "alarm_open_before": alarm and [alarm.cause, alarm.since],
        "new_levels": sorted(ledger.new_levels(night)),
        "waiting": reviewed(product.records.review(night)),
        "watch": None if record is None else _watch(product, ledger, night, record),
        "report": None if record is None else _report(product, ledger, night, record),
        "action": _action(product, night, record, manifest),
        "retraining_is_due_after": [
            nights for nights in RETRAINING_INTERVALS if ledger.is_retraining_due(night, nights)
        ],
        "scheduled_training": training_of(train, product, ledger, night),
        "fine_tuning": training_of(finetune, product, ledger, night),
    }


# --- scoring and the watch


def _scoring(product: Product, ledger: Ledger, night: date) -> Json | None:
    """Which version would score the night, and whether it learnt from it; None: no images."""
    asked: list[str] = []

    def load(uri: str) -> Any:
        asked.append(uri.rpartition("/")[2])
        calibration = SimpleNamespace(normal_scores=(), image_threshold=0.0)
        return SimpleNamespace(
            image_size_px=32,
            calibration=calibration,
            matched_calibration=calibration,
            matched_threshold=0.0,
            set_threshold=None,
        )

    def summarise(*_: Any, is_trained_on: bool) -> None:
        raise ReachedError(is_trained_on)

    product = replace(product, records=Unwritten(product))
    try:
        with (
            patch.object(jobs.flavor, "load_model", load),
            patch.object(Product, "load_images", nothing),
            patch.multiple(
                jobs,
                score_table=lambda *_: pd.DataFrame({"map_cells": []}),
                summarise_cells=nothing,
                summarise_night=summarise,
            ),
        ):
            jobs.score_night(product, ledger, night)
    except ReachedError as reached:
        return {"by": asked[-1], "is_trained_on": reached.found}
    except ReconadError as error:
        return {"refused": type(error).__name__}
    return None


def _watch(product: Product, ledger: Ledger, night: date, record: NightRecord) -> Json:
    """The watch of a night again, from the scores and statistics that are kept of it."""
    told: Json = {}
    records = Unwritten(product)
    product = replace(product, records=records)
    scored = jobs.ScoredNight(
        version=registry.version(product.name, record.model_version),
        detector=None,
        table=product.records.scores(night),
        statistics=record.statistics,
    )

    def watch_night(baseline: Any, tonight: Any, allowed: float) -> Any:
        levels = baseline.new_levels
        told["history"] = {past.night: _counted_as(past) for past in baseline.nights}
        told["ordinary"] = sorted(
            name for name in baseline.normal if name in baseline.ordinary or name not in levels
        )
        told["new_levels"] = sorted(levels)
        told["false_alarms_per_year"] = allowed
        told["result"] = watched(baseline, tonight, allowed)
        return told["result"]

    def comparable(*arguments: Any) -> Any:
        nights = compared(*arguments)
        told["compared_with"] = [past.night for past in nights]
        return nights

    watched, compared = jobs.watch_night, jobs.comparable
    with patch.multiple(
        jobs,
        watch_night=watch_night,
        comparable=comparable,
        with_outliers=lambda tonight, *_: tonight,
        expected_false_alarms=nothing,
    ):
        again = jobs.decide(product, ledger, night, scored)
        jobs.queue_for_review(product, night, scored, again)
    decision = again.to_dict()
    result = told.pop("result")
    decided = ("is_alarm", "is_raised", "is_new", "since", "cause", "also")
    return told | {
        "decision": {part: decision[part] for part in (*decided, "is_learning", "is_holding")},
        "checks": " ".join(result.checks),
        "alarming_checks": [
            f"{name}{' jump' * check.is_jump}{' shift' * check.is_shift}"
            for name, check in result.checks.items()
            if check.is_alarm
        ],
        "unsettled_checks": [name for name, check in result.checks.items() if not check.is_settled],
        "unknown_checks": [name for name, check in result.checks.items() if check.score is None],
        "counts": {
            name: f"{count.above} of {count.images}{' alarm' * count.is_alarm}"
            for name, count in (
                ("alarming", result.above_threshold),
                ("suspects", result.suspects),
                ("outliers", result.contrast),
            )
        },
        "is_placed": result.is_placed,
        "asked_for": reviewed(records.asked_for),
    }


def _counted_as(night: NightStatistics) -> str:
    by = f"scored by {night.model_version}" if night.model_version else "its light alone"
    return f"{by}{', trained on' * night.is_trained_on}, {night.images} images"


def _report(product: Product, ledger: Ledger, night: date, record: NightRecord) -> Json:
    """What Evidently compares the night with, and which marks the night has on the dashboard."""
    told: Json = {}

    def run_report(night: date, table: Any, values: Any, reference: pd.DataFrame | None) -> None:
        told["reference_nights"] = [] if reference is None else sorted(set(reference["night"]))

    def night_values(*_: Any, **marks: bool) -> None:
        told.update(marks)

    with (
        patch.multiple(monitoring.report, run_report=run_report, NightRun=nothing),
        patch.object(night_report, "night_values", night_values),
    ):
        night_report.dashboard_run(night, ledger.scores.get(night), record, 0.0, ledger)
    return told


# --- the night as a whole


def _action(
    product: Product, night: date, record: NightRecord | None, manifest: pd.DataFrame | None
) -> str:
    """What ``nightly`` would answer where the bucket is as it was, and the watch says as before."""
    verdicts = ("accepted", "quarantined", "duplicate")
    counts = {} if manifest is None else manifest["verdict"].value_counts()

    def watch(*_: Any) -> NightRecord | None:
        if record is None and counts.get("accepted"):
            raise ReachedError("it is scored and watched first")
        return record

    with patch.multiple(
        nightly,
        open_product=lambda _: product,
        recover=lambda _: SimpleNamespace(versions=None),
        sync_history=lambda *_: see_history(product),
        ingest=lambda *_: {verdict: int(counts.get(verdict, 0)) for verdict in verdicts},
        monitor=watch,
        train=lambda *_: PromotionOutcome("a", "version"),
        emit=nothing,
        note_glance=nothing,
    ):
        try:
            return str(nightly.nightly.fn.__wrapped__(product.name, night).action)
        except ReachedError as reached:
            return str(reached.found)
