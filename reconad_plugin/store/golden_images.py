"""The golden images of a product, each downloaded once while it stays unchanged."""

import hashlib
import json
from dataclasses import dataclass

from reconad_plugin.errors import AccessDeniedError, ObjectUnreadableError, StorageError
from reconad_plugin.images.names import pass_over
from reconad_plugin.store.cache import ContentCache, read_note, write_whole
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore
from reconad_plugin.store.strays import is_foreign

_MASKS = "masks/"


@dataclass(frozen=True)
class GoldenImage:
    """One golden image: where it lies, and which bytes it has."""

    key: str
    etag: str
    sha256: str


@dataclass(frozen=True)
class GoldenImages:
    """The golden images as the bucket lists them at one moment; masks are none."""

    store: ObjectStore  # the bucket
    cache: ContentCache  # local bytes by SHA-256
    prefix: str  # ``<product>/golden/``
    images: tuple[GoldenImage, ...]  # in order of key
    # of images that the bucket has and does not hand out; no version is judged without them
    unreadable: tuple[StorageError, ...] = ()

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of every golden image, with its key."""
        return {image.sha256: image.key for image in self.images}

    def read(self, image: GoldenImage) -> bytes:
        """Return the bytes of an image, from the local cache where it has them."""
        return self.cache.get(image.sha256, lambda: self.store.read(image.key).content)


def read_golden_images(
    store: ObjectStore, cache: ContentCache, layout: ProductLayout
) -> GoldenImages:
    """List the golden images; download those that are new or changed since they were last listed.

    The cache keeps the bytes, and a note of each key's ETag and SHA-256.

    Raises:
        StorageError: the bucket cannot be read.
    """
    note = cache.folder / "golden" / store.bucket / f"{layout.product}.json"
    before = read_note(note)  # key -> ETag and SHA-256
    found, unreadable = {}, []
    for info in store.list_objects(layout.golden):
        name = info.key.removeprefix(layout.golden)
        if name.startswith(_MASKS):
            continue
        if is_foreign(name):
            pass_over(store.uri(info.key))
            continue
        etag, sha256 = before.get(info.key, ["", ""])
        if not etag or etag != info.etag:
            try:
                content = store.read(info.key).content
            except (AccessDeniedError, ObjectUnreadableError) as error:
                pass_over(store.uri(info.key), str(error))
                unreadable.append(error)
                continue
            sha256 = hashlib.sha256(content).hexdigest()
            cache.put(sha256, content)
        found[info.key] = GoldenImage(info.key, info.etag, sha256)
    now = {key: [image.etag, image.sha256] for key, image in found.items()}
    if now != before:
        write_whole(note, json.dumps(now).encode())
    return GoldenImages(store, cache, layout.golden, tuple(found.values()), tuple(unreadable))
