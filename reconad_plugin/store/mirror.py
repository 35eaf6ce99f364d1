"""Where images by hand come from: a local folder, or the same layout under an S3 prefix."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from reconad_plugin.config import StorageSettings, one_line
from reconad_plugin.errors import ConfigError, InvalidImageError
from reconad_plugin.images.folder import ImageFolder, read_folder
from reconad_plugin.images.geometry import decode_square
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.simulation.textures import texture_files
from reconad_plugin.store.cache import read_note, write_whole
from reconad_plugin.store.objects import ObjectStore
from reconad_plugin.store.pixels import PixelCache

CACHE = Path(".reconad/cache")
_ETAGS = ".etags.json"


def open_source(data: str, cache: Path = CACHE) -> ImageFolder:
    """Read the images behind ``DIR`` or ``s3://bucket/prefix``; the latter are copied beside the
    cache.

    Raises:
        ReconadError: see ``local_folder`` and ``read_folder``.
    """
    return read_folder(local_folder(data, cache))


def local_folder(address: str, cache: Path = CACHE) -> Path:
    """Return a folder as it is; of ``s3://bucket/prefix`` a copy that is brought up to date.

    Raises:
        ConfigError: the address has no bucket.
        StorageError: the bucket cannot be read.
    """
    if not address.startswith("s3://"):
        return Path(address)
    bucket, key = split_address(address)
    if not bucket:
        raise ConfigError(f"an S3 address is s3://bucket/prefix; got {address!r}")
    prefix = f"{key.strip('/')}/".lstrip("/")
    folder = cache / "s3" / bucket / prefix
    copy_prefix(open_bucket(bucket), prefix, folder)
    return folder


def split_address(address: str) -> tuple[str, str]:
    """Split an S3 address into bucket and key; ``#`` and ``?`` belong to the key.

    Example:
        >>> split_address("s3://factory/parts/lot#2")
        ('factory', 'parts/lot#2')
    """
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return bucket, key


def hashes_of_textures(address: str | None) -> dict[str, str]:
    """Hash the pictures of a folder of textures: name -> SHA-256; none where none was given."""
    if address is None:
        return {}
    folder = local_folder(address)
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in texture_files(folder)}


def open_bucket(name: str) -> ObjectStore:
    """Open a bucket by name: endpoint, region and credentials come the usual AWS way."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    try:
        storage = StorageSettings(bucket=name, region=region or "us-east-1")
    except ValidationError as error:
        raise ConfigError(f"s3://{name} can be no bucket: {one_line(error)}") from None
    return ObjectStore(storage)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_files(paths: list[Path], size_px: int, limits: ImageLimits, cache: Path = CACHE) -> Tensor:
    """Load the pixels of picture files, decoded once: (N, 3, size_px, size_px) uint8.

    Raises:
        InvalidImageError: a file is no picture that can be scored; the message names it.
    """

    def decode(index: int) -> NDArray[np.uint8]:
        try:
            return decode_square(paths[index].read_bytes(), size_px, limits)
        except InvalidImageError as error:
            raise InvalidImageError(
                error.reason, f"{paths[index]}: {error}: repair it, or take it out of the folder"
            ) from None

    return PixelCache(cache, size_px).load([hash_file(path) for path in paths], decode)


def describe_sizes(paths: Sequence[Path], size_px: int) -> str | None:
    """Describe pictures of several sizes, and those that the network sees smaller than they
    are; None where there are neither. Only headers are read; what is no picture is passed over."""
    sizes = set()
    for path in paths:
        with suppress(OSError, ValueError, SyntaxError), Image.open(path) as picture:
            sizes.add(picture.size)
    if not sizes:
        return None
    (low_w, low_h), (high_w, high_h) = min(sizes), max(sizes)
    said = []
    if len(sizes) > 1:
        said.append(
            f"{len(paths)} pictures have {len(sizes)} sizes, from {low_w} x {low_h} to "
            f"{high_w} x {high_h}: each is resized to the same square"
        )
    width, height = (max(side) for side in zip(*sizes, strict=True))
    if max(width, height) > size_px:
        said.append(
            f"pictures of {width} x {height} are seen at {size_px} x {size_px}: one pixel there is "
            f"{width / size_px:.1f} x {height / size_px:.1f} of theirs. For smaller defects give a "
            "larger image size"
        )
    return "; ".join(said) or None


def copy_prefix(store: ObjectStore, prefix: str, folder: Path) -> dict[str, str]:
    """Bring a local copy of a prefix up to date: what is new or changed is fetched, what is gone
    is removed, also where an earlier run was killed. Name -> ETag of what is there now.

    Raises:
        ConfigError: the prefix leads out of its place, where other files would be removed, or it
            has a file and a folder of one name.
        StorageError: the bucket cannot be read.
    """
    if ".." in prefix.split("/"):
        raise ConfigError(f"a prefix must not hold '..'; got {prefix!r}")
    folder.mkdir(parents=True, exist_ok=True)
    noted = folder / _ETAGS
    before = read_note(noted)  # name -> ETag at the last copy
    now: dict[str, str] = {}
    for info in store.list_objects(prefix):
        name = info.key.removeprefix(prefix)
        path = folder / name
        is_file = not info.key.endswith("/") and path.name != _ETAGS
        if is_file and path.resolve().is_relative_to(folder.resolve()):
            now[name] = info.etag
    _check_names(prefix, set(now))
    _remove_others(folder, set(now))
    for name, etag in now.items():
        path = folder / name
        if path.is_dir():  # it was a folder before
            shutil.rmtree(path)
        if before.get(name) != etag or not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(store.read(f"{prefix}{name}").content)
    write_whole(noted, json.dumps(now).encode())
    return now


def _check_names(prefix: str, names: set[str]) -> None:
    for name in sorted(names):
        for parent in PurePosixPath(name).parents:
            if str(parent) in names:
                raise ConfigError(
                    "a file and a folder of one name cannot be copied to a disk; in the bucket "
                    f"{prefix}{parent} is a file, and {prefix}{name} lies in it: rename one"
                )


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove the files of a folder that have none of these names, but for the notes: a deeper
    prefix that was copied by itself has its own."""
    kept = {(folder / name).resolve() for name in names}
    for path in folder.rglob("*"):
        if path.is_file() and path.name != _ETAGS and path.resolve() not in kept:
            path.unlink()
