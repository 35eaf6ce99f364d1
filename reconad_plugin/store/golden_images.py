"""The golden images of a product, each downloaded once while it stays unchanged."""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Final

from reconad_plugin.errors import (
    AccessDeniedError,
    InvalidImageError,
    ObjectUnreadableError,
    StorageError,
)
from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.features import hash_pixels
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.names import pass_over
from reconad_plugin.store.cache import ContentCache, read_note, write_whole
from reconad_plugin.store.golden_notes import read_golden_notes
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore
from reconad_plugin.store.strays import is_foreign, is_left_by_system

NORMAL: Final = "normal"  # folder of golden images that show no defect

_MASKS = "masks/"
_HASHES = 2  # of bytes and of pixels


@dataclass(frozen=True)
class GoldenImage:
    """One golden image: where it lies, and which bytes it has."""

    key: str
    etag: str
    sha256: str
    pixels_sha256: str  # see `hash_pixels`; empty where it is no picture
    # what a person called it who put it in from the review page; None: its folder says what it is
    defect: str | None = None


@dataclass(frozen=True)
class GoldenImages:
    """The golden images as the bucket lists them at one moment; masks are none."""

    store: ObjectStore  # the bucket
    cache: ContentCache  # local bytes by SHA-256
    layout: ProductLayout
    images: tuple[GoldenImage, ...]  # in order of key
    # objects whose name says that they are no golden images, and whose bytes train nothing either
    others: tuple[GoldenImage, ...] = ()
    # of images that the bucket has and does not hand out; no version is judged without them
    unreadable: tuple[StorageError, ...] = ()

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the bytes, and of the pixels, of all that lies there, with its key."""
        return {
            each: image.key
            for image in (*self.others, *self.images)
            for each in (image.pixels_sha256, image.sha256)
            if each
        }

    def read(self, image: GoldenImage) -> bytes:
        """Return the bytes of an image, from the local cache where it has them."""
        key = image.key if image.defect is None else self.layout.golden_copy(image.sha256)
        return self.cache.get(image.sha256, lambda: self.store.read(key).content)

    def shows(self, image: GoldenImage) -> str:
        """Return what an image shows: ``normal``, or its type of defect.

        Raises:
            InvalidImageError: it lies in no folder that says so.
        """
        if image.defect is not None:
            return image.defect
        prefix = self.layout.golden
        folder, _, name = image.key.removeprefix(prefix).partition("/")
        if not name:
            raise InvalidImageError(
                "misplaced",
                f"golden images lie in {prefix}{NORMAL}/ or {prefix}<defect>/; got {image.key}: "
                "move it",
            )
        return folder


def read_golden_images(
    store: ObjectStore, cache: ContentCache, layout: ProductLayout, limits: ImageLimits
) -> GoldenImages:
    """List the golden images; download those that are new or changed since they were last listed.

    The cache keeps the bytes, and a note of each key's ETag and hashes. Those that persons put in
    from the review page follow; their key is that of the image on its night.

    Raises:
        DamagedRecordError: it cannot be read what persons put in.
        StorageError: the bucket cannot be read.
    """
    note = cache.folder / "golden" / store.bucket / f"{layout.product}.json"
    before = read_note(note)  # key -> ETag and hashes
    images, others, unreadable = list[GoldenImage](), list[GoldenImage](), list[StorageError]()
    for info in store.list_objects(layout.golden):
        name = info.key.removeprefix(layout.golden)
        if name.startswith(_MASKS):
            continue
        is_other = is_foreign(name)
        if is_other:
            pass_over(store.uri(info.key))
        if is_left_by_system(name) or name.endswith("/"):
            continue
        noted = before.get(info.key)
        etag, *hashes = noted if isinstance(noted, list) and noted else [""]
        if not etag or etag != info.etag or len(hashes) != _HASHES:
            try:
                content = store.read(info.key).content
            except (AccessDeniedError, ObjectUnreadableError) as error:
                if not is_other:
                    pass_over(store.uri(info.key), str(error))
                    unreadable.append(error)
                continue
            hashes = [hashlib.sha256(content).hexdigest(), _hash_pixels(content, limits)]
            cache.put(hashes[0], content)
        (others if is_other else images).append(GoldenImage(info.key, info.etag, *hashes))
    now = {each.key: [each.etag, each.sha256, each.pixels_sha256] for each in (*images, *others)}
    if now != before:
        write_whole(note, json.dumps(now).encode())
    known = {image.sha256 for image in images}
    images += [
        GoldenImage(note.key, "", note.sha256, note.pixels_sha256, note.defect)
        for note in read_golden_notes(store, layout)
        if note.is_golden and note.sha256 not in known
    ]
    found = tuple(images), tuple(others), tuple(unreadable)
    return GoldenImages(store, cache, layout, *found)


def _hash_pixels(content: bytes, limits: ImageLimits) -> str:
    """Hash what a golden image shows; empty where the product takes no such picture. That it has
    another shape than the lens of the day does not count: the hash stays."""
    try:
        return hash_pixels(decode_image(content, replace(limits, shape=None)))
    except InvalidImageError:
        return ""
