"""The golden set of a bucket: real defects that every version is judged on."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.evidence import REAL, GoldenSet
from reconad_plugin.images.geometry import decode_square, stack_images
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore

_NORMAL, _MASKS = "normal", "masks"


def read_golden(
    store: ObjectStore, layout: ProductLayout, size_px: int, limits: ImageLimits
) -> GoldenSet | None:
    """Read ``golden/normal/`` and every ``golden/<defect>/``.

    Returns:
        The set, or None where the bucket holds no real defect. It may have no normal images:
        ``GoldenSet.with_normal`` adds held-out ones.

    Raises:
        InvalidImageError: a golden image cannot be read.
    """
    keys: dict[str, list[str]] = {_NORMAL: [], "defect": []}
    for info in store.list_objects(layout.golden):
        folder = info.key.removeprefix(layout.golden).split("/")[0]
        if folder != _MASKS:
            keys[_NORMAL if folder == _NORMAL else "defect"].append(info.key)
    if not keys["defect"]:
        return None

    def load(chosen: Iterable[str]) -> torch.Tensor:
        return stack_images([_read_image(store, key, size_px, limits) for key in chosen], size_px)

    return GoldenSet(load(keys[_NORMAL]), load(keys["defect"]), REAL)


def _read_image(
    store: ObjectStore, key: str, size_px: int, limits: ImageLimits
) -> NDArray[np.uint8]:
    try:
        return decode_square(store.read(key).content, size_px, limits)
    except InvalidImageError as error:
        raise InvalidImageError(error.reason, f"golden image {key}: {error}") from None
