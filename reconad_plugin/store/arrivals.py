"""What a factory has put into the bucket: nights, and objects that lie where no night is."""

from collections.abc import Iterator
from datetime import date
from itertools import islice
from typing import Final

from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore

MOST_COUNTED: Final = 10_000  # objects of one folder


def arrived_nights(store: ObjectStore, layout: ProductLayout) -> list[date]:
    """Return the nights that have a folder under ``incoming/``, oldest first."""
    folders = store.list_folder(layout.arrivals).folders
    return sorted(night for folder in folders if (night := _night_of(folder, layout)) is not None)


def objects_beside(store: ObjectStore, layout: ProductLayout) -> dict[str, int]:
    """Count objects that lie where nobody looks, by their folder: under a date that is written in
    another way, under another spelling of the product or of ``incoming``, or in no folder of these.
    """
    counts = {
        folder: store.list_folder(folder).objects for folder in (layout.root, layout.arrivals)
    }
    for folder in _odd_folders(store, layout):
        counts[folder] = sum(1 for _ in islice(store.list_objects(folder), MOST_COUNTED))
    return {folder: count for folder, count in counts.items() if count}


def _odd_folders(store: ObjectStore, layout: ProductLayout) -> Iterator[str]:
    for folder in store.list_folder("").folders:
        if folder == "/":  # of keys that begin with a slash
            yield f"/{layout.root}"
        elif folder != layout.root and folder.strip("/ ").lower() in (layout.product, "incoming"):
            yield folder
    yield from (
        each for each in store.list_folder(layout.root).folders if each not in layout.folders
    )
    for folder in store.list_folder(layout.arrivals).folders:
        if _night_of(folder, layout) is None:
            yield folder


def _night_of(folder: str, layout: ProductLayout) -> date | None:
    """Read the night of a folder under ``incoming/``; None where it names none."""
    name = folder.removeprefix(layout.arrivals).removesuffix("/")
    try:
        night = date.fromisoformat(name)
    except ValueError:
        return None
    return night if night.isoformat() == name else None
