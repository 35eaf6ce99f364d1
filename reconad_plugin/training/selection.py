"""Which images may be learnt from. A defect that is learnt as normal is never found again, so
every doubt keeps an image out."""

from collections.abc import Mapping

import pandas as pd

from reconad_plugin.store.records import DEFECT, NORMAL, WAITING


def learnable_images(
    accepted: pd.DataFrame,
    scores: Mapping[str, pd.DataFrame],
    trusted_until: str,
    relit_nights: frozenset[str],
    held_nights: frozenset[str],
    reviews: pd.DataFrame,
) -> pd.DataFrame:
    """Choose the images that count as normal.

    An image joins when its night is one of the first, which are taken as normal because the
    product's owner says so; or when it scored as normal under the version
    that served its night; or when a person said so. On a night whose light has changed
    every picture scores high, so there an image joins when it is normal with its light
    matched. What waits for a person joins only when the person releases it, and of a night that
    is held nothing else does.

    Args:
        accepted: accepted rows of manifests.
        scores: night -> its table of scores, for the nights that a version scored.
        trusted_until: the last of the first nights, ``YYYY-MM-DD``. A later night that was
            never scored teaches nothing, and one that was scored needs no trust.
        relit_nights: nights whose alarm had the cause light.
        held_nights: nights that wait for a person.
        reviews: what persons decided, with ``sha256`` and ``decision``.

    Returns:
        The chosen rows, in the same order.
    """
    released = set(reviews.loc[reviews["decision"] == NORMAL, "sha256"])
    refused = set(reviews.loc[reviews["decision"].isin([DEFECT, WAITING]), "sha256"])
    normal = {
        sha256
        for night, table in scores.items()
        if night not in held_nights
        for sha256 in normal_hashes(table, is_relit=night in relit_nights)
    }
    is_trusted = (accepted["night"] <= trusted_until) & ~accepted["night"].isin(list(scores))
    chosen = is_trusted | accepted["sha256"].isin(normal | released)
    return accepted[chosen & ~accepted["sha256"].isin(refused)].reset_index(drop=True)


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


def oversample_new(rows: pd.DataFrame, new_night: str) -> pd.DataFrame:
    """Repeat the new night's images until they are about as many as the old ones, so that
    fine-tuning learns the new world and rehearses the old one."""
    new, old = rows[rows["night"] == new_night], rows[rows["night"] != new_night]
    if new.empty or old.empty:
        return rows
    repeats = max(1, round(len(old) / len(new)))
    return pd.concat([old, *([new] * repeats)], ignore_index=True)
