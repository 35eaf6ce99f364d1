"""The normal images of a training by what they are for, and how often each is seen."""

from dataclasses import dataclass

import pandas as pd
from torch import Tensor


@dataclass(frozen=True)
class NormalImages:
    """Normal images by what they are for, each (N, 3, S, S) uint8."""

    train: Tensor  # the network learns these
    calibration: Tensor  # the thresholds come from these
    judge: Tensor  # kept for the gate; only counted by a training


def oversample(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Repeat new rows until they are about as many as the old ones, which stand before them.

    So fine-tuning learns the new world and does not forget the old one.
    """
    if old.empty or new.empty:
        return new if old.empty else old
    repeats = max(1, round(len(old) / len(new)))
    return pd.concat([old, *([new] * repeats)], ignore_index=True)
