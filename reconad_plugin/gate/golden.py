"""The images that every version is judged on: real defects of the bucket, held-out normals."""

from collections.abc import Collection, Iterable
from hashlib import sha256
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.gate.comparison import REAL, GoldenLabels
from reconad_plugin.gate.scored_golden import GoldenSet
from reconad_plugin.images.geometry import decode_square, stack_images
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.ledger.splits import JUDGE
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore

ENOUGH_DEFECTS: Final = 60  # fewer cannot show that none of ten defects was lost (0013)
HELD_OUT_A_NIGHT: Final = 60  # enough to see 5 % more false alarms over the recent nights
HELD_OUT: Final = 500  # in all: judging takes minutes, however long the product has been watched

_NORMAL, _MASKS = "normal", "masks"


def read_golden(
    store: ObjectStore,
    layout: ProductLayout,
    size_px: int,
    limits: ImageLimits,
    seen: Collection[str] = (),
) -> GoldenSet | None:
    """Read ``golden/normal/`` and every ``golden/<defect>/``.

    Args:
        store: the bucket.
        layout: the product's keys.
        size_px: side of the squares.
        limits: allowed image sizes.
        seen: SHA-256 of images that a version was fitted to: as normal images they stay out.

    Returns:
        The set, or None where the bucket holds no real defect. It may have no normal images:
        ``GoldenSet.with_normal`` adds held-out ones.

    Raises:
        InvalidImageError: a golden image cannot be read, or lies in no folder.
    """
    normal, anomalous, defects = [], [], []
    for info in store.list_objects(layout.golden):
        folder, _, name = info.key.removeprefix(layout.golden).partition("/")
        if not name:
            raise InvalidImageError(
                "misplaced",
                f"golden images lie in {layout.golden}normal/ or {layout.golden}<defect>/; got "
                f"{info.key}: move it",
            )
        if folder == _NORMAL:
            normal.append(info.key)
        elif folder != _MASKS:
            anomalous.append(info.key)
            defects.append(folder)
    if not anomalous:
        return None
    if seen:
        normal = [key for key in normal if sha256(store.read(key).content).hexdigest() not in seen]

    def load(chosen: Iterable[str]) -> torch.Tensor:
        return stack_images([_read_image(store, key, size_px, limits) for key in chosen], size_px)

    labels = GoldenLabels(
        kind=REAL,
        normal=tuple(normal),
        nights=("",) * len(normal),
        anomalous=tuple(anomalous),
        defects=tuple(defects),
    )
    return GoldenSet(load(normal), load(anomalous), labels)


def choose_held_out(rows: pd.DataFrame) -> pd.DataFrame:
    """Choose the normal images that versions are judged on.

    Args:
        rows: learnable rows of manifests.

    Returns:
        Rows of the judge split, oldest night first: at most 60 of each night, those with the
        lowest hashes, and of these the newest 500.
    """
    held_out = rows[rows["split"] == JUDGE].sort_values(["night", "sha256"])
    return held_out.groupby("night").head(HELD_OUT_A_NIGHT).tail(HELD_OUT)


def _read_image(
    store: ObjectStore, key: str, size_px: int, limits: ImageLimits
) -> NDArray[np.uint8]:
    try:
        return decode_square(store.read(key).content, size_px, limits)
    except InvalidImageError as error:
        raise InvalidImageError(error.reason, f"golden image {key}: {error}") from None
