"""One night in numbers: means over its images, and how many of them look wrong.

The night is the unit of everything that follows: images of one night share its lamp, its
operator and its machine, so a night counts once however many images it has.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from reconad_plugin.images.features import FOCUS_FEATURES, LIGHT_FEATURES

LIGHT_STATISTICS: Final = LIGHT_FEATURES
CAMERA_STATISTICS: Final = FOCUS_FEATURES
SCORE_STATISTIC: Final = "log_score"
STATISTICS: Final = (*LIGHT_STATISTICS, *CAMERA_STATISTICS, SCORE_STATISTIC)

# Night-to-night deviation below which a statistic is taken as steady: changes of a few times
# this are not worth waking anyone for, however regular the nights before were.
STEADY_DEVIATION: Final[dict[str, float]] = {
    "luminance": 0.002,
    "contrast": 0.002,
    "red_green_balance": 0.005,
    "blue_green_balance": 0.005,
    "clipped_share": 0.005,
    "sharpness": 0.03,
    SCORE_STATISTIC: 0.03,
}


@dataclass(frozen=True)
class Exceedances:
    """How many of a night's images scored above a calibrated threshold.

    Attributes:
        above: images above the threshold.
        images: images in all.
        calibration_images: held-out normal images that the threshold came from.
        calibration_above: how many of them lie at or above the threshold.
    """

    above: int
    images: int
    calibration_images: int
    calibration_above: int


@dataclass(frozen=True)
class NightStatistics:
    """A night as the watch sees it.

    Attributes:
        night: ``YYYY-MM-DD``.
        model_version: the version that scored it.
        values: mean over the images of each of ``STATISTICS``.
        alarming: images above the threshold as they came.
        suspects: images above the threshold after their light was matched to the reference.
        is_trained_on: whether the version learnt from images of this night, so that its scores
            say nothing.
    """

    night: str
    model_version: str
    values: dict[str, float]
    alarming: Exceedances
    suspects: Exceedances
    is_trained_on: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "NightStatistics":
        """Back from JSON."""
        exceedances = {name: Exceedances(**content[name]) for name in ("alarming", "suspects")}
        return cls(**content | exceedances)


def summarise_night(
    night: str,
    table: pd.DataFrame,
    calibration_scores: tuple[float, ...],
    image_threshold: float,
    matched_calibration_scores: tuple[float, ...],
    matched_threshold: float,
    is_trained_on: bool = False,
) -> NightStatistics:
    """Reduce the night's table of images to its statistics.

    Args:
        night: ``YYYY-MM-DD``.
        table: one row an image: ``pred_score``, ``matched_score``, ``model_version`` and the
            features of light and focus. At least one row. Whether a nightly batch or a served
            model wrote it makes no difference.
        calibration_scores: held-out normal scores of the version that scored the table.
        image_threshold: its threshold.
        matched_calibration_scores: the same after matching the light.
        matched_threshold: the same after matching the light.
        is_trained_on: whether the version learnt from this night.

    Raises:
        ValueError: the table is empty.
    """
    if table.empty:
        raise ValueError("a night's statistics need at least one scored image; got none")
    values = {name: float(table[name].mean()) for name in STATISTICS if name in table}
    values[SCORE_STATISTIC] = float(np.log(table["pred_score"].clip(lower=1e-12)).mean())
    values = {name: value for name, value in values.items() if math.isfinite(value)}
    return NightStatistics(
        night=night,
        model_version=str(table["model_version"].iloc[0]),
        values=values,
        alarming=_exceedances(table["pred_score"], calibration_scores, image_threshold),
        suspects=_exceedances(
            table["matched_score"], matched_calibration_scores, matched_threshold
        ),
        is_trained_on=is_trained_on,
    )


def describe_light(night: str, table: pd.DataFrame) -> NightStatistics:
    """A night before any version served: its light and focus alone.

    Args:
        night: ``YYYY-MM-DD``.
        table: one row an image with the features of light and focus.
    """
    values = {name: float(table[name].mean()) for name in STATISTICS if name in table}
    nothing = Exceedances(above=0, images=0, calibration_images=0, calibration_above=0)
    return NightStatistics(night, "", values, nothing, nothing, is_trained_on=True)


def _exceedances(
    scores: pd.Series, calibration_scores: tuple[float, ...], threshold: float
) -> Exceedances:
    return Exceedances(
        above=int((scores > threshold).sum()),
        images=len(scores),
        calibration_images=len(calibration_scores),
        calibration_above=sum(score >= threshold for score in calibration_scores),
    )
