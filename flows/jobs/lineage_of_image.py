"""What became of an image: what it is, who scored it, and which versions learnt from it."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from typing import Any, Final

import pandas as pd

from flows.jobs.product import Product
from mlflow_models import registry
from mlflow_models.recorded import RecordedTraining, read_recorded
from reconad_plugin.errors import ConfigError, ModelFormatError
from reconad_plugin.ledger.lineage import HASHES, find_hashes, rows_of
from reconad_plugin.ledger.manifest import COLUMNS
from reconad_plugin.ledger.read_back import unless_damaged
from reconad_plugin.ledger.served import read_served, served_nights
from reconad_plugin.ledger.splits import BORROWED_LIGHT, FILLING, TRAIN
from reconad_plugin.store.golden_images import read_golden_images

GOLDEN: Final = "golden"  # in place of a verdict
FOR_WEIGHTS: Final = (TRAIN, BORROWED_LIGHT, FILLING)  # splits that the weights follow from
_OF_IMAGE: Final = ("key", "night", "verdict", "reason", "split", *HASHES, "version_id", "etag")
_OF_LOG: Final = (
    "time",
    "reference",
    "model_version",
    "engine",
    "pred_score",
    "pred_label",
    *HASHES,
)


@dataclass(frozen=True)
class Scored:
    """What a version said of an image."""

    when: str  # night, or time of the request
    by: str  # ``night``, or the engine of the server that answered
    version: str
    pred_score: float | None  # None for a row that a server could not read
    pred_label: bool | None
    reference: str | None  # what the client called it


@dataclass(frozen=True)
class Learnt:
    """A version that had an image in its training."""

    version: str
    split: str  # what the image was for
    through: str | None  # number of the base that it comes through; None: in its own training


@dataclass(frozen=True)
class ImageLineage:
    """All that is known of an image."""

    product: str
    asked: str
    # one of each object with the same bytes or pixels: ``_OF_IMAGE``, and ``decision`` of a person
    objects: Sequence[Mapping[str, Any]]
    scored: Sequence[Scored]
    learnt: Sequence[Learnt]
    untold: Sequence[str]  # numbers of versions of which nobody knows any more what they learnt

    def to_dict(self) -> dict[str, object]:
        """Return what stands in the JSON."""
        return asdict(self)


def trace_image(product: Product, asked: str) -> ImageLineage:
    """Find what became of an image.

    Args:
        product: whose it is.
        asked: see ``find_hashes``; also the address of an object, ``s3://bucket/key``.

    Raises:
        ConfigError: nothing is known of it.
        StorageError: the bucket cannot be read.
    """
    images, served = _all_images(product), _all_served(product)
    asked = asked.removeprefix(product.store.uri(""))
    hashes = find_hashes(asked, images, served)
    own = images[images["key"] == asked]  # also what was quarantined unread, and has no hash
    found = pd.concat([rows_of(hashes, images), own]).drop_duplicates("key")
    log = rows_of(hashes, served)
    if found.empty and log.empty:
        raise ConfigError(
            "an image must be named by its key in the bucket, eight characters or more of its "
            f"hash, or the reference that a client gave it; got {asked!r}, which no manifest of "
            f"{product.name} and no prediction log has"
        )
    learnt, untold = _learnt_by(product.name, hashes)
    return ImageLineage(
        product=product.name,
        asked=asked,
        objects=[_described(product, row) for row in found.to_dict("records")],
        scored=[*_scored_at_night(product, found, hashes), *map(_served, log.to_dict("records"))],
        learnt=learnt,
        untold=untold,
    )


def _all_images(product: Product) -> pd.DataFrame:
    """List the objects of all nights, as their manifests have them, and the golden images."""
    manifests = [unless_damaged(partial(product.manifest, each)) for each in product.known_nights()]
    golden = read_golden_images(product.store, product.cache, product.layout, product.limits)
    rows = [
        {"key": each.key, "sha256": each.sha256, "pixels_sha256": each.pixels_sha256,
         "etag": each.etag, "verdict": GOLDEN, "reason": each.defect or ""}
        for each in golden.images
    ]  # fmt: skip
    empty = pd.DataFrame(columns=list(COLUMNS), dtype=object)
    known = [each for each in manifests if each is not None]
    table = pd.concat([empty, *known, pd.DataFrame(rows)])
    return table[list(_OF_IMAGE)].fillna("").reset_index(drop=True)


def _all_served(product: Product) -> pd.DataFrame:
    """Read the prediction log of all nights."""
    nights = served_nights(product.store, product.layout)
    logs = [read_served(product.store, product.layout, each, _OF_LOG) for each in nights]
    table = pd.concat([pd.DataFrame(columns=list(_OF_LOG), dtype=object), *logs])
    return table.fillna(dict.fromkeys(HASHES, "")).reset_index(drop=True)


def _described(product: Product, row: Mapping[Hashable, str]) -> dict[str, object]:
    """Return a row with what a person decided on it; empty where nobody was asked."""
    decision = ""
    if row["night"]:
        review = product.records.review(date.fromisoformat(row["night"]))
        decision = next(iter(review.loc[review["sha256"] == row["sha256"], "decision"]), "")
    return {**{str(name): value for name, value in row.items()}, "decision": decision}


def _scored_at_night(
    product: Product, found: pd.DataFrame, hashes: frozenset[str]
) -> Iterator[Scored]:
    for night in sorted({*found["night"]} - {""}):
        scores = unless_damaged(partial(product.records.scores, date.fromisoformat(night)))
        if scores is None:
            continue
        for row in rows_of(hashes, scores).to_dict("records"):
            score, label = float(row["pred_score"]), bool(row["pred_label"])
            yield Scored(night, "night", str(row.get("model_version", "")), score, label, None)


def _served(row: Mapping[Any, Any]) -> Scored:
    was_read = pd.notna(row["pred_score"])
    return Scored(
        when=row["time"].isoformat(timespec="seconds"),
        by=str(row["engine"]),
        version=str(row["model_version"]),
        pred_score=float(row["pred_score"]) if was_read else None,
        pred_label=bool(row["pred_label"]) if was_read else None,
        reference=row["reference"] if pd.notna(row["reference"]) else None,
    )


def _learnt_by(product: str, hashes: frozenset[str]) -> tuple[list[Learnt], list[str]]:
    """Find the versions that had an image in their training, or in that of a version they go back
    to; and those of which that is not noted."""
    versions, found, untold = registry.versions(product), list[Learnt](), list[str]()
    splits: dict[str, str | None] = {}  # number of a version -> what the image was for
    back: dict[str, list[str]] = {}  # -> numbers of those that it goes back to, the nearest first
    for version in versions:  # the oldest first, so that a base comes before what starts from it
        try:
            recorded = read_recorded(version)
        except ModelFormatError:
            untold.append(version.number)
            continue
        split = splits[version.number] = _split_in(recorded, hashes)
        if split is not None:
            found.append(Learnt(version.number, split, None))
        base = next((each.number for each in versions if recorded.is_base(each)), None)
        back[version.number] = [] if base is None else [base, *back.get(base, [])]
        for number in back[version.number]:
            if (of_base := splits.get(number)) in FOR_WEIGHTS:
                found.append(Learnt(version.number, str(of_base), number))
    return found, untold


def _split_in(recorded: RecordedTraining, hashes: frozenset[str]) -> str | None:
    rows = recorded.images[recorded.images["sha256"].isin(hashes)]
    return None if rows.empty else str(rows["split"].iloc[0])
