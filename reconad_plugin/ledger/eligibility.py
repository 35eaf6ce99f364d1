"""What the images of a night may be used for: one table, and the rules of single images.

A defect that is learnt as normal is never found again, so every doubt keeps an image out. The
table gives, for each status of a night and each use, which of its images count. Four rules of
single images go before it, in this order:

1. A golden image is used for nothing, in whatever file it comes: it judges versions as what it is.
2. An image that came after its night was closed has no split, and is used for nothing.
3. A person's word on an image holds, on its bytes and on its pixels: a defect is used for nothing,
   nor is what comes later under its key, and one that was released is used by its split, whatever
   its night was. A product may allow that defects fill simulated anomalies, which teaches that
   what they show is anomalous; see ``choose_fillings``.
4. An image that waits for a person is used for nothing, but may be a spare.

``reconad train`` and ``reconad finetune`` by hand learn the images that they are given, and ask
none of this.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import pandas as pd

from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.night_record import DEFECT, NORMAL, WAITING, NightRecord, is_one_of
from reconad_plugin.ledger.splits import BORROWED_LIGHT, CALIBRATION, FILLING, JUDGE, TRAIN
from reconad_plugin.watch.cause import LEARNING_CAUSES, LIGHT, NONE, PROCESS


class Status(StrEnum):
    """What a night is to everything that comes after it."""

    # of the first version to serve, or before it: the owner vouches, but for what stands out
    FOUNDING = "founding"
    ORDINARY = "ordinary"  # watched, and no alarm
    LIGHT = "light"  # an alarm about light; other trainings do not learn this light
    BORROWED = "light, borrowed"  # the same night, in the one training that learns its light
    PROCESS = "process"  # an alarm about process
    HELD = "held"  # an alarm about camera or defects, or an unclear one: a person decides
    ROLLED_BACK = "rolled back"  # scored by a version that was taken out of service since
    UNWATCHED = "unwatched"  # taken in, but the watch never saw it


class Use(StrEnum):
    """What the images of a night, or the night as a whole, can be used for."""

    TRAIN = "train"
    CALIBRATE = "calibrate"
    JUDGE = "judge"
    BORROW_LIGHT = "borrow its light"  # images of the split train: their light is learnt alone
    SET_LEVEL = "set the level"  # of the charts, and of the share above the threshold
    COUNT_SUSPECTS = "count suspects"  # they, and its contrast, stand beside those of later nights
    REFERENCE = "be Evidently's reference"
    REVIEW = "wait for review"  # asked of a person on the night itself
    EXAMPLE = "show what is normal"  # beside an image that a person decides on


class Which(StrEnum):
    """Which images of a night a use takes."""

    NONE = "none"
    ALL = "all"
    NORMAL = "normal"  # below the threshold as they came, and no suspect
    NORMAL_AND_SPARE = "normal, spare"  # and so many others that no threshold rises by them
    MATCHED = "no suspect"  # below the threshold with the light matched
    MATCHED_AND_SPARE = "no suspect, spare"
    SUSPECT = "suspect"
    ABNORMAL = "not normal"
    OUTLIER = "unlike the others"  # of the first images; no version has scored them
    ALL_ONCE_ACCEPTED = "once accepted"  # by a version that was promoted for it, or by a person


N = Which.NONE
_ALL, _NORMAL, _MATCH = Which.ALL, Which.NORMAL, Which.MATCHED
_ODD, _SUSPECT, _OUTLIER = Which.ABNORMAL, Which.SUSPECT, Which.OUTLIER
_N_SPARE, _M_SPARE, _ONCE = (
    Which.NORMAL_AND_SPARE, Which.MATCHED_AND_SPARE, Which.ALL_ONCE_ACCEPTED,
)  # fmt: skip
_ROWS: Final = {
    #                   train    calibrate judge     borrow  level  suspects refer. review   shown
    Status.FOUNDING:    (_ALL,    _ALL,     _ALL,     N,      _ALL,  N,    N,    _OUTLIER, _ALL),
    Status.ORDINARY:    (_NORMAL, _N_SPARE, _N_SPARE, N,      _ALL,  _ALL, _ALL, _ODD,     _NORMAL),
    Status.LIGHT:       (N,       N,        _M_SPARE, N,      _ONCE, N,    N,    _SUSPECT, N),
    Status.BORROWED:    (N,       _M_SPARE, _M_SPARE, _MATCH, _ONCE, N,    N,    _SUSPECT, N),
    Status.PROCESS:     (_NORMAL, _N_SPARE, _N_SPARE, N,      _ONCE, N,    N,    _ODD,     N),
    Status.HELD:        (N,       N,        N,        N,      _ONCE, N,    N,    _ALL,     N),
    Status.ROLLED_BACK: (N,       N,        N,        N,      _ONCE, N,    N,    N,        N),
    Status.UNWATCHED:   (N,       N,        N,        N,      N,     N,    N,    N,        N),
}  # fmt: skip
TABLE: Final[dict[tuple[Status, Use], Which]] = {
    (status, use): which
    for status, row in _ROWS.items()
    for use, which in zip(Use, row, strict=True)
}

# a version can be fine-tuned for such a night
LEARNABLE: Final = tuple(Status(cause) for cause in LEARNING_CAUSES)

MOST_FILLINGS: Final = 200  # defects that simulated anomalies are filled from

_USE_OF_SPLIT: Final = {TRAIN: Use.TRAIN, CALIBRATION: Use.CALIBRATE, JUDGE: Use.JUDGE}
_WITH_SPARE: Final = (Which.NORMAL_AND_SPARE, Which.MATCHED_AND_SPARE)


def status_of(
    night: str, record: NightRecord | None, history: History, light_from: str | None = None
) -> Status:
    """Return what a night, ``YYYY-MM-DD``, is to everything that comes after it.

    The record is None where the watch never saw it. ``light_from`` is the night whose light a
    training learns, if there is one.
    """
    if record is None:
        until = history.founding_until
        return Status.FOUNDING if until is None or night <= until else Status.UNWATCHED
    if record.model_version in history.rolled_back:
        return Status.ROLLED_BACK
    if record.cause == LIGHT:
        return Status.BORROWED if night == light_from else Status.LIGHT
    return {PROCESS: Status.PROCESS, NONE: Status.ORDINARY}.get(record.cause, Status.HELD)


def allows(status: Status, use: Use, is_accepted: bool = False) -> bool:
    """Say whether a night may ``SET_LEVEL``, ``COUNT_SUSPECTS`` or be ``REFERENCE``, as a whole.

    It is accepted where the world as it was then is normal by now: a version that was fine-tuned
    for it was promoted, or a person resolved it.
    """
    which = TABLE[status, use]
    return which is Which.ALL or (which is Which.ALL_ONCE_ACCEPTED and is_accepted)


def waiting_images(scores: pd.DataFrame, status: Status) -> pd.Series:
    """Say which images of a night's table of scores wait for a person: (N,) bool, none without a
    split. The table of a founding night has ``is_outlier`` in place of scores."""
    which = TABLE[status, Use.REVIEW]
    if which is Which.OUTLIER:
        chosen = scores["is_outlier"].astype(bool)
    else:
        chosen = {
            Which.ALL: pd.Series(True, index=scores.index),
            Which.ABNORMAL: ~normal_images(scores),
            Which.SUSPECT: scores["is_suspect"].astype(bool),
            Which.NONE: pd.Series(False, index=scores.index),
        }[which]
    return chosen & (scores["split"] != "")


def normal_images(scores: pd.DataFrame) -> pd.Series:
    """Say which images of a night's table of scores are ``Which.NORMAL``: (N,) bool."""
    return ~scores["is_suspect"].astype(bool) & ~scores["pred_label"].astype(bool)


@dataclass(frozen=True, eq=False)
class NightImages:
    """What is known of a night's images."""

    status: Status  # of the night
    scores: pd.DataFrame | None = None  # its table of scores; None where no version scored it


def choose_training_images(
    accepted: pd.DataFrame,
    golden: Collection[str],
    nights: Mapping[str, NightImages],
    reviews: pd.DataFrame,
    target_fpr: float,
) -> pd.DataFrame:
    """Choose the images that a training learns from, is calibrated on and judged by.

    They are chosen of accepted rows of manifests by the hashes of golden images, by what is known
    of each of their nights and by what persons decided (``REVIEW_COLUMNS``): on an image of these
    bytes or pixels, and, unless it was released, on whatever came under its key. Spare ones
    are, over all nights that allow them, those of a split with the lowest SHA-256, ``most_spare``
    of them; a suspect can be one. The rows come back in order of night and key. ``split`` is what
    each is used for: of a night whose light is borrowed ``light`` stands in place of ``train``.
    """
    is_golden = accepted[["sha256", "pixels_sha256"]].isin(list(golden)).any(axis=1)
    images = _describe(accepted[~is_golden & (accepted["split"] != "")], nights)
    said = {each: reviews[reviews["decision"] == each] for each in (NORMAL, DEFECT, WAITING)}
    decided = {each: is_one_of(images, of_them) for each, of_them in said.items()}
    decided[DEFECT] |= images["key"].isin(said[DEFECT]["key"])
    is_borrowed = (images["use"] == Use.BORROW_LIGHT) & ~decided[NORMAL]
    images["split"] = images["split"].mask(is_borrowed, BORROWED_LIGHT)
    is_chosen = (images["is_taken"] | decided[NORMAL]) & ~decided[DEFECT] & ~decided[WAITING]
    is_counted = is_chosen & (images["is_scored"] | decided[NORMAL])
    is_spare = images["may_spare"] & ~images["is_below"] & ~decided[NORMAL] & ~decided[DEFECT]
    spare = images[is_spare].sort_values("sha256")
    few = [
        spare[spare["split"] == split].head(
            most_spare(int((is_counted & (images["split"] == split)).sum()), target_fpr)
        )
        for split in (CALIBRATION, JUDGE)
    ]
    chosen = pd.concat([images[is_chosen], *few])
    return chosen[list(accepted)].sort_values(["night", "key"], ignore_index=True)


def choose_fillings(
    accepted: pd.DataFrame, golden: Collection[str], reviews: pd.DataFrame
) -> pd.DataFrame:
    """Choose the confirmed defects that simulated anomalies may be filled from.

    They are chosen of accepted rows of manifests: those that a person called a defect, by their
    bytes or pixels, and that nobody called normal. What is golden judges, and so teaches nothing.
    The newest ``MOST_FILLINGS`` come back, in order of night and key; ``split`` is ``FILLING``.
    """
    is_golden = accepted[["sha256", "pixels_sha256"]].isin(list(golden)).any(axis=1)
    is_defect = is_one_of(accepted, reviews[reviews["decision"] == DEFECT])
    is_doubtful = is_one_of(accepted, reviews[reviews["decision"] == NORMAL])
    chosen = accepted[is_defect & ~is_doubtful & ~is_golden].drop_duplicates("sha256")
    newest = chosen.sort_values(["night", "key"], ignore_index=True).tail(MOST_FILLINGS)
    return newest.assign(split=FILLING)


def _describe(rows: pd.DataFrame, nights: Mapping[str, NightImages]) -> pd.DataFrame:
    """Add to each row its ``use``, whether the table takes it (``is_taken``), whether a version
    ``is_scored`` it and found it to be normal (``is_below``), and whether it ``may_spare``."""
    parts = [
        _describe_night(of_night, nights[str(night)]) for night, of_night in rows.groupby("night")
    ]
    return pd.concat(parts) if parts else _describe_night(rows, NightImages(Status.UNWATCHED))


def _describe_night(rows: pd.DataFrame, night: NightImages) -> pd.DataFrame:
    status = night.status
    use = rows["split"].map(_USE_OF_SPLIT)
    if TABLE[status, Use.BORROW_LIGHT] is not Which.NONE:
        use = use.mask(use == Use.TRAIN, Use.BORROW_LIGHT)
    which = use.map(lambda each: TABLE[status, each])
    is_scored, is_normal, is_matched = _found(rows, night.scores)
    is_by_light = which.isin([Which.MATCHED, Which.MATCHED_AND_SPARE])
    is_below = np.where(is_by_light, is_matched, is_normal)
    is_taken = (which == Which.ALL) | ((which != Which.NONE) & is_below)
    return rows.assign(
        use=use,
        is_taken=is_taken.astype(bool),
        is_scored=is_scored,
        is_below=is_below.astype(bool),
        may_spare=which.isin(_WITH_SPARE) & is_scored,
    )


def _found(
    rows: pd.DataFrame, scores: pd.DataFrame | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Say of each row whether it was scored, is normal as it came, and is so in matched light."""
    if scores is None:
        nothing = np.zeros(len(rows), bool)
        return nothing, nothing, nothing
    sha256, is_suspect = rows["sha256"], scores["is_suspect"].astype(bool)
    return (
        sha256.isin(scores["sha256"]).to_numpy(),
        sha256.isin(scores.loc[normal_images(scores), "sha256"]).to_numpy(),
        sha256.isin(scores.loc[~is_suspect, "sha256"]).to_numpy(),
    )


def most_spare(normal_images: int, target_fpr: float) -> int:
    """Return how many images above the threshold may stand beside normal ones and not lift it.

    Of normal images a share of ``target_fpr`` lies above a threshold and is not learnt. Were it
    missing among those that calibrate as well, each new threshold would lie lower than the one
    before, and false alarms would creep up unseen. So as many as that share allows come back.
    Should they be defects, the threshold is still no higher than the highest normal score: of
    ``n`` scores it is the ``ceil((n + 1)(1 - target_fpr))``-th smallest, and with ``k`` images
    that score above ``N`` normal ones it is the score of a normal one where
    ``(N + k + 1)(1 - target_fpr) <= N``; solved for ``k``. Normal images are those of one split
    that a version scored or a person released.
    """
    return max(0, int((target_fpr * (normal_images + 1) - 1) / (1 - target_fpr)))
