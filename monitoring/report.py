"""The night as an Evidently report: for the dashboard lean, for a person in full."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Final

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.core.report import Snapshot
from evidently.metrics import MeanValue, QuantileValue, RowCount, ValueDrift

from monitoring.metrics import ImageShare, NightMean, NightValue
from reconad_plugin.watch.cells import MAP_CELLS
from reconad_plugin.watch.statistics import image_statistics

SHARES: Final = ("pred_label", "is_suspect")
TAIL: Final = 0.95
DRIFT_COLUMNS: Final = ("pred_score", "luminance")
REFERENCE_IMAGES: Final = 10_000  # drawn from those of the nights before; more changes nothing


@dataclass(frozen=True)
class NightRun:
    """A night's run of Evidently."""

    values: dict[str, float]  # of the night as a whole, see `reconad_plugin.ledger.night_values`
    snapshot: Snapshot


def run_name(night: date) -> str:
    """Return the name of a night's run, unique in its project."""
    return f"night {night.isoformat()}"


def run_report(
    night: date,
    images: pd.DataFrame,
    values: Mapping[str, float],
    reference: pd.DataFrame | None,
) -> Snapshot:
    """Run Evidently on one night.

    The night stamps the run, naive, as all of a workspace must be. Its table of scores and features
    has one row an image; statistics that it has no columns for are left out. The values are of the
    night as a whole, see ``reconad_plugin.ledger.night_values``. Evidently's drift score against a
    reference, images of ordinary nights before, is shown for information.
    """
    images = images.drop(columns=MAP_CELLS, errors="ignore")  # a vector is no column to Evidently
    statistics = image_statistics(images).mean().dropna()
    metrics: list[Any] = [NightValue(column=name) for name in values]
    metrics += [ImageShare(column=name) for name in SHARES if name in images]
    metrics += [RowCount()]
    metrics += [NightMean(statistic=str(name)) for name in statistics.index]
    metrics += [MeanValue(column="pred_score"), QuantileValue(column="pred_score", quantile=TAIL)]
    if reference is not None:
        known = [name for name in DRIFT_COLUMNS if name in images and name in reference]
        metrics += [ValueDrift(column=name, method="wasserstein") for name in known]
        reference = reference.sample(min(len(reference), REFERENCE_IMAGES), random_state=0)
        reference = reference.reindex(columns=images.columns)  # older tables have fewer
    return Report(metrics).run(
        _dataset(images, values),
        None if reference is None else _dataset(reference, values),
        timestamp=datetime.combine(night, time()),
        name=run_name(night),
    )


def lean(snapshot: Snapshot) -> Snapshot:
    """Drop the drawings, which the dashboard does not use, so that years of nights stay quick."""
    for result in snapshot.metric_results.values():
        result.widget = []
    snapshot._widgets = []
    snapshot._tests_widgets = []
    return snapshot


def _dataset(images: pd.DataFrame, values: Mapping[str, float]) -> Dataset:
    """Keep the columns of numbers; names and hashes would be counted one by one."""
    numbers = images.select_dtypes(["number", "bool"]).astype(float).assign(**values)
    return Dataset.from_pandas(numbers, DataDefinition(numerical_columns=list(numbers)))
