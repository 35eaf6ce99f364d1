"""The manifest of a night: one row an image, and nothing lost.

Every object under ``incoming/<night>/`` has a row: accepted, duplicate, or quarantined with the
reason. A manifest depends on the bucket and the other nights alone, never on the clock.
"""

import hashlib
import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import chain
from typing import Any, Final

import pandas as pd

from reconad_plugin.errors import (
    AccessDeniedError,
    InvalidImageError,
    ObjectUnreadableError,
    StorageError,
    StorageUnreachableError,
)
from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.features import FEATURES, describe_image, hash_pixels
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.names import pass_over
from reconad_plugin.ledger.read_back import check_columns, reading_back, unless_damaged
from reconad_plugin.ledger.splits import SplitRules, assign_splits, deal_together, first_group
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.golden_images import read_golden_images
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectContent, ObjectInfo, ObjectStore

ACCEPTED, QUARANTINED, DUPLICATE = "accepted", "quarantined", "duplicate"

COLUMNS: Final[dict[str, str]] = {
    "key": "str",
    "version_id": "str",
    "etag": "str",
    "sha256": "str",
    "pixels_sha256": "str",  # see `hash_pixels`; empty where it was not decoded, or before its time
    "size_bytes": "int64",
    "width_px": "int64",
    "height_px": "int64",
    "night": "str",
    "position": "str",  # of the camera; empty where the product has one
    "verdict": "str",
    "reason": "str",
    "split": "str",  # train, calibration or judge; empty unless accepted
    **dict.fromkeys(FEATURES, "float64"),
}

_EQUALITIES: Final = {"sha256": "bytes", "pixels_sha256": "pixels"}  # column -> what is equal

_READERS = 8  # threads; reading waits on the network, decoding releases the interpreter's lock


@dataclass(frozen=True)
class IntakeRules:
    """How a night's objects are looked at."""

    limits: ImageLimits  # allowed image sizes
    position_pattern: str | None = None  # see `camera_position`
    # which pictures train, calibrate or judge together
    splits: SplitRules = field(default_factory=SplitRules)
    # a version was already trained on this night before anything watched it; what arrives later has
    # no score to vouch for it, so it takes no side and trains nothing
    is_closed: bool = False
    # an object that the store fails on, though it hands out another, is quarantined; before the
    # last try that failure may pass, and stops the night so that it is tried again
    is_last_try: bool = False


def build_manifest(
    store: ObjectStore,
    cache: ContentCache,
    layout: ProductLayout,
    night: date,
    rules: IntakeRules,
    previous: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Look at every object that arrived for a night: one row an object in order of key, with
    ``COLUMNS``; no rows where nothing arrived.

    The cache keeps the bytes of accepted images for the steps that follow. Accepted objects that
    stand unchanged in the night's previous manifest keep their row, so that late arrivals cost only
    themselves.

    Raises:
        StorageError: the bucket is not there, or refuses all. An object that alone cannot be read
            is quarantined, as ``unreadable``.
    """
    others = accepted_on_other_nights(store, layout, night)
    golden = read_golden_images(store, cache, layout, rules.limits).hashes
    objects = list(store.list_objects(layout.incoming(night)))
    kept = _unchanged_rows(previous, objects)
    dealt = [row for row in kept.values() if row["split"]]
    known = _keys_by_hash([*others[["key", *_EQUALITIES]].to_dict("records"), *dealt])
    rows = _inspect_all(store, cache, objects, kept, night, rules)
    for row in rows:
        name = str(row["key"]).removeprefix(layout.incoming(night))
        row["position"] = camera_position(name, rules.position_pattern)
    for row in rows:  # in order of key: the first of two equal images is the one accepted
        if row["verdict"] != ACCEPTED or row["split"]:
            continue
        if equality := next((name for name in _EQUALITIES if row[name] in known), None):
            reason = f"same {_EQUALITIES[equality]} as {known[str(row[equality])]}"
            row |= {"verdict": DUPLICATE, "reason": reason}
            continue
        known |= _keys_by_hash([row])
        is_itself = golden.get(str(row["sha256"])) == row["key"]  # put in from the review page
        equality = next((name for name in _EQUALITIES if row[name] in golden), None)
        if equality is not None and not is_itself:
            same = f"same {_EQUALITIES[equality]} as {golden[str(row[equality])]}"
            reason = f"golden: {same}, which judges versions and never trains them"
            row |= {"verdict": QUARANTINED, "reason": reason}
    if not rules.is_closed:
        _deal_out(rows, others, layout, rules.splits)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def read_manifest(store: ObjectStore, layout: ProductLayout, night: date) -> pd.DataFrame | None:
    """Read a night's manifest, or None where it has not been written."""
    content = store.read_optional(layout.manifest(night))
    if content is None:
        return None
    younger = {"position": "", "pixels_sha256": ""}  # columns that old manifests lack
    with reading_back(store.uri(layout.manifest(night))):
        wanted = set(COLUMNS) - set(younger) - set(FEATURES)
        table = check_columns(pd.read_parquet(io.BytesIO(content)), wanted)
        return table.reindex(columns=list(COLUMNS)).fillna(younger).astype(COLUMNS)


def write_manifest(
    store: ObjectStore, layout: ProductLayout, night: date, manifest: pd.DataFrame
) -> str:
    """Write a night's manifest; return its address."""
    key = layout.manifest(night)
    store.write(key, to_parquet(manifest), "application/vnd.apache.parquet")
    return store.uri(key)


def is_current(
    store: ObjectStore,
    layout: ProductLayout,
    manifest: pd.DataFrame,
    night: date,
    position_pattern: str | None,
) -> bool:
    """Say whether a manifest lists exactly the objects that are there, all of them accepted, at the
    positions that the pattern tells."""
    if (manifest["verdict"] != ACCEPTED).any():
        return False
    incoming = layout.incoming(night)
    listed = {
        (info.key, info.etag, camera_position(info.key.removeprefix(incoming), position_pattern))
        for info in store.list_objects(incoming)
    }
    known = zip(manifest["key"], manifest["etag"], manifest["position"], strict=True)
    return listed == set(known)


def camera_position(name: str, pattern: str | None) -> str:
    r"""Read the position of the camera from an image's name below the night; empty without one.

    The first group of the pattern, a regular expression, is the position; None: the folder is.

    Example:
        >>> camera_position("left/0001.jpg", None)
        'left'
        >>> camera_position("0001_left.jpg", r"_(\w+)\.")
        'left'
    """
    if pattern is None:
        return name.rpartition("/")[0]
    return first_group(pattern, name)


def part_of(key: str, layout: ProductLayout, pattern: str) -> str:
    """Name the part that an image of a night, or a golden one, shows: what the pattern's group
    finds in its name below its folder. An image whose name tells none is a part of its own."""
    return first_group(pattern, layout.name_of(key)) or key


def manifest_digest(manifest: pd.DataFrame) -> str:
    """Hash what a manifest says of its images, equal for equal rows."""
    rows = manifest[["key", "sha256", "verdict"]].sort_values("key")
    return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()


def known_nights(store: ObjectStore, layout: ProductLayout, before: date) -> list[date]:
    """Return the nights before this one that have a manifest, oldest first."""
    nights = nights_under(store, layout.manifests, ".parquet")
    return [night for night in nights if night < before]


def nights_under(store: ObjectStore, prefix: str, ending: str) -> list[date]:
    """Return the nights that have an object ``<prefix><YYYY-MM-DD><ending>``, oldest first; objects
    with other names are passed over."""
    nights = []
    for info in store.list_objects(prefix):
        name = info.key.removeprefix(prefix)
        try:
            night = date.fromisoformat(name.removesuffix(ending))
        except ValueError:
            night = None
        if night is not None and name == f"{night.isoformat()}{ending}":
            nights.append(night)
        else:
            pass_over(store.uri(info.key))
    return sorted(nights)


def accepted_on_other_nights(
    store: ObjectStore, layout: ProductLayout, night: date
) -> pd.DataFrame:
    """Return the rows of every image accepted on other nights, earlier and later ones."""
    nights = [each for each in known_nights(store, layout, before=date.max) if each != night]
    manifests = [unless_damaged(partial(read_manifest, store, layout, each)) for each in nights]
    return accepted_rows(manifest for manifest in manifests if manifest is not None)


def to_parquet(table: pd.DataFrame) -> bytes:
    """Write a table as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def accepted_rows(manifests: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the accepted images of several nights, if any, in order of night and key."""
    no_rows = pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)
    table = pd.concat(list(manifests) or [no_rows], ignore_index=True)
    return table[table["verdict"] == ACCEPTED].sort_values(["night", "key"], ignore_index=True)


def _unchanged_rows(
    previous: pd.DataFrame | None, objects: list[ObjectInfo]
) -> dict[tuple[str, str], dict[str, object]]:
    """Index the accepted rows of objects still there by key and ETag. The others are looked at
    anew: a limit may have been raised since, and the image that a duplicate repeats be gone."""
    if previous is None:
        return {}
    there = {(info.key, info.etag) for info in objects}
    kept = previous[previous["verdict"] == ACCEPTED]
    rows = [{str(name): value for name, value in row.items()} for row in kept.to_dict("records")]
    by_object = {(str(row["key"]), str(row["etag"])): row for row in rows}
    return {place: row for place, row in by_object.items() if place in there}


def _keys_by_hash(rows: Iterable[Mapping[Any, object]]) -> dict[str, str]:
    """Index the keys of images by each hash that two equal ones share."""
    return {
        str(row[column]): str(row["key"]) for row in rows for column in _EQUALITIES if row[column]
    }


def _deal_out(
    rows: list[dict[str, object]], others: pd.DataFrame, layout: ProductLayout, rules: SplitRules
) -> None:
    """Give each accepted row that has no side its own; ``others`` are those of other nights."""
    accepted = [row for row in rows if row["verdict"] == ACCEPTED]
    new = [row for row in accepted if not row["split"]]
    if rules.are_single:
        already = len(others) + len(accepted) - len(new)
        splits = assign_splits([str(row["sha256"]) for row in new], already)
        for row in new:
            row["split"] = splits[str(row["sha256"])]
        return
    known = chain(
        zip(others["key"], others["split"], strict=True),
        ((row["key"], row["split"]) for row in accepted),
    )
    dealt = [(layout.name_of(str(key)), str(split)) for key, split in known if split]
    names = [layout.name_of(str(row["key"])) for row in new]
    for row, side in zip(new, deal_together(names, dealt, rules), strict=True):
        row["split"] = side


def _inspect_all(
    store: ObjectStore,
    cache: ContentCache,
    objects: list[ObjectInfo],
    kept: dict[tuple[str, str], dict[str, object]],
    night: date,
    rules: IntakeRules,
) -> list[dict[str, object]]:
    """Make each object's row; keep those that are known. Each failure of the store is held to be of
    one object, where others show that it is not of the bucket."""
    read: list[str] = []
    denied: list[StorageError] = []
    failed: list[StorageError] = []

    def inspect(info: ObjectInfo) -> dict[str, object]:
        if (info.key, info.etag) in kept:
            return kept[info.key, info.etag]
        try:
            found = store.read(info.key)
        except AccessDeniedError as error:
            denied.append(error)
            return _unreadable(info, night, error)
        except ObjectUnreadableError as error:
            return _unreadable(info, night, error)
        except StorageUnreachableError as error:
            if not rules.is_last_try:
                raise
            failed.append(error)
            return _unreadable(info, night, error)
        read.append(info.key)
        return _inspect_object(info, found, cache, night, rules.limits)

    with ThreadPoolExecutor(_READERS) as threads:
        rows = list(threads.map(inspect, objects))
    if 1 < len(objects) == len(denied):
        raise AccessDeniedError(f"{denied[0]}; so it is for all {len(objects)} of the night")
    if failed and not (read and _is_readable(store, read[0])):
        raise failed[0]
    return rows


def _is_readable(store: ObjectStore, key: str) -> bool:
    try:
        store.read(key)
    except StorageError:
        return False
    return True


def _new_row(info: ObjectInfo, night: date) -> dict[str, object]:
    return {
        "key": info.key, "version_id": "", "etag": info.etag, "sha256": "", "pixels_sha256": "",
        "size_bytes": 0, "width_px": 0, "height_px": 0,
        "night": night.isoformat(), "position": "", "verdict": ACCEPTED, "reason": "", "split": "",
        **dict.fromkeys(FEATURES, float("nan")),
    }  # fmt: skip


def _unreadable(info: ObjectInfo, night: date, error: StorageError) -> dict[str, object]:
    return _new_row(info, night) | {
        "size_bytes": info.size_bytes, "verdict": QUARANTINED, "reason": f"unreadable: {error}",
    }  # fmt: skip


def _inspect_object(
    info: ObjectInfo, found: ObjectContent, cache: ContentCache, night: date, limits: ImageLimits
) -> dict[str, object]:
    sha256 = hashlib.sha256(found.content).hexdigest()
    row = _new_row(info, night) | {
        "version_id": found.version_id, "sha256": sha256, "size_bytes": len(found.content),
    }  # fmt: skip
    try:
        image = decode_image(found.content, limits)
    except InvalidImageError as error:
        return row | {"verdict": QUARANTINED, "reason": f"{error.reason}: {error}"}
    cache.put(sha256, found.content)
    return row | {
        "pixels_sha256": hash_pixels(image), "width_px": image.shape[1],
        "height_px": image.shape[0], **describe_image(image),
    }  # fmt: skip
