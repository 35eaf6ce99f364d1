"""A night as the page shows it: its images that wait or waited, worst first."""

from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any, Final

import pandas as pd

from monitoring.review_page.overlays import AskedImage
from monitoring.review_page.product import ReviewedProduct
from reconad_plugin.images.names import printable
from reconad_plugin.ledger.deciding import describe_decision, marks
from reconad_plugin.ledger.manifest import accepted_rows, read_manifest
from reconad_plugin.ledger.night_record import DEFECT, WAITING, NightRecord
from reconad_plugin.ledger.read_back import unless_damaged
from reconad_plugin.store.golden_notes import read_golden_notes

REF_CHARACTERS: Final = 16  # of an image's SHA-256, which name it within its night
_OF_MANIFEST: Final[dict[str, Any]] = {"position": "", "width_px": 0, "height_px": 0}
_SUSPECT: Final = "suspect"
_WHY: Final = {  # in a review -> on the page
    _SUSPECT: "above the threshold, also with its light matched",
    "scored anomalous": "above the threshold as it came",
}


@dataclass(frozen=True)
class ReviewedImage:
    """An image of a night's review."""

    sha256: str
    pixels_sha256: str  # see ``hash_pixels``; empty where it is not known
    key: str
    name: str  # below its night
    position: str  # of the camera; empty where the product has one
    width_px: int  # as its file has it; 0 where it is not known
    height_px: int
    why: str  # it waits
    matched_score: float | None  # what the list is ordered by; None where nothing scored it
    pred_score: float | None
    p_value: float | None
    version: str | None  # that judged it; None where none did
    decision: str  # `waiting`, `normal` or `defect`
    said: str  # the decision in words, with the defect and the person
    by: str
    at: str
    defect: str
    mark: str  # of what the review says of it by now
    is_golden: bool  # whether a person put it into the golden set

    @property
    def ref(self) -> str:
        """What names it within its night, in addresses and forms."""
        return self.sha256[:REF_CHARACTERS]

    @property
    def is_waiting(self) -> bool:
        """Whether nobody has decided."""
        return self.decision == WAITING

    @property
    def is_defect(self) -> bool:
        """Whether a person called it a defect."""
        return self.decision == DEFECT

    @property
    def reason(self) -> str:
        """Why it waits, in words."""
        return _WHY.get(self.why, self.why)

    @property
    def asked(self) -> AskedImage | None:
        """What an overlay is made of; None where no version judged it."""
        if self.version is None:
            return None
        is_matched = self.why == _SUSPECT
        return AskedImage(self.sha256, self.key, self.position, self.version, is_matched)


@dataclass(frozen=True)
class ReviewedNight:
    """A night with its review."""

    product: str
    night: date
    record: NightRecord | None  # None before the first version, or where it is damaged
    images: tuple[ReviewedImage, ...]  # worst first

    @property
    def waiting(self) -> int:
        """How many images wait."""
        return sum(image.is_waiting for image in self.images)

    @property
    def defects(self) -> list[str]:
        """Names of defects that persons gave, in order."""
        return sorted({image.defect for image in self.images} - {""})

    def find(self, ref: str) -> ReviewedImage | None:
        """Return the image of a name; None where the review has none."""
        return next((image for image in self.images if image.ref == ref), None)


def read_night(product: ReviewedProduct, night: date) -> ReviewedNight:
    """Read a night's review with what is known of its images.

    Raises:
        DamagedRecordError: what persons decided cannot be read back.
        StorageError: the bucket cannot be read.
    """
    with ThreadPoolExecutor() as threads:  # reading waits on the network
        review = threads.submit(product.records.review, night)
        record = threads.submit(unless_damaged, partial(product.records.record, night))
        manifest = threads.submit(
            unless_damaged, partial(read_manifest, product.store, product.layout, night)
        )
        scores = threads.submit(unless_damaged, partial(product.records.scores, night))
        notes = threads.submit(read_golden_notes, product.store, product.layout)
    golden = {note.sha256 for note in notes.result() if note.is_golden}
    table = _describe(review.result(), manifest.result(), scores.result(), record.result())
    prefix = product.layout.incoming(night)
    images = tuple(_image(row, prefix, golden) for row in table.to_dict("records"))
    return ReviewedNight(product.name, night, record.result(), images)


def _describe(
    review: pd.DataFrame,
    manifest: pd.DataFrame | None,
    scores: pd.DataFrame | None,
    record: NightRecord | None,
) -> pd.DataFrame:
    """Add to a review where each image was taken and who judged it; worst first."""
    table = review.assign(mark=marks(review), version=None, p_value=None, **_OF_MANIFEST)
    if manifest is not None:
        by_hash = accepted_rows([manifest]).drop_duplicates("sha256").set_index("sha256")
        for name in _OF_MANIFEST:
            table[name] = table["sha256"].map(by_hash[name]).fillna(_OF_MANIFEST[name])
        table = table.astype({"width_px": int, "height_px": int})
    if scores is not None:
        by_hash = scores.drop_duplicates("sha256").set_index("sha256")
        by_hash = by_hash.reindex(columns=["model_version", "p_value"])
        versions = by_hash["model_version"].fillna("" if record is None else record.model_version)
        table["version"] = table["sha256"].map(versions)
        table["p_value"] = table["sha256"].map(by_hash["p_value"])
    return table.sort_values(["matched_score", "key"], ascending=[False, True], ignore_index=True)


def _image(row: Mapping[Hashable, Any], prefix: str, golden: set[str]) -> ReviewedImage:
    key = str(row["key"])
    version = row["version"]
    return ReviewedImage(
        sha256=str(row["sha256"]),
        pixels_sha256=str(row["pixels_sha256"]),
        key=key,
        name=printable(key.removeprefix(prefix)),
        position=str(row["position"]),
        width_px=int(row["width_px"]),
        height_px=int(row["height_px"]),
        why=str(row["why"]),
        matched_score=_number(row["matched_score"]),
        pred_score=_number(row["pred_score"]),
        p_value=_number(row["p_value"]),
        version=version if isinstance(version, str) and version else None,
        decision=str(row["decision"]),
        said=describe_decision(row),
        by=str(row["by"]),
        at=str(row["at"]),
        defect=str(row["defect"]),
        mark=str(row["mark"]),
        is_golden=row["sha256"] in golden,
    )


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
