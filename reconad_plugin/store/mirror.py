"""Where images by hand come from: a local folder, or the same layout under an S3 prefix."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.errors import (
    AccessDeniedError,
    ConfigError,
    InvalidImageError,
    ObjectUnreadableError,
)
from reconad_plugin.images.decode import check_limits, upright_size
from reconad_plugin.images.folder import ImageFolder, read_folder
from reconad_plugin.images.geometry import decode_to_size
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.names import pass_over, read_file
from reconad_plugin.images.size import ImageSize
from reconad_plugin.simulation.textures import texture_files
from reconad_plugin.store.cache import read_note, write_whole
from reconad_plugin.store.file_names import NOTE, file_path, file_paths
from reconad_plugin.store.objects import ObjectStore, open_bucket, split_address
from reconad_plugin.store.pixels import PixelCache
from reconad_plugin.store.strays import is_foreign

CACHE = Path(".reconad/cache")


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
    prefix = f"{key}/" if key and not key.endswith("/") else key
    folder = (
        local_path(bucket, prefix.removesuffix("/"), cache) if prefix else cache / "s3" / bucket
    )
    copy_prefix(open_bucket(bucket), prefix, folder)
    return folder


def local_path(bucket: str, key: str, cache: Path = CACHE) -> Path:
    """Name the copy of an object, or of a folder of objects, beside the cache."""
    return cache / "s3" / bucket / file_path(key)


def hashes_of_textures(address: str | None) -> dict[str, str]:
    """Hash the pictures of a folder of textures: name -> SHA-256; none where none was given."""
    if address is None:
        return {}
    folder = local_folder(address)
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in texture_files(folder)}


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a picture's file.

    Raises:
        InvalidImageError: it cannot be read; the message names it.
    """
    with _named(path):
        return hashlib.sha256(read_file(path)).hexdigest()


def load_files(
    paths: list[Path], size: ImageSize, limits: ImageLimits, cache: Path = CACHE
) -> NDArray[np.uint8]:
    """Load the pixels of picture files, decoded once: (N, 3, H, W) uint8.

    Raises:
        InvalidImageError: a file is no picture that can be scored, or breaks the limits, also where
            it was decoded under others; the message names it.
    """

    def check_and_hash(path: Path) -> str:
        with _named(path):
            content = read_file(path)
            check_limits(content, limits)
            return hashlib.sha256(content).hexdigest()

    def decode(index: int) -> NDArray[np.uint8]:
        with _named(paths[index]):
            return decode_to_size(read_file(paths[index]), size, limits)

    return PixelCache(cache, size).load([check_and_hash(path) for path in paths], decode)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except InvalidImageError as error:
        raise InvalidImageError(
            error.reason, f"{path}: {error}: repair it, or take it out of the folder"
        ) from None


def picture_sizes(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Read width and height from the headers of pictures, as people see them; what is no picture is
    passed over."""
    sizes = []
    for path in paths:
        with suppress(InvalidImageError):
            sizes.append(upright_size(read_file(path)))
    return sizes


def describe_sizes(paths: Sequence[Path], seen: ImageSize) -> str | None:
    """Describe pictures of several sizes, and those that the network sees smaller or larger than
    they are; None where there are neither. Only headers are read."""
    sizes = set(picture_sizes(paths))
    if not sizes:
        return None
    (low_w, low_h), (high_w, high_h) = min(sizes), max(sizes)
    seen_h, seen_w = seen.shape
    said = []
    if len(sizes) > 1:
        said.append(
            f"{len(paths)} pictures have {len(sizes)} sizes, from {low_w} x {low_h} to "
            f"{high_w} x {high_h}: each is resized to {seen_w} x {seen_h}"
        )
    width, height = max(sizes, key=lambda side: max(side[0] / seen_w, side[1] / seen_h))
    if width > seen_w or height > seen_h:
        said.append(
            f"pictures of {width} x {height} are seen at {seen_w} x {seen_h}: one pixel there is "
            f"{width / seen_w:.1f} x {height / seen_h:.1f} of theirs. For smaller defects give a "
            "larger image size"
        )
        if (width - height) * (seen_w - seen_h) < 0 and len(sizes) == 1:
            said.append(
                f"an image size is height x width: {seen_w}x{seen_h} would lie as the pictures do"
            )
    elif width < seen_w and height < seen_h:
        said.append(
            f"pictures of {width} x {height} are smaller than the network's {seen_w} x {seen_h}: "
            "they are enlarged, which takes time and shows no more; a smaller image size would do"
        )
    return "; ".join(said) or None


def copy_prefix(store: ObjectStore, prefix: str, folder: Path) -> dict[str, str]:
    """Bring a local copy of a prefix up to date: what is new or changed is fetched, what is gone
    is removed, also where an earlier run was killed. Name -> ETag of what is there now; for the
    paths see ``file_paths``.

    Raises:
        ConfigError: the prefix leads out of its place, or the disk takes two names for one.
        StorageError: the bucket, or one of its objects that may be a picture, cannot be read.
    """
    if ".." in prefix.split("/"):
        raise ConfigError(f"a prefix must not hold '..'; got {prefix!r}")
    folder.mkdir(parents=True, exist_ok=True)
    noted = folder / NOTE
    before = read_note(noted)  # path -> ETag at the last copy
    now = {info.key.removeprefix(prefix): info.etag for info in store.list_objects(prefix)}
    paths = file_paths(now)
    _remove_others(folder, {folder / path for path in paths.values()})
    names: dict[tuple[int, int], str] = {}  # of the files on the disk
    for name, path in paths.items():
        file = folder / path
        if file.is_dir():  # it was a folder before
            shutil.rmtree(file)
        if file.exists() and (first := names.get(_identity(file))) is not None:
            raise ConfigError(
                f"names must differ on this disk, which takes {prefix}{first} and {prefix}{name} "
                "for one: rename one, or copy them to another disk"
            )
        if before.get(path) != now[name] or not file.exists():
            content = _read_unless_foreign(store, prefix, name)
            if content is None:
                del now[name]
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        names[_identity(file)] = name
    note = {path: now[name] for name, path in paths.items() if name in now}
    write_whole(noted, json.dumps(note).encode())
    return now


def _identity(file: Path) -> tuple[int, int]:
    state = file.stat()
    return state.st_dev, state.st_ino


def _read_unless_foreign(store: ObjectStore, prefix: str, name: str) -> bytes | None:
    """Read an object; None for one that is no picture by its name and cannot be read."""
    try:
        return store.read(f"{prefix}{name}").content
    except (AccessDeniedError, ObjectUnreadableError) as error:
        if not is_foreign(name):
            raise
        pass_over(store.uri(f"{prefix}{name}"), str(error))
        return None


def _remove_others(folder: Path, kept: set[Path]) -> None:
    """Remove the files of a folder but for these, and for the notes: a deeper prefix that was
    copied by itself has its own."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name != NOTE and path not in kept:
            path.unlink()
