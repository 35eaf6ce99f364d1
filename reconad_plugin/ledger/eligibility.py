"""Which images may be learnt from. A defect that is learnt as normal is never found again, so
every doubt keeps an image out."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from reconad_plugin.ledger.night_record import DEFECT, NORMAL, WAITING
from reconad_plugin.ledger.splits import CALIBRATION, JUDGE, LIGHT_ONLY, TRAIN


@dataclass(frozen=True, eq=False)
class Watched:
    """What the watch and persons have said of nights.

    Attributes:
        scores: night -> its table of scores, for the nights that a version scored.
        relit_nights: nights whose alarm had the cause light.
        held_nights: nights that wait for a person.
        reviews: what persons decided, with ``sha256`` and ``decision``.
    """

    scores: Mapping[str, pd.DataFrame]
    relit_nights: frozenset[str]
    held_nights: frozenset[str]
    reviews: pd.DataFrame

    @property
    def free(self) -> dict[str, pd.DataFrame]:
        """Tables of the nights that are not held."""
        return {
            night: table for night, table in self.scores.items() if night not in self.held_nights
        }

    @property
    def normal(self) -> set[str]:
        """SHA-256 of the images of these nights that count as normal without a person."""
        return {
            sha256
            for night, table in self.free.items()
            for sha256 in normal_hashes(table, is_relit=night in self.relit_nights)
        }

    def decided(self, *decisions: str) -> set[str]:
        """SHA-256 of the images on which persons decided so."""
        return set(self.reviews.loc[self.reviews["decision"].isin(decisions), "sha256"])


def learnable_images(accepted: pd.DataFrame, watched: Watched, trusted_until: str) -> pd.DataFrame:
    """Choose the images that count as normal.

    An image joins when its night is one of the first, which are taken as normal because the
    product's owner says so; or when it scored as normal under the version
    that served its night; or when a person said so. On a night whose light has changed
    every picture scores high, so there an image joins when it is normal with its light
    matched. What waits for a person joins only when the person releases it, and of a night that
    is held nothing else does.

    Args:
        accepted: accepted rows of manifests.
        watched: the nights that a version scored.
        trusted_until: the last of the first nights, ``YYYY-MM-DD``. A later night that was
            never scored teaches nothing, and one that was scored needs no trust.

    Returns:
        The chosen rows, in the same order.
    """
    is_watched = accepted["night"].isin(list(watched.scores))
    is_trusted = (accepted["night"] <= trusted_until) & ~is_watched
    chosen = is_trusted | accepted["sha256"].isin(watched.normal | watched.decided(NORMAL))
    is_refused = accepted["sha256"].isin(watched.decided(DEFECT, WAITING))
    return accepted[chosen & ~is_refused].reset_index(drop=True)


def lend_light(
    accepted: pd.DataFrame, watched: Watched, lit_night: str | None = None
) -> pd.DataFrame:
    """Keep the pictures of nights whose light had changed out of what is learnt.

    That an image is normal with its light matched is a weak witness: a defect can hide beside
    the change. So no such picture trains. In the lesson that learns a night's light, the night
    lends it: ``light`` stands in place of ``train``, and its calibration images calibrate. In any
    other lesson that light is not learnt, so nothing of it calibrates either. All nights judge, and
    what a person released is learnt as any other.

    Args:
        accepted: accepted rows of manifests.
        watched: the nights that a version scored.
        lit_night: the night whose light is to be learnt, if there is one.

    Returns:
        The rows that stay, in the same order.
    """
    is_released = accepted["sha256"].isin(watched.decided(NORMAL))
    is_relit = accepted["night"].isin(watched.relit_nights) & ~is_released
    is_lit = is_relit & (accepted["night"] == lit_night)
    is_out = is_relit & ~is_lit & (accepted["split"] != JUDGE)
    split = accepted["split"].mask(is_lit & (accepted["split"] == TRAIN), LIGHT_ONLY)
    return accepted.assign(split=split)[~is_out].reset_index(drop=True)


def doubtful_images(accepted: pd.DataFrame, watched: Watched, target_fpr: float) -> pd.DataFrame:
    """Choose images that no one learns and that calibrate and judge nevertheless.

    Of normal images a share of ``target_fpr`` lies above a threshold and is not learnt. Were it
    missing among those that calibrate as well, each new threshold would lie lower than the one
    before, and false alarms would creep up unseen. So as many as that share allows come back.
    Should they be defects, the threshold is still no higher than the highest normal score.

    Args:
        accepted: accepted rows of manifests.
        watched: the nights that a version scored; nothing of a held one comes back.
        target_fpr: share of normal images that is expected above the threshold.

    Returns:
        Rows of the calibration and the judge split, of each no more than ``_most_doubtful``.
    """
    seen = {sha256 for table in watched.free.values() for sha256 in table["sha256"]}
    rows = accepted[accepted["sha256"].isin(seen)].sort_values("sha256")
    doubtful = rows[~rows["sha256"].isin(watched.normal | watched.decided(NORMAL, DEFECT))]
    is_normal = accepted["sha256"].isin(watched.normal | watched.decided(NORMAL))
    is_refused = accepted["sha256"].isin(watched.decided(DEFECT, WAITING))
    normal = accepted[is_normal & ~is_refused]  # of the first nights nothing was left out
    chosen = [
        doubtful[doubtful["split"] == split].head(
            _most_doubtful(int((normal["split"] == split).sum()), target_fpr)
        )
        for split in (CALIBRATION, JUDGE)
    ]
    return pd.concat(chosen, ignore_index=True)


def _most_doubtful(normal_images: int, target_fpr: float) -> int:
    """How many images may calibrate beside normal ones and not lift the threshold above these.

    Of ``n`` scores the threshold is the ``ceil((n + 1)(1 - target_fpr))``-th smallest
    (``calibration.calibrate``). With ``k`` images that score above ``N`` normal ones it is the
    score of a normal one where ``(N + k + 1)(1 - target_fpr) <= N``; solved for ``k``.
    """
    return max(0, int((target_fpr * (normal_images + 1) - 1) / (1 - target_fpr)))


def normal_hashes(table: pd.DataFrame, is_relit: bool) -> pd.Series:
    """SHA-256 of the images of a table of scores that count as normal without a person.

    Args:
        table: the night's scores.
        is_relit: whether the night's alarm had the cause light; then only suspects stay out.
    """
    is_normal = ~table["is_suspect"]
    if not is_relit:
        is_normal &= ~table["pred_label"]
    return table.loc[is_normal, "sha256"]
