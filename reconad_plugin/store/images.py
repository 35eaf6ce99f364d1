"""Rows of a manifest to pixels."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.geometry import stack_images, to_square
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.objects import ObjectStore

_DECODERS = 4  # threads


def load_images(
    store: ObjectStore, cache: ContentCache, rows: pd.DataFrame, size_px: int, limits: ImageLimits
) -> Tensor:
    """Decode and resize the images of some rows.

    Args:
        store: the bucket, asked for what the cache does not have.
        cache: local bytes by SHA-256.
        rows: accepted rows of manifests.
        size_px: side of the square.
        limits: as at ingest.

    Returns:
        (N, 3, size_px, size_px) uint8 in [0, 255], in the order of the rows.
    """

    def load(row: Any) -> NDArray[np.uint8]:
        content = cache.get(row.sha256, lambda: store.read(row.key).content)
        return to_square(decode_image(content, limits), size_px)

    with ThreadPoolExecutor(_DECODERS) as threads:
        images = list(threads.map(load, rows.itertuples()))
    return stack_images(images, size_px)
