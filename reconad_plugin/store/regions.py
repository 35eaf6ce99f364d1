"""Where to look in a product's pictures, as its bucket or its settings say."""

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from typing import Final

from reconad_plugin.images.names import pass_over
from reconad_plugin.images.region import PRODUCT, Box, Region, draw_boxes, read_region
from reconad_plugin.images.size import ImageSize
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore
from reconad_plugin.store.strays import is_foreign

_OF_THE_PRODUCT: Final = "region"  # ``regions/region.png``; others name a camera position


def find_region(
    store: ObjectStore,
    layout: ProductLayout,
    boxes: Sequence[Box],
    size: ImageSize,
    pictures: Collection[tuple[int, int]],
) -> Region | None:
    """Find where to look: in boxes, else in the masks under ``regions/``; None: everywhere.

    Args:
        store: the bucket.
        layout: of the product.
        boxes: of the settings.
        size: of what the network sees.
        pictures: widths and heights of the pictures.

    Raises:
        InvalidImageError: a mask is no PNG, is black, or has the shape of no picture.
        ConfigError: a region covers no pixel of the network.
        StorageError: the bucket cannot be read.
    """
    if boxes:
        return draw_boxes(boxes, size)
    files = {}
    for info in store.list_objects(layout.regions):
        name = info.key.removeprefix(layout.regions)
        if is_foreign(name):
            pass_over(store.uri(info.key))
            continue
        position = str(PurePosixPath(name).with_suffix(""))
        content = store.read(info.key).content
        files[PRODUCT if position == _OF_THE_PRODUCT else position] = content
    return read_region(files, size, pictures) if files else None
