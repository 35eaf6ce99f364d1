"""Build a product's dashboard again from what S3 keeps of its nights."""

from dataclasses import dataclass
from datetime import date
from functools import cache

import reconad_plugin.telemetry  # noqa: F401  before MLflow and Evidently
from flows.jobs.ledger import open_ledger, see_history
from flows.jobs.night_report import dashboard_run
from flows.jobs.product import open_product
from flows.jobs.progress import night_bar
from mlflow_models import flavor
from mlflow_models.version_names import version_to_load
from reconad_plugin.errors import ConfigError


@dataclass(frozen=True)
class Backfilled:
    """What a backfill did."""

    nights: int  # how many were put on the dashboard
    left_out: list[date]  # others, whose record or scores are gone or cannot be read


def backfill(product: str, first: date = date.min, last: date = date.max) -> Backfilled:
    """Put the nights from ``first`` to ``last`` on the dashboard, in place of what is there.

    All nights, so without limits, also get the panels of this reconad, and whatever else is on
    the product's dashboard goes.

    A night of a version that was deleted is shown from its record, without the threshold that
    nobody knows any more. One that cannot be read stops no other.

    Raises:
        ConfigError: unknown product, or no night with a record.
    """
    from monitoring.dashboard import add_night, lay_out, remove_other_runs
    from monitoring.workspace import open_workspace

    opened = open_product(product)
    ledger = open_ledger(opened, see_history(opened))
    wanted = [night for night in ledger.records if first <= night <= last]
    if not wanted:
        raise ConfigError(
            f"a backfill needs nights that the watch has seen; {product} has none from "
            f"{first} to {last}: run `reconad nightly` first"
        )
    workspace = open_workspace(opened.workspace)
    is_all = (first, last) == (date.min, date.max)
    if is_all:
        lay_out(workspace, product)

    @cache
    def threshold_of(number: str) -> float | None:
        try:
            version = version_to_load(product, number)
        except ConfigError:  # somebody deleted it
            return None
        return float(flavor.load_calibrated(version.uri).calibration.image_threshold)

    added, left_out = list[date](), list[date]()
    for night in night_bar(product, wanted):
        record, table = ledger.records.get(night), ledger.scores[night]
        if record is None or table is None:
            left_out.append(night)
            continue
        threshold = record.statistics.set_threshold or threshold_of(record.model_version)
        run = dashboard_run(night, table, record, threshold, ledger)
        add_night(workspace, product, record, run.snapshot)
        added.append(night)
    if is_all:
        remove_other_runs(workspace, product, added)
    return Backfilled(len(added), left_out)
