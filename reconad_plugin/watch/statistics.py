"""One night in numbers: means over its images, and how many of them look wrong.

The night is the unit of everything that follows: images of one night share their lamp, its
operator and its machine, so a night counts once however many images it has.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from reconad_plugin.images.features import CAMERA_FEATURES, LIGHT_FEATURES

CONTRAST: Final = "contrast"
SURFACE_STATISTIC: Final = "relative_contrast"
MATCHED_SCORE_STATISTIC: Final = "log_matched_score"
LIGHT_STATISTICS: Final = tuple(name for name in LIGHT_FEATURES if name != CONTRAST)
CAMERA_STATISTICS: Final = CAMERA_FEATURES
SCORE_STATISTICS: Final = (
    "log_score", MATCHED_SCORE_STATISTIC, "tail_share", "surprise", "log_map_extent",
)  # fmt: skip
STATISTICS: Final = (*LIGHT_STATISTICS, SURFACE_STATISTIC, *CAMERA_STATISTICS, *SCORE_STATISTICS)
TAIL_P_VALUE: Final = 0.1

# Night-to-night deviation below which a statistic is taken as steady: changes of a few times
# this are not worth waking anyone for, however regular the nights before were.
STEADY_DEVIATION: Final[dict[str, float]] = {
    "luminance": 0.002, "red_green_balance": 0.005, "blue_green_balance": 0.005,
    "clipped_share": 0.005, "light_slope_x": 0.005, "light_slope_y": 0.005, SURFACE_STATISTIC: 0.01,
    "sharpness": 0.03, "noise": 0.03, "resolution": 0.01,
    "framing_x": 0.002, "framing_y": 0.002, "framing_spread": 0.001,
    "log_score": 0.03, MATCHED_SCORE_STATISTIC: 0.03,
    "tail_share": 0.02, "surprise": 0.05, "log_map_extent": 0.03,
}  # fmt: skip


@dataclass(frozen=True)
class Exceedances:
    """How many of a night's images scored above a calibrated threshold."""

    above: int  # images above the threshold
    images: int  # images in all
    calibration_images: int  # held-out normal images that the threshold came from
    calibration_above: int  # how many of them lie at or above the threshold

    @property
    def share(self) -> float:
        """Share of the night's images; 0 where there are none."""
        return self.above / self.images if self.images else 0.0


@dataclass(frozen=True)
class Outliers:
    """How far images of a night stand out from their cells (``reconad_plugin.watch.contrast``)."""

    above: int  # images with a cell far above what it shows on ordinary nights
    images: int  # those at known positions
    # logarithm of how much more prominent the highest tenth is than the median image
    contrast: float
    # whether it is that of a difference; in a record of before 0055 it is that of a ratio, and the
    # two do not compare
    is_of_difference: bool = False


@dataclass(frozen=True)
class Repeats:
    """The one frame that most pictures of a night repeat, of all or of one position of the camera,
    whichever repeat it more; none where a frame came again once or twice."""

    position: str = ""  # of the camera; empty where all pictures of the night are meant
    pictures: int = 0  # that could be read
    repeated: int = 0  # of these, that show this frame and are not the first to do so

    @property
    def share(self) -> float:
        """Share of the pictures; 0 where there are none."""
        return self.repeated / self.pictures if self.pictures else 0.0


@dataclass(frozen=True)
class PositionMeans:
    """The images of a night that one position of the camera took."""

    images: int  # how many
    values: dict[str, float]  # their mean of each statistic


@dataclass(frozen=True)
class NightStatistics:
    """A night as the watch sees it."""

    night: str  # `YYYY-MM-DD`
    model_version: str  # the version that scored it
    values: dict[str, float]  # mean over the images of each of `STATISTICS` that the night has
    above_threshold: Exceedances  # images above the threshold as they came
    # images above the threshold after their light was matched to the reference
    suspects: Exceedances
    # whether the version was trained on images of this night or calibrated on them, so that its
    # scores say nothing
    is_trained_on: bool
    # standard deviation of each statistic over the images of a position
    deviations: dict[str, float] = field(default_factory=dict)
    # what each position of the camera saw; empty where they are not known
    positions: dict[str, PositionMeans] = field(default_factory=dict)
    images: int = 0  # that were looked at
    outliers: Outliers | None = None  # None while too few nights are known
    repeats: Repeats = Repeats()
    # that a person had set on the version; None: the images were held against the calibrated one
    set_threshold: float | None = None

    def to_dict(self) -> dict[str, object]:
        """Return what stands in a record's JSON."""
        content = asdict(self)
        content["alarming"] = content.pop("above_threshold")
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "NightStatistics":
        """Read what stands in a record's JSON."""
        means, outliers = content["positions"].items(), content["outliers"]
        read = {
            "above_threshold": Exceedances(**content["alarming"]),
            "suspects": Exceedances(**content["suspects"]),
            "positions": {position: PositionMeans(**values) for position, values in means},
            "outliers": Outliers(**outliers) if outliers else None,
            "repeats": Repeats(**content.get("repeats", {})),
        }
        others = {name: value for name, value in content.items() if name != "alarming"}
        return cls(**others | read)


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

    The table has one row an image, at least one: ``pred_score``, ``matched_score`` and
    ``model_version``; besides, as far as they are known, ``p_value``, ``map_extent``, ``position``,
    and the features of light and camera. Whether a nightly batch or a served model wrote it makes
    no difference. Held-out normal scores and threshold are those of the version that scored it, as
    the images came and after matching the light.

    Raises:
        ValueError: the table is empty.
    """
    if table.empty:
        raise ValueError("a night's statistics need at least one scored image; got none")
    return replace(
        _reduce(night, table),
        model_version=str(table["model_version"].iloc[0]),
        above_threshold=_exceedances(table["pred_score"], calibration_scores, image_threshold),
        suspects=_exceedances(
            table["matched_score"], matched_calibration_scores, matched_threshold
        ),
        is_trained_on=is_trained_on,
    )


def describe_light(night: str, table: pd.DataFrame) -> NightStatistics:
    """Reduce a night before any version served to its light and camera; the table has one row an
    image with the features of these."""
    return _reduce(night, table)


def image_statistics(table: pd.DataFrame) -> pd.DataFrame:
    """Compute the statistics of each image: a row an image, a column a statistic.

    Those that the table has no columns for are left out; see ``summarise_night``.
    """
    found = {name: image_statistic(table, name) for name in known_statistics(table)}
    return pd.DataFrame(found, index=table.index)


def known_statistics(table: pd.DataFrame) -> list[str]:
    """Return the statistics that a table has the columns for."""
    return [name for name, (columns, _) in _MADE_OF.items() if set(columns) <= set(table)]


def image_statistic(table: pd.DataFrame, name: str) -> pd.Series:
    """Compute one of the ``known_statistics`` of each image."""
    columns, make = _MADE_OF[name]
    return make(*(table[column] for column in columns)).astype(float)


def _reduce(night: str, table: pd.DataFrame) -> NightStatistics:
    """Reduce a table to its means, as those of a night that no version scored."""
    nothing = Exceedances(above=0, images=0, calibration_images=0, calibration_above=0)
    images = image_statistics(table)
    position = table["position"] if "position" in table else pd.Series("", index=table.index)
    groups = images.groupby(position.to_numpy())
    within = images - groups.transform("mean")
    freedom = max(1, len(images) - groups.ngroups)
    positions = {}
    if (position != "").any():
        counts, means = groups.size(), groups.mean()
        positions = {
            str(name): PositionMeans(int(counts[name]), _finite(means.loc[name]))
            for name in means.index
        }
    return NightStatistics(
        night=night,
        model_version="",
        values=_finite(images.mean()),
        above_threshold=nothing,
        suspects=nothing,
        is_trained_on=True,
        deviations=_finite(np.sqrt(np.square(within).sum() / freedom)),
        positions=positions,
        images=len(table),
    )


def _finite(values: pd.Series) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.items() if math.isfinite(value)}


def _log(values: pd.Series) -> pd.Series:
    return pd.Series(np.log(np.maximum(values.to_numpy(float), 1e-12)), index=values.index)


def _exceedances(
    scores: pd.Series, calibration_scores: tuple[float, ...], threshold: float
) -> Exceedances:
    return Exceedances(
        above=int((scores > threshold).sum()),
        images=len(scores),
        calibration_images=len(calibration_scores),
        calibration_above=sum(score >= threshold for score in calibration_scores),
    )


# statistic -> the columns of a table that it is made of, and how
_MADE_OF: Final[dict[str, tuple[tuple[str, ...], Callable[..., pd.Series]]]] = {
    **{name: ((name,), lambda column: column) for name in (*LIGHT_STATISTICS, *CAMERA_STATISTICS)},
    SURFACE_STATISTIC: (
        (CONTRAST, "luminance"),
        lambda contrast, luminance: _log(contrast) - _log(luminance),
    ),
    "log_score": (("pred_score",), _log),
    MATCHED_SCORE_STATISTIC: (("matched_score",), _log),
    "tail_share": (("p_value",), lambda p_value: p_value <= TAIL_P_VALUE),
    "surprise": (("p_value",), lambda p_value: -_log(p_value)),
    "log_map_extent": (("map_extent",), _log),
}
