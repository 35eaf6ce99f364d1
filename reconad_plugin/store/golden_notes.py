"""What persons put into the golden set from the review page, and took out again.

Factories write ``golden/``; here is what reconad keeps itself: a copy of each image, found by its
SHA-256, and a list of notes that is only added to. The last note on an image counts.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from reconad_plugin.errors import DamagedRecordError
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore

_JSON: Final = "application/json"
_BYTES: Final = "application/octet-stream"


@dataclass(frozen=True)
class GoldenNote:
    """What a person did with one image."""

    sha256: str  # of its bytes
    pixels_sha256: str  # see ``hash_pixels``; empty where it is not known
    key: str  # under ``incoming/``, where the image came from
    defect: str  # what it shows
    is_golden: bool  # whether it was put in, or taken out
    by: str  # the person
    at: str  # when, ISO 8601


def read_golden_notes(store: ObjectStore, layout: ProductLayout) -> list[GoldenNote]:
    """Return the last note on each image, in the order in which images were first put in.

    Raises:
        DamagedRecordError: the notes are not as they were written.
        StorageError: the bucket cannot be read.
    """
    notes = _parse(store.read_optional(layout.golden_notes), store.uri(layout.golden_notes))
    return list({note.sha256: note for note in notes}.values())


def put_golden(
    store: ObjectStore,
    layout: ProductLayout,
    notes: Sequence[GoldenNote],
    contents: Sequence[bytes],
) -> None:
    """Put images into the golden set: first a copy of each, then their notes.

    Raises:
        StorageError: the bucket takes or gives nothing; or others add notes each time.
    """
    for note, content in zip(notes, contents, strict=True):
        store.write(layout.golden_copy(note.sha256), content, _BYTES)
    note_golden(store, layout, notes)


def note_golden(store: ObjectStore, layout: ProductLayout, notes: Sequence[GoldenNote]) -> None:
    """Add notes, such as that images are taken out; their copies stay.

    Raises:
        ObjectChangedError: others add notes each time.
    """
    key = layout.golden_notes

    def add(before: bytes | None) -> bytes:
        known = _parse(before, store.uri(key))
        added = [*known, *(note for note in notes if note not in known)]
        return json.dumps([asdict(note) for note in added], indent=1).encode()

    store.change(key, _JSON, add)


def _parse(content: bytes | None, uri: str) -> list[GoldenNote]:
    if content is None:
        return []
    try:
        return _NOTES.validate_json(content, strict=True)
    except ValidationError as error:
        raise DamagedRecordError(
            f"what persons put into the golden set must be as it was written; {uri} is not "
            f"({error.error_count()} errors): put it back from a copy"
        ) from None


_NOTES: Final = TypeAdapter(list[GoldenNote])
