"""The watch's statistics as metrics of Evidently: for our reports, and for anyone's.

    Report([NightMean(statistic="sharpness"), ImageShare(column="is_suspect"), RowCount()])

The dataset is a table of scores and features, one row an image, as a nightly batch or a served
model writes it; see ``reconad_plugin.watch.statistics.summarise_night``. Evidently's own metrics
stand beside these in one report.
"""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import pandas as pd
from evidently import Dataset
from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
from evidently.core.report import Context

from reconad_plugin.errors import UndefinedMetricError
from reconad_plugin.watch.explanation import STATISTIC_WORDS
from reconad_plugin.watch.statistics import image_statistic, known_statistics


class NightMean(SingleValueMetric):
    """Mean over a night's images of one statistic of the watch."""

    statistic: str  # one of `reconad_plugin.watch.statistics.STATISTICS`


class ImageShare(SingleValueMetric):
    """Share of a night's images for which a column of true and false is true."""

    column: str  # such as `is_suspect`, or `pred_label` for the images above the threshold


class NightValue(SingleValueMetric):
    """A number that a night has as a whole, such as the version that scored it."""

    # holds the number in every row; as a parameter it would begin a new line on the dashboard with
    # each value
    column: str


OfTable = TypeVar("OfTable", bound=SingleValueMetric)


class _TableCalculation(SingleValueCalculation[OfTable], Generic[OfTable], ABC):
    """One number of a table, tonight's and the reference's."""

    @abstractmethod
    def value_of(self, table: pd.DataFrame) -> float: ...

    def calculate(
        self, context: Context, current_data: Dataset, reference_data: Dataset | None
    ) -> tuple[SingleValue, SingleValue | None]:
        current = self.result(self.value_of(current_data.as_dataframe()))
        if reference_data is None:
            return current, None
        return current, self.result(self.value_of(reference_data.as_dataframe()))


class NightMeanCalculation(_TableCalculation[NightMean]):
    """See ``NightMean``."""

    def value_of(self, table: pd.DataFrame) -> float:
        """Return the mean.

        Raises:
            UndefinedMetricError: the table lacks the columns that the statistic is made of.
        """
        known = known_statistics(table)
        if self.metric.statistic not in known:
            allowed = ", ".join(known)
            raise UndefinedMetricError(
                f"a statistic must be one that the table allows: {allowed}; got "
                f"{self.metric.statistic!r}: add the columns that it is made of"
            )
        return float(image_statistic(table, self.metric.statistic).mean())

    def display_name(self) -> str:
        return f"Night's mean of {STATISTIC_WORDS[self.metric.statistic].measured}"


class ImageShareCalculation(_TableCalculation[ImageShare]):
    """See ``ImageShare``."""

    def value_of(self, table: pd.DataFrame) -> float:
        """Return the share, in [0, 1]."""
        return float(table[self.metric.column].mean())

    def display_name(self) -> str:
        return f"Share of images with {self.metric.column}"


class NightValueCalculation(_TableCalculation[NightValue]):
    """See ``NightValue``."""

    def value_of(self, table: pd.DataFrame) -> float:
        """Return the number.

        Raises:
            UndefinedMetricError: the rows differ.
        """
        values = table[self.metric.column].unique()
        if len(values) != 1:
            raise UndefinedMetricError(
                f"a night's value must be the same in every row; {self.metric.column!r} has "
                f"{len(values)} values: give it one, or take MeanValue"
            )
        return float(values[0])

    def display_name(self) -> str:
        return str(self.metric.column).replace("_", " ").capitalize()
