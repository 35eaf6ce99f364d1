"""Confirmed defects as fillings of simulated anomalies: which ones a training has, and their
pixels."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
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
from reconad_plugin.simulation.defect_boxes import UsualColours, find_defect
from reconad_plugin.simulation.defects import DefectCuts

FEWEST_TELLING: Final = 6  # pictures of a camera position that tell what is usual there
MOST_NORMAL: Final = 64  # normal pictures of a position, spread evenly over the nights
MOST_BESIDE: Final = 24  # pictures of a night and a position

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Fillings:
    """The confirmed defects that simulated anomalies are filled from."""

    # rows of manifests with ``uri``; ``beside`` has the SHA-256 of the pictures that each is held
    # against besides normal ones
    defects: pd.DataFrame
    beside: Mapping[str, pd.DataFrame]  # ``beside`` -> rows of these pictures

    @classmethod
    def none(cls) -> "Fillings":
        """Return those of a product that allows none."""
        return cls(pd.DataFrame(), {})


def choose_fillings(product: Product, ledger: Ledger) -> Fillings:
    """Choose the confirmed defects that a product's simulated anomalies are filled from; none where
    its settings do not allow it. What cannot be read is left out, with a warning.

    Raises:
        StorageUnreachableError: the bucket does not answer.
    """
    if not product.settings.defects_as_fillings:
        return Fillings.none()
    rows = ledger.fillings()
    rows = rows[np.array([_is_picture(product, *each) for each in _names(rows)], bool)]
    others, names = dict[str, pd.DataFrame](), list[str]()
    for night, position in zip(rows["night"], rows["position"], strict=True):
        beside = _beside(product, ledger, str(night), str(position))
        names.append(" ".join(beside["sha256"]))
        others[names[-1]] = beside
    uri = rows["key"].map(product.store.uri)
    return Fillings(rows.assign(uri=uri, beside=names), others)


def cut_fillings(
    fillings: Fillings,
    train: pd.DataFrame,
    load: Callable[[pd.DataFrame], Tensor],
    inside: NDArray[np.bool_] | None = None,
) -> DefectCuts | None:
    """Cut the defects out of their pictures; None where there are none.

    Args:
        fillings: the pictures of defects, and those that arrived with them.
        train: rows of the normal images that train.
        load: reads the pixels of rows, (N, 3, H, W) uint8.
        inside: (H, W), where to look; everywhere by default.
    """
    if fillings.defects.empty or train.empty:
        return None
    cuts = list[Tensor]()
    for position, of_position in fillings.defects.groupby("position"):
        normal = UsualColours.of(load(_normal_rows(train, str(position))))
        for beside, rows in of_position.groupby("beside"):
            others = fillings.beside[str(beside)]
            usual = [normal, *([UsualColours.of(load(others))] if len(others) else [])]
            cuts += [image[:, *find_defect(image, usual, inside)] for image in load(rows)]
    return DefectCuts.of(cuts)


def _is_picture(product: Product, sha256: str, key: str) -> bool:
    """Say whether an image can still be decoded; warn where it cannot."""
    try:
        decode_image(product.read_image(sha256, key), product.limits)
    except (StorageUnreachableError, BucketNotFoundError):
        raise
    except (StorageError, InvalidImageError) as error:
        _logger.warning(
            "%s of %s cannot be read: %s; simulated anomalies go without it",
            printable(key), product.name, error,
        )  # fmt: skip
        return False
    return True


def _names(rows: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(rows["sha256"], rows["key"], strict=True))


def _beside(product: Product, ledger: Ledger, night: str, position: str) -> pd.DataFrame:
    """Choose the pictures of a night and a position, spread evenly; none where they are too few to
    tell what is usual there."""
    rows = ledger.beside(date.fromisoformat(night), position)
    rows = _spread(rows, MOST_BESIDE)
    rows = rows[np.array([_is_picture(product, *each) for each in _names(rows)], bool)]
    return rows if len(rows) >= FEWEST_TELLING else rows[:0]


def _normal_rows(train: pd.DataFrame, position: str) -> pd.DataFrame:
    """Choose the normal images that a defect of a position is held against."""
    same = train[train["position"] == position]
    return _spread(same if len(same) >= FEWEST_TELLING else train, MOST_NORMAL)


def _spread(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    return rows.iloc[np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int)]
