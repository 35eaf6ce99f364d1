"""Proposes settings for what lies in a bucket: its products, their positions and picture sizes."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import PurePosixPath
from typing import Final

from reconad_plugin.advice.name_columns import NamedPositions, find_positions
from reconad_plugin.config.names import check_product_name
from reconad_plugin.errors import ConfigError, InvalidImageError, ObjectUnreadableError
from reconad_plugin.images.decode import upright_size
from reconad_plugin.images.folder import PICTURE_SUFFIXES
from reconad_plugin.store.arrivals import arrived_nights
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore

MOST_NAMES: Final = 500  # that are counted of a folder that is no product
MOST_FOLDERS: Final = 10  # that are no products and are looked at
MOST_HEADERS: Final = 5  # pictures that are read
_DAY: Final = re.compile(r"(?<!\d)(20\d\d)[-_.]?(\d\d)[-_.]?(\d\d)(?!\d)")


@dataclass(frozen=True)
class ProposedProduct:
    """A product that lies in the bucket as reconad reads it."""

    name: str
    nights: Sequence[date]  # oldest first
    images: int  # of its newest night with pictures
    sizes: Sequence[tuple[int, int]]  # (width, height) of some of them, in px
    folders: Mapping[str, int]  # folder below the night -> images; none where they lie in it
    positions: NamedPositions | None  # that the names tell, where no folders do


@dataclass(frozen=True)
class OtherFolder:
    """Pictures that lie in another layout."""

    folder: str  # its prefix, with a slash at its end
    images: int  # as far as they were counted
    copying: str | None  # the command that brings one night to where it is read


def propose_products(store: ObjectStore) -> list[ProposedProduct]:
    """Find the products of a bucket: folders with nights.

    Raises:
        StorageError: the bucket is not there, or access is refused.
    """
    names = [folder.removesuffix("/") for folder in store.list_folder("").folders]
    return [found for name in names if (found := propose_product(store, name)) is not None]


def propose_product(store: ObjectStore, name: str) -> ProposedProduct | None:
    """Look at one product; None where it can be none, or has no night."""
    with suppress(ConfigError):
        layout = ProductLayout(check_product_name(name))
        if nights := arrived_nights(store, layout):
            return _look_at(store, layout, nights)
    return None


def _look_at(store: ObjectStore, layout: ProductLayout, nights: list[date]) -> ProposedProduct:
    keys: list[str] = []
    for night in reversed(nights):
        keys = list(_pictures(store, layout.incoming(night)))
        if keys:
            break
    below = [layout.name_of(key) for key in keys]
    folders = Counter(name.rpartition("/")[0] for name in below)
    are_folders = set(folders) > {""} or len(folders) > 1
    return ProposedProduct(
        layout.product,
        nights,
        len(keys),
        _sizes(store, keys),
        dict(sorted(folders.items())) if are_folders else {},
        None if are_folders else find_positions(below),
    )


def _sizes(store: ObjectStore, keys: Sequence[str]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for key in keys[:: max(1, len(keys) // MOST_HEADERS)][:MOST_HEADERS]:
        with suppress(InvalidImageError, ObjectUnreadableError):  # a night says what is wrong
            found.append(upright_size(store.read(key).content))
    return found


def other_folders(store: ObjectStore, products: Sequence[str]) -> tuple[list[OtherFolder], int]:
    """Find pictures that lie where no product is, and say how to bring them there.

    Returns:
        Those among the first folders, and how many more folders were not looked at.
    """
    folders = [
        each for each in store.list_folder("").folders if each.removesuffix("/") not in products
    ]
    found = []
    for folder in folders[:MOST_FOLDERS]:
        keys = list(islice(_pictures(store, folder), MOST_NAMES))
        if keys:
            found.append(OtherFolder(folder, len(keys), _copying(store.bucket, folder, keys)))
    return found, len(folders[MOST_FOLDERS:])


def _copying(bucket: str, folder: str, keys: Sequence[str]) -> str | None:
    """Write the command that copies the first night that a key names; None where none does."""
    product = re.sub("[^a-z0-9_-]+", "_", folder.rstrip("/").lower()).strip("_-") or "product"
    for key in keys:
        if (named := _day_in(key.removeprefix(folder))) is None:
            continue
        written, night = named
        goal = f"s3://{bucket}/{product}/incoming/{night}/"
        before, _, after = key.removeprefix(folder).partition(written)
        chosen, source = list[str](), f"s3://{bucket}/{folder}"
        if (not before or before.endswith("/")) and after.startswith("/"):
            source += f"{before}{written}/"
        else:
            chosen = ["--exclude", "*", "--include", f"*{written}*"]
        command = shlex.join(["aws", "s3", "cp", "--recursive", *chosen, source, goal])
        return command if command.isprintable() else None
    return None


def _day_in(name: str) -> tuple[str, date] | None:
    """Return how the first day that a name has is written there, and the day; None without one."""
    for found in _DAY.finditer(name):
        with suppress(ValueError):  # such as February 31
            return found[0], date(*map(int, found.groups()))
    return None


def _pictures(store: ObjectStore, prefix: str) -> Iterator[str]:
    for info in store.list_objects(prefix):
        if PurePosixPath(info.key).suffix.lower() in PICTURE_SUFFIXES:
            yield info.key
