"""Rows of a manifest to pixels."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reconad_plugin.images.geometry import decode_to_size
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.objects import ObjectStore
from reconad_plugin.store.pixels import PixelCache


def load_images(
    store: ObjectStore,
    cache: ContentCache,
    rows: pd.DataFrame,
    size: ImageSize,
    limits: ImageLimits,
) -> NDArray[np.uint8]:
    """Load the pixels of the images of accepted rows of manifests, decoded once; the bucket is
    asked for what the caches do not have.

    Returns:
        (N, 3, H, W) uint8 in [0, 255], in the order of the rows.
    """
    hashes, keys = rows["sha256"].tolist(), rows["key"].tolist()

    def decode(index: int) -> NDArray[np.uint8]:
        content = cache.get(hashes[index], lambda: store.read(keys[index]).content)
        return decode_to_size(content, size, limits)

    return PixelCache(cache.folder, size).load(hashes, decode)
