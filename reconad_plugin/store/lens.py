"""The lens that a setting names: a calibration file here, or in a bucket."""

from pathlib import Path

from reconad_plugin.errors import ConfigError, InvalidImageError, ObjectUnreadableError
from reconad_plugin.images.lens import Lens
from reconad_plugin.images.lens_file import parse_lens
from reconad_plugin.images.names import read_file
from reconad_plugin.store.objects import open_bucket, split_address


def read_lens(address: str | None) -> Lens | None:
    """Read the calibration file at a path or ``s3://bucket/key``; None where none is named.

    Raises:
        ConfigError: it is not there, or see ``parse_lens``.
        StorageError: the bucket cannot be read.
    """
    if address is None:
        return None
    try:
        return parse_lens(_read(address), address)
    except (InvalidImageError, ObjectUnreadableError):
        raise ConfigError(
            f"lens {address}: a calibration must be a file that can be read; there is none: "
            "correct its path, or leave the lens out"
        ) from None


def _read(address: str) -> bytes:
    if not address.startswith("s3://"):
        return read_file(Path(address))
    bucket, key = split_address(address)
    if not (bucket and key):
        raise ConfigError(f"an S3 address of a file is s3://bucket/key; got {address!r}")
    return open_bucket(bucket).read(key).content
