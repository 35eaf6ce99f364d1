"""The objects of a bucket that a version learnt from: keys, object versions and hashes."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from typing import Final

import pandas as pd

from flows.jobs.product import Product
from mlflow_models.tracking import OBJECT_COLUMNS
from reconad_plugin.errors import StorageError, StorageUnreachableError
from reconad_plugin.ledger.read_back import unless_damaged
from reconad_plugin.store.objects import NO_VERSION

COLUMNS: Final = ("key", "night", "split", "sha256", *OBJECT_COLUMNS)
_READERS: Final = 8  # threads; reading waits on the network


def learnt_objects(product: Product, images: pd.DataFrame) -> pd.DataFrame:
    """Return the objects that a version's images are, in their order, with ``COLUMNS``.

    Which version of an object it was stands in the version's own list, or, for a version from
    before that, in the manifest of the night, unless other bytes were taken in under its key since.

    Args:
        product: whose bucket they are in.
        images: of a version; see ``tracking.read_training_images``.
    """
    layout = product.layout
    key = images["uri"].str.removeprefix(product.store.uri(""))
    is_ours = key.str.startswith(layout.arrivals)
    night = key.str.removeprefix(layout.arrivals).str.partition("/")[0].where(is_ours, "")
    table = images.assign(key=key, night=night).reset_index(drop=True)
    if set(OBJECT_COLUMNS) <= {*table.columns}:
        return table.fillna(dict.fromkeys(OBJECT_COLUMNS, ""))[list(COLUMNS)]
    nights = [date.fromisoformat(each) for each in sorted({*night} - {""})]
    manifests = [unless_damaged(partial(product.manifest, each)) for each in nights]
    columns = ["key", "sha256", *OBJECT_COLUMNS]
    known = [each[columns] for each in manifests if each is not None]
    noted = pd.concat([pd.DataFrame(columns=columns, dtype=str), *known])
    joined = table.merge(noted, how="left", on=["key", "sha256"])
    return joined.fillna(dict.fromkeys(OBJECT_COLUMNS, ""))[list(COLUMNS)]


def fetch_objects(product: Product, objects: pd.DataFrame) -> list[str]:
    """Bring the bytes of objects into the product's cache; return the keys of those that cannot be
    had any more.

    The version of the object that was learnt is asked for first, then the newest.

    Raises:
        StorageUnreachableError: the bucket does not answer, so that nobody knows what is gone.
    """

    def is_gone(key: str, sha256: str, version_id: str) -> bool:
        if product.cache.has(sha256):
            return False
        for content in _versions_of(product, key, version_id):
            if hashlib.sha256(content).hexdigest() == sha256:
                product.cache.put(sha256, content)
                return False
        return True

    columns = [objects[name].tolist() for name in ("key", "sha256", "version_id")]
    with ThreadPoolExecutor(_READERS) as threads:
        gone = list(threads.map(is_gone, *columns))
    return [key for key, is_one in zip(columns[0], gone, strict=True) if is_one]


def _versions_of(product: Product, key: str, version_id: str) -> Iterator[bytes]:
    """Read an object as it was learnt, then as it is, as far as it can be read."""
    for which in (version_id, None):
        if which in ("", NO_VERSION):
            continue
        try:
            yield product.store.read(key, which).content
        except StorageUnreachableError:
            raise
        except StorageError:
            continue
