"""What another threshold of a version would do: which images of the last nights it would reject,
and which known defects it would miss."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reconad_plugin.detector.detector import Detector
from reconad_plugin.errors import InvalidImageError, StorageError, StorageUnreachableError
from reconad_plugin.images.geometry import decode_to_size, stack_images
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.ledger.ledger import Ledger
from reconad_plugin.ledger.manifest import accepted_rows
from reconad_plugin.ledger.night_record import DEFECT
from reconad_plugin.ledger.threshold_setting import ThresholdSetting, in_force
from reconad_plugin.store.golden_images import NORMAL, GoldenImages

TRIAL_NIGHTS: Final = 7  # the newest that were watched
MOST_IMAGES: Final = 500  # of these nights, the newest
MOST_DEFECTS: Final = 300  # the newest
COLUMNS: Final = ("night", "key", "sha256", "position", "defect", "score")
GOLDEN: Final = "golden"  # in place of a night

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """A version, and the images that tell what another threshold would do."""

    version: str  # its number
    calibrated: float  # the threshold that calibration set
    settings: tuple[ThresholdSetting, ...]  # that persons set on it, oldest first
    images: pd.DataFrame  # see ``gather_trial``, all with a score
    # night that the version scored, `YYYY-MM-DD` -> the threshold that it was held against
    nights: Mapping[str, float]

    @property
    def lenient_nights(self) -> list[str]:
        """The nights that were held against a higher threshold than the one that holds: what that
        let pass may be learnt until they are run again."""
        return [night for night, threshold in self.nights.items() if threshold > self.in_force]

    @property
    def in_force(self) -> float:
        """The threshold that holds."""
        threshold = in_force(self.settings)
        return self.calibrated if threshold is None else threshold


@dataclass(frozen=True)
class Tried:
    """What a threshold does."""

    threshold: float
    images: int  # of the last nights, that no person called a defect
    rejected: int  # of these, above it
    defects: int  # known ones
    missed: int  # of these, not above it


def gather_trial(ledger: Ledger, golden: GoldenImages, version: str) -> pd.DataFrame:
    """Gather the images that tell what a threshold would do.

    Args:
        ledger: of all nights.
        golden: the product's golden images.
        version: number of the version whose threshold is tried.

    Returns:
        One row an image with ``COLUMNS``, known defects first. ``defect`` is empty for an image of
        the last nights that nobody called a defect; ``score`` is null where another version scored
        it, or none: see ``score_missing``. ``night`` of a golden image is ``golden``.
    """
    watched = [night for night in ledger.records if night in ledger.manifests]
    newest = watched[-TRIAL_NIGHTS:]
    tables = []
    for night in ledger.manifests:
        defects = _named_defects(ledger, night)
        if night in newest or defects:
            tables.append(_of_night(ledger, night, version, defects, night in newest))
    tables.append(_of_golden(golden))  # last, so that older ones give way to them
    found = pd.concat(tables, ignore_index=True)
    is_defect = found["defect"] != ""
    chosen = [found[is_defect].tail(MOST_DEFECTS), found[~is_defect].tail(MOST_IMAGES)]
    return pd.concat(chosen, ignore_index=True).drop_duplicates("sha256", ignore_index=True)


def score_missing(
    trial: pd.DataFrame,
    detector: Detector,
    read: Callable[[str, str], bytes],
    limits: ImageLimits,
) -> pd.DataFrame:
    """Score what ``gather_trial`` found no score for; an image that cannot be read is left out.

    Args:
        trial: as from there.
        detector: the version.
        read: SHA-256 and key of an image -> its bytes.
        limits: allowed sizes of pictures.

    Raises:
        StorageUnreachableError: the bucket does not answer.
    """
    size = detector.image_size_px
    scores = trial["score"].copy()
    for index in scores.index[scores.isna()]:
        row = trial.loc[index]
        picture = _read(partial(read, row["sha256"], row["key"]), size, limits)
        if picture is not None:
            position = None if row["night"] == GOLDEN else row["position"]  # None: nobody told it
            images = stack_images([picture], size)
            scores[index] = detector.score(images, [position]).pred_score[0]
    return trial.assign(score=scores).dropna(subset="score").reset_index(drop=True)


def try_threshold(trial: pd.DataFrame, threshold: float) -> Tried:
    """Count what a threshold would reject and miss."""
    is_defect, is_above = trial["defect"] != "", trial["score"] > threshold
    return Tried(
        threshold,
        images=int((~is_defect).sum()),
        rejected=int((~is_defect & is_above).sum()),
        defects=int(is_defect.sum()),
        missed=int((is_defect & ~is_above).sum()),
    )


def _named_defects(ledger: Ledger, night: date) -> dict[str, str]:
    """Return what persons called the defects of a night, by the SHA-256 of their images."""
    if night not in ledger.reviews:
        return {}
    review = ledger.reviews[night]
    named = review[review["decision"] == DEFECT]
    shows = named["defect"].where(named["defect"] != "", DEFECT)
    return dict(zip(named["sha256"], shows, strict=True))


def _of_night(
    ledger: Ledger, night: date, version: str, defects: Mapping[str, str], is_whole: bool
) -> pd.DataFrame:
    """Return the rows of a night: its defects, and all others too where it is meant as a whole."""
    rows = accepted_rows([ledger.manifests[night]])[["night", "key", "sha256", "position"]]
    rows = rows.assign(defect=rows["sha256"].map(defects).fillna(""), score=np.nan)
    if not is_whole:
        rows = rows[rows["defect"] != ""]
    scores = ledger.scores.get(night)
    if scores is not None and (scores["model_version"] == version).all():
        known = dict(zip(scores["sha256"], scores["pred_score"], strict=True))
        rows = rows.assign(score=rows["sha256"].map(known).astype(float))
    return rows[list(COLUMNS)]


def _of_golden(golden: GoldenImages) -> pd.DataFrame:
    """Return the rows of the golden images that show a defect."""
    rows = []
    for image in golden.images:
        try:
            shows = golden.shows(image)
        except InvalidImageError as error:
            _logger.warning("%s", error)
            continue
        if shows != NORMAL:
            rows.append((GOLDEN, image.key, image.sha256, "", shows, np.nan))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"score": float})


def _read(
    read: Callable[[], bytes], size: ImageSize, limits: ImageLimits
) -> NDArray[np.uint8] | None:
    try:
        return decode_to_size(read(), size, limits)
    except StorageUnreachableError:
        raise
    except (InvalidImageError, StorageError) as error:
        _logger.warning("an image is left out: %s", error)
        return None
