"""Images that a version learnt from, by address and SHA-256, as far as they can still be had."""

from pathlib import Path

from reconad_plugin.images.names import path_of
from reconad_plugin.store import mirror
from reconad_plugin.store.objects import open_bucket, split_address


def fetch_image(uri: str, sha256: str) -> Path | None:
    """Return a local file with these bytes, or None.

    Raises:
        StorageError: the bucket cannot be read, so that nobody knows what is gone.
    """
    path = path_of(uri)
    if uri.startswith("s3://"):
        bucket, key = split_address(uri)
        path = mirror.local_path(bucket, key)
        if not _holds(path, sha256):
            content = open_bucket(bucket).read_optional(key)
            if content is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    return path if _holds(path, sha256) else None


def _holds(path: Path, sha256: str) -> bool:
    return path.is_file() and mirror.hash_file(path) == sha256
