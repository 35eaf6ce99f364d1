"""What the code decides, as plain JSON. The one module of the golden master that knows the code.

Where functions move or get other names, this module follows, and what it answers must not change:
it asks the same questions, and says the answers in the same words. It calls what the flows call.
Where a decision lies within a function that goes on to work with pictures, the function is run up
to there, and what follows is put out of the way. There are no sentences and no raw numbers among
the answers: sentences may be worded anew, and a last digit differs between processors.

Every answer for a night is as of that night: of the bucket what earlier nights left, and the
night itself. The registry has no "as of" in today's code; its facts are those of the checkpoint.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import date
from pathlib import PurePosixPath
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import pandas as pd
import torch
from prefect.logging import disable_run_logger

import monitoring.report
from flows import finetune, nightly, promote, train
from flows.commands import status
from flows.jobs import judging, night_report, nightly_training
from flows.jobs import night as jobs
from flows.jobs import training_job as training
from flows.jobs.judging import PromotionOutcome
from flows.jobs.ledger import open_ledger, see_history
from flows.jobs.product import Product, open_product
from mlflow_models import alias_log, registry
from reconad_plugin.errors import ReconadError
from reconad_plugin.ledger import eligibility
from reconad_plugin.ledger.eligibility import Status
from reconad_plugin.ledger.ledger import Ledger
from reconad_plugin.ledger.night_record import NightRecord, NightRecords
from reconad_plugin.watch.cause import LIGHT
from reconad_plugin.watch.statistics import NightStatistics
from tests.golden_master.history import model_name, read_registry, write_registry

Json = dict[str, Any]
RETRAINING_INTERVALS = (2, 4, 8)  # nights; asked for besides the product's own
SCRATCH = "scratch"  # added to a product's name: a copy of its registry that may be written to


class _ReachedError(Exception):
    """Raised in place of what would follow a decision."""

    def __init__(self, found: Any) -> None:
        super().__init__(found)
        self.found = found


def ask_for_product(name: str) -> Json:
    """What holds for a product at a checkpoint, whatever the night.

    It writes to copies of the product's registered model, so nothing may be remembered meanwhile.
    """
    found = status.read_status(name).to_dict()
    versions, history = registry.versions(name), see_history(_opened(name))
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
        "standing": order,
        "last_watched": found["watch"]
        and {part: found["watch"][part] for part in ("night", "is_alarm", "is_open", "since")},
        "trusted_until": history.founding_until,
        "withdrawn": sorted(history.rolled_back),
        "judging": _judging(_opened(name)),
        "adopted": _adopted(name),
        "rolled_back_one_by_one": _rolled_back(name),
    }


def ask_for_nights(name: str, nights: list[date]) -> Json:
    """What holds for each night; one may not have come yet."""
    product = _opened(name)
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
        "waiting": _reviewed(product.records.review(night)),
        "watch": None if record is None else _watch(product, ledger, night, record),
        "report": None if record is None else _report(product, ledger, night, record),
        "action": _action(product, night, record, manifest),
        "retraining_is_due_after": [
            nights for nights in RETRAINING_INTERVALS if ledger.is_retraining_due(night, nights)
        ],
        "scheduled_training": _lesson(train, product, ledger, night),
        "fine_tuning": _lesson(finetune, product, ledger, night),
    }


# --- scoring and the watch


def _scoring(product: Product, ledger: Ledger, night: date) -> Json | None:
    """Which version would score the night, and whether it learnt from it; None: no images."""
    asked: list[str] = []

    def load(uri: str) -> Any:
        asked.append(uri.rpartition("/")[2])
        calibration = SimpleNamespace(normal_scores=(), image_threshold=0.0)
        return SimpleNamespace(
            image_size_px=32, calibration=calibration, matched_calibration=calibration
        )

    def summarise(*_: Any, is_trained_on: bool) -> None:
        raise _ReachedError(is_trained_on)

    product = replace(product, records=_Unwritten(product))
    try:
        with (
            patch.object(jobs.flavor, "load_model", load),
            patch.object(Product, "load_images", _nothing),
            patch.multiple(
                jobs,
                score_table=lambda *_: pd.DataFrame({"map_cells": []}),
                summarise_cells=_nothing,
                summarise_night=summarise,
            ),
        ):
            jobs.score_night(product, ledger, night)
    except _ReachedError as reached:
        return {"by": asked[-1], "is_trained_on": reached.found}
    except ReconadError as error:
        return {"refused": type(error).__name__}
    return None


def _watch(product: Product, ledger: Ledger, night: date, record: NightRecord) -> Json:
    """The watch of a night again, from the scores and statistics that are kept of it."""
    told: Json = {}
    records = _Unwritten(product)
    product = replace(product, records=records)
    scored = jobs.ScoredNight(
        version=registry.version(product.name, record.model_version),
        detector=None,
        table=product.records.scores(night),
        statistics=record.statistics,
    )

    def watch_night(history: Any, tonight: Any, ordinary: Any, levels: Any, allowed: float) -> Any:
        told["history"] = {past.night: _counted_as(past) for past in history}
        told["ordinary"] = sorted(ordinary)
        told["new_levels"] = sorted(levels)
        told["false_alarms_per_year"] = allowed
        told["result"] = watched(history, tonight, ordinary, levels, allowed)
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
        expected_false_alarms=_nothing,
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
        "asked_for": _reviewed(records.asked_for),
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
        patch.multiple(monitoring.report, run_report=run_report, NightRun=_nothing),
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
            raise _ReachedError("it is scored and watched first")
        return record

    with patch.multiple(
        nightly,
        open_product=lambda _: product,
        recover=lambda _: SimpleNamespace(versions=None),
        sync_history=lambda *_: see_history(product),
        ingest=lambda *_: {verdict: int(counts.get(verdict, 0)) for verdict in verdicts},
        monitor=watch,
        train=lambda *_: PromotionOutcome("a", "version"),
        emit=_nothing,
    ):
        try:
            return str(nightly.nightly.fn.__wrapped__(product.name, night).action)
        except _ReachedError as reached:
            return str(reached.found)


# --- learning and judging


def _lesson(flow: ModuleType, product: Product, ledger: Ledger, night: date) -> Json:
    """What a training or a fine-tuning of the night would learn, or that it is refused."""
    try:
        with patch.multiple(
            flow,
            open_product=lambda _: product,
            choose_images=nightly_training.training_job,
            one_at_a_time=lambda *_: nullcontext(),
            fit_and_register=_reach,
        ):
            getattr(flow, flow.__name__.rpartition(".")[2]).fn.__wrapped__(product.name, night)
    except ReconadError as error:
        return {"refused": type(error).__name__}
    except _ReachedError as reached:
        job = reached.found
    known = ledger.as_of(night)
    status = {day: known.status(day) for day in known.records}
    light_from = night if job.cause == LIGHT else None
    with patch.object(eligibility, "most_spare", lambda *_: 0):
        certain = known.training_images(product.settings.target_fpr, light_from)
    learnt = training.find_version(job)
    return {
        "held_nights": [
            day.isoformat() for day in status if status[day] in (Status.HELD, Status.ROLLED_BACK)
        ],
        "relit_nights": [
            day.isoformat() for day, record in known.records.items() if record.cause == LIGHT
        ],
        "trusted_until": known.history.founding_until or night.isoformat(),
        "spare": _by_night_and_split(job.images[~job.images["key"].isin(certain["key"])]),
        "purpose": job.purpose,
        "cause": job.cause,
        "base": job.base.name if job.base else None,
        "varies_light": job.training.light_augmentation,
        "images": _by_night_and_split(job.images),
        "pictures": _pictures(job),
        "learnt_before_as": learnt.number if learnt else None,
    }


def _pictures(job: training.TrainingJob) -> str:
    """How many pictures train, calibrate and judge, repeated and relit ones among them."""

    def load(_: Product, rows: pd.DataFrame, size_px: int) -> torch.Tensor:
        shades = torch.arange(3 * 8 * 8, dtype=torch.uint8).reshape(3, 8, 8)
        return shades.repeat(len(rows), 1, 1, 1)

    with patch.object(Product, "load_images", load):
        images = job.load()
    return f"{len(images.train)}, {len(images.calibration)}, {len(images.judge)}"


def _judging(product: Product) -> Json | None:
    """The normal images of nights that versions are judged on; None before there is one."""

    def simulate(normal: Any, names: list[str], nights: list[str], *_: Any) -> None:
        raise _ReachedError(pd.DataFrame({"key": names, "night": nights, "split": "judge"}))

    with (
        patch.object(Product, "load_images", _nothing),
        patch.multiple(
            judging,
            read_golden_images=_nothing,
            read_golden=_nothing,
            simulated_golden_set=simulate,
        ),
    ):
        try:
            promote.gather_golden.__wrapped__(product, date.min, 32)
        except _ReachedError as reached:
            return _by_night_and_split(reached.found)
        except ReconadError:
            return None
    raise AssertionError("without a golden set anomalies are simulated")


def _adopted(name: str) -> Json:
    """What changes in the registry where a run finds the champion as it is now."""
    with _copied(name, "adopt") as copy:
        before = _tags(copy)
        alias_log.adopt_champion(copy)
        after = _tags(copy)
    return {
        number: {
            tag: [before[number].get(tag), tags.get(tag)]
            for tag in sorted(tags.keys() | before[number].keys())
            if before[number].get(tag) != tags.get(tag)
        }
        for number, tags in after.items()
        if tags != before[number]
    }


def _rolled_back(name: str) -> list[str]:
    """The champion, and the versions that rollbacks go back to, one after the other."""
    champions = []
    with _copied(name, "rollback") as copy:
        while (serving := registry.number_by_alias(copy, registry.CHAMPION)) is not None:
            previous = registry.number_by_alias(copy, registry.PREVIOUS_CHAMPION)
            champions.append(f"{serving} before it {previous}")
            try:
                move = alias_log.roll_back(copy, serving, "2030-01-01", "bad")
            except ReconadError:
                break
            alias_log.finish(copy, move)
    return champions


@contextmanager
def _copied(name: str, purpose: str) -> Iterator[str]:
    """A product whose registered model is a copy, for as long as it is needed."""
    copy = f"{name}_{SCRATCH}_{purpose}"
    facts = read_registry(model_name(name))
    write_registry(model_name(copy), facts)
    try:
        yield copy
    finally:
        if facts["versions"]:
            registry.MlflowClient().delete_registered_model(model_name(copy))


def _tags(name: str) -> dict[str, dict[str, str]]:
    return {version.number: version.tags for version in registry.versions(name)}


# --- in short


def _opened(name: str) -> Product:
    product = open_product(name)
    return replace(product, records=_Unwritten(product))


class _Unwritten(NightRecords):
    """The records of a product; what is written is kept here in place of the bucket."""

    def __init__(self, product: Product) -> None:
        super().__init__(product.store, product.layout)
        self.asked_for = pd.DataFrame({"key": [], "night": [], "why": [], "decision": []})

    def write_scores(self, *_: Any) -> None: ...

    def write_cells(self, *_: Any) -> None: ...

    def write_history(self, *_: Any) -> None: ...

    def write_record(self, *_: Any) -> None: ...

    def write_review(self, night: date, table: pd.DataFrame) -> None:
        self.asked_for = table


def _reviewed(table: pd.DataFrame) -> Json:
    """Decision -> why it is asked for -> images."""
    return {
        decision: {why: _names(same["key"]) for why, same in rows.groupby("why")}
        for decision, rows in table.groupby("decision")
    }


def _by_night_and_split(rows: pd.DataFrame) -> Json:
    """Night -> split -> images."""
    return {
        night: {split: _names(same["key"]) for split, same in of_night.groupby("split")}
        for night, of_night in rows.groupby("night")
    }


def _names(keys: Iterable[str]) -> str:
    """Names of files in one line."""
    return " ".join(sorted(PurePosixPath(key).stem for key in keys))


def _reach(found: Any) -> None:
    raise _ReachedError(found)


def _nothing(*_: Any, **__: Any) -> None:
    return None
