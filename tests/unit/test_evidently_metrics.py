"""The watch's statistics are metrics that any report of Evidently takes."""

import numpy as np
import pytest
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import RowCount

from monitoring.metrics import ImageShare, NightMean, NightValue
from reconad_plugin.errors import UndefinedMetricError
from reconad_plugin.watch.statistics import STATISTICS, image_statistics
from tests.night_tables import score_table


def run(metrics, table, reference=None):
    """The values of a report's metrics, in order."""
    snapshot = Report(metrics).run(table, reference)
    return [result.value for result in snapshot.metric_results.values()]


@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_nights_mean_is_the_watchs(statistic):
    """The metric is the mean of the statistic over the images."""
    table = score_table()

    (mean,) = run([NightMean(statistic=statistic)], table)

    assert mean == pytest.approx(image_statistics(table)[statistic].mean(), rel=1e-12)


def test_metrics_stand_beside_evidentlys_own():
    """A user's report of a user's table, strings and truth values and all."""
    table = score_table(images=40, is_suspect=np.arange(40) < 4).assign(model_version=3.0)

    values = run(
        [RowCount(), ImageShare(column="is_suspect"), NightValue(column="model_version")], table
    )

    assert values == [40, 0.1, 3.0]


def test_the_reference_has_a_value_of_its_own():
    """With reference data the report shows both."""
    dataset, reference = (
        Dataset.from_pandas(table[["luminance"]], DataDefinition(numerical_columns=["luminance"]))
        for table in (score_table(luminance=0.4), score_table(luminance=0.5))
    )

    page = Report([NightMean(statistic="luminance")]).run(dataset, reference).get_html_str(False)

    assert "0.400" in page
    assert "0.500" in page


def test_a_statistic_that_the_table_does_not_allow_is_refused():
    """The message names those that it allows."""
    table = score_table().drop(columns="map_extent")

    with pytest.raises(UndefinedMetricError, match=r"log_score.*got 'log_map_extent'"):
        run([NightMean(statistic="log_map_extent")], table)


def test_a_nights_value_that_differs_between_rows_is_refused():
    """A night has one."""
    with pytest.raises(UndefinedMetricError, match="'luminance' has 40 values"):
        run([NightValue(column="luminance")], score_table())
