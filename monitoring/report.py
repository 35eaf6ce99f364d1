"""The night as an Evidently report: for the dashboard lean, for a person in full."""

from datetime import date, datetime, time
from typing import Final

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.core.report import Snapshot
from evidently.metrics import MeanValue, QuantileValue, RowCount, ValueDrift

from reconad_plugin.images.features import FEATURES

IMAGE_COLUMNS: Final = ("pred_score", "matched_score", *FEATURES)
NIGHT_COLUMNS: Final = (
    "alarm",
    "alarm_light",
    "alarm_defects",
    "alarm_other",
    "model_version",
    "image_threshold",
    "share_above_threshold",
    "share_suspect",
)
TAIL: Final = 0.95


def run_report(
    night: date,
    images: pd.DataFrame,
    night_values: dict[str, float],
    reference: pd.DataFrame | None,
) -> Snapshot:
    """Run Evidently on one night.

    Args:
        night: stamps the run; naive, as all of a workspace must be.
        images: one row an image, with ``IMAGE_COLUMNS``.
        night_values: one value a night, with ``NIGHT_COLUMNS``.
        reference: images of ordinary nights before, or None. Evidently's own drift score
            against them is shown for information; alarms are decided over nights.
    """
    current = images[list(IMAGE_COLUMNS)].assign(**night_values)
    metrics = [RowCount()]
    metrics += [MeanValue(column=name) for name in (*IMAGE_COLUMNS, *NIGHT_COLUMNS)]
    metrics += [QuantileValue(column="pred_score", quantile=TAIL)]
    if reference is not None:
        reference = reference[list(IMAGE_COLUMNS)].assign(**night_values)
        metrics += [
            ValueDrift(column=name, method="wasserstein") for name in ("pred_score", "luminance")
        ]
    definition = DataDefinition(numerical_columns=[*IMAGE_COLUMNS, *NIGHT_COLUMNS])
    return Report(metrics).run(
        Dataset.from_pandas(current, definition),
        None if reference is None else Dataset.from_pandas(reference, definition),
        timestamp=datetime.combine(night, time()),
        name=f"night {night.isoformat()}",
    )


def lean(snapshot: Snapshot) -> Snapshot:
    """Drop the drawings, which the dashboard does not use, so that years of nights stay quick."""
    for result in snapshot.metric_results.values():
        result.widget = []
    snapshot._widgets = []
    snapshot._tests_widgets = []
    return snapshot
