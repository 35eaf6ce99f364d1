"""Confirmed defects as fillings of simulated anomalies: which ones a training has, and their
pixels."""

import logging
from collections.abc import Callable
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from flows.jobs.product import Product
from reconad_plugin.errors import (
    BucketNotFoundError,
    InvalidImageError,
    StorageError,
    StorageUnreachableError,
)
from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.names import printable
from reconad_plugin.ledger.ledger import Ledger
from reconad_plugin.simulation.defect_boxes import NormalColours, find_defect
from reconad_plugin.simulation.defects import DefectCuts

FEWEST_NORMAL: Final = 6  # pictures of a camera position; with fewer those of all positions tell
MOST_NORMAL: Final = 64  # of them, spread evenly over the nights

_logger = logging.getLogger(__name__)


def choose_fillings(product: Product, ledger: Ledger) -> pd.DataFrame:
    """Choose the confirmed defects that a product's simulated anomalies are filled from, rows of
    manifests with ``uri``; none where its settings do not allow it. What cannot be read is left
    out, with a warning.

    Raises:
        StorageUnreachableError: the bucket does not answer.
    """
    rows = ledger.fillings()
    if not product.settings.defects_as_fillings:
        return rows[:0].assign(uri="")
    is_readable = [
        _is_readable(product, sha256, key)
        for sha256, key in zip(rows["sha256"], rows["key"], strict=True)
    ]
    rows = rows[np.array(is_readable, bool)]
    return rows.assign(uri=rows["key"].map(product.store.uri))


def cut_fillings(
    fillings: pd.DataFrame,
    train: pd.DataFrame,
    load: Callable[[pd.DataFrame], Tensor],
    inside: NDArray[np.bool_] | None = None,
) -> DefectCuts | None:
    """Cut the defects out of their pictures; None where there are none.

    Args:
        fillings: rows of the pictures of defects.
        train: rows of the normal images that train; what they show at the same camera position
            tells where a defect is.
        load: reads the pixels of rows, (N, 3, H, W) uint8.
        inside: (H, W), where to look; everywhere by default.
    """
    if fillings.empty or train.empty:
        return None
    cuts = list[Tensor]()
    for position, rows in fillings.groupby("position"):
        normal = NormalColours.of(load(_normal_rows(train, str(position))))
        cuts += [image[:, *find_defect(image, normal, inside)] for image in load(rows)]
    return DefectCuts.of(cuts)


def _is_readable(product: Product, sha256: str, key: str) -> bool:
    try:
        decode_image(product.read_image(sha256, key), product.limits)
    except (StorageUnreachableError, BucketNotFoundError):
        raise
    except (StorageError, InvalidImageError) as error:
        _logger.warning(
            "the defect %s of %s cannot be read: %s; a training goes on without it",
            printable(key), product.name, error,
        )  # fmt: skip
        return False
    return True


def _normal_rows(train: pd.DataFrame, position: str) -> pd.DataFrame:
    """Choose the normal images that a defect of a position is held against."""
    same = train[train["position"] == position]
    rows = same if len(same) >= FEWEST_NORMAL else train
    return rows.iloc[np.linspace(0, len(rows) - 1, min(len(rows), MOST_NORMAL)).round().astype(int)]
