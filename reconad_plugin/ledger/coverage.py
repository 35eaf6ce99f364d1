"""Which of the images that may be learnt a training takes, where there are more than it can hold.

What may be learnt grows with every night; memory and a night's minutes do not. So a training takes
the images of the newest nights that it is told to, and of these as many from each night and camera
position as from any other, so that a rare position or an early night is not drowned by the rest.
What a person called normal is taken first, since no other image says the same.
"""

from typing import Final

import pandas as pd

from reconad_plugin.ledger.splits import BORROWED_LIGHT, CALIBRATION, SHARES, TRAIN

_SHARES: Final = {**SHARES, BORROWED_LIGHT: SHARES[CALIBRATION]}


def newest_nights(rows: pd.DataFrame, nights: int) -> pd.DataFrame:
    """Keep the rows of so many nights, the newest that have any; all with 0."""
    return rows[rows["night"].isin(sorted(rows["night"].unique())[-nights:])] if nights else rows


def cover_evenly(rows: pd.DataFrame, is_released: pd.Series, most: int) -> pd.DataFrame:
    """Choose at most so many rows that cover nights and positions evenly.

    Each split has its share. Of it every night and position gives one image after the other, in the
    order of their SHA-256, until the share is full; newer nights give first. Released images train
    before all others; they calibrate and judge as any other does, since those that a person had to
    release score high, and would lift the threshold.

    Args:
        rows: ``night``, ``position``, ``split``, ``sha256``.
        is_released: (N,) bool, whether a person called an image normal.
        most: rows in all, where they are split as ingest deals them.

    Returns:
        The chosen rows in their order.
    """
    if len(rows) <= most:
        return rows
    images = rows.assign(is_first=is_released & (rows["split"] == TRAIN)).sort_values("sha256")
    cells = images.groupby(["split", "night", "position", "is_first"], sort=False)
    images = images.assign(turn=cells.cumcount())
    images = images.sort_values(
        ["is_first", "turn", "night"], ascending=[False, True, False], kind="stable"
    )
    chosen = [
        of_split.head(round(most * _SHARES[str(split)]))
        for split, of_split in images.groupby("split")
    ]
    return rows.loc[pd.concat(chosen).index.sort_values()]
