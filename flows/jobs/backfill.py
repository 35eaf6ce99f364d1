"""Build a product's dashboard again from what S3 keeps of its nights."""

from datetime import date
from functools import cache

from tqdm import tqdm

import reconad_plugin.telemetry  # noqa: F401  before MLflow and Evidently
from flows.jobs.ledger import open_ledger, see_history
from flows.jobs.night_report import dashboard_run
from flows.jobs.product import open_product
from mlflow_models import flavor, registry
from reconad_plugin.errors import ConfigError


def backfill(product: str, first: date = date.min, last: date = date.max) -> int:
    """Put the nights from ``first`` to ``last`` on the dashboard, in place of what is there.

    All nights, so without limits, also get the panels of this reconad, and whatever else is on
    the product's dashboard goes.

    Returns:
        How many nights were put there. One whose table of scores is missing is left out.

    Raises:
        ConfigError: unknown product, or no night with a record.
    """
    from monitoring.dashboard import add_night, lay_out, open_workspace, remove_other_runs

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
    def threshold_of(number: str) -> float:
        detector = flavor.load_model(registry.version(product, number).uri)
        return float(detector.calibration.image_threshold)

    added = []
    for night in tqdm(wanted, desc=product, unit="night", disable=None, leave=False):
        record, table = ledger.records[night], ledger.scores[night]
        if table is None:
            continue
        threshold = threshold_of(record.model_version)
        run = dashboard_run(night, table, record, threshold, ledger)
        add_night(workspace, product, record, run.snapshot)
        added.append(night)
    if is_all:
        remove_other_runs(workspace, product, added)
    return len(added)
