"""A local folder of images, in the layout of MVTec AD or flat."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.errors import ConfigError, InvalidImageError, NotEnoughImagesError
from reconad_plugin.images.decode import upright_size
from reconad_plugin.images.masks import check_shape, decode_mask, shrink_mask
from reconad_plugin.images.names import pass_over, read_file
from reconad_plugin.images.size import ImageSize

NORMAL_LABEL: Final = "good"
PICTURE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class ImageFile:
    """One test image."""

    path: Path  # the picture
    label: str  # ``good``, or the name of the defect
    # pictures of where the defect is, which are united; none for a normal image, and where the
    # folder has no mask
    mask_paths: tuple[Path, ...] = ()

    @property
    def is_normal(self) -> bool:
        """Whether the image shows no defect."""
        return self.label == NORMAL_LABEL


@dataclass(frozen=True)
class ImageFolder:
    """The pictures of a folder, sorted by name."""

    root: Path  # the folder itself
    train: tuple[Path, ...]  # normal images
    # labelled images, by label and then by name; empty for a flat folder
    test: tuple[ImageFile, ...]
    unused_masks: tuple[Path, ...] = ()  # pictures of ``ground_truth`` that belong to no test image


def read_folder(root: Path) -> ImageFolder:
    """List the images of a folder; no picture is opened.

    The first of these layouts that the folder has is taken:

    - ``train/good/*`` with ``test/good/*`` and ``test/<defect>/*``, and masks
      ``ground_truth/<defect>/<stem>_mask.png`` or ``<stem>.png``, or all pictures of a folder of
      either name, all but the first optional; any suffix of a picture will do;
    - ``good/*``, all of it normal images to train on;
    - pictures directly in the folder, all of them normal images to train on.

    Hidden files and folders are passed over, as is what has no suffix of a picture.

    Raises:
        ConfigError: there is no such folder.
        NotEnoughImagesError: there is no picture to train on.
    """
    if not root.exists():
        raise ConfigError(f"a folder of images must exist; got {root}: check the path")
    if not root.is_dir():
        raise ConfigError(f"a folder of images must be a folder; got the file {root}")
    train_root = root / "train" / NORMAL_LABEL
    if train_root.is_dir():
        test, unused_masks = _test_images(root)
        return ImageFolder(root, _train_pictures(train_root), test, unused_masks)
    flat = root / NORMAL_LABEL
    return ImageFolder(root, train=_train_pictures(flat if flat.is_dir() else root), test=())


def expand_folders(paths: Iterable[Path]) -> list[Path]:
    """Put the pictures that lie in a folder, sorted by name, in its place; a folder without any
    stays, as does what is no folder."""
    expanded = list[Path]()
    for path in paths:
        expanded += (_pictures(path) if path.is_dir() else ()) or (path,)
    return expanded


def has_masks(files: Sequence[ImageFile]) -> bool:
    """Return whether pixel figures can be had: there is a defect, and each has its mask."""
    defects = [file for file in files if not file.is_normal]
    return bool(defects) and all(file.mask_paths for file in defects)


def describe_masks(folder: ImageFolder) -> str | None:
    """Describe defects without a mask, which stand in the way of pixel figures, and masks that
    belong to no image; None where all fit, and where there is no defect or no mask at all."""

    def named(paths: list[Path]) -> str:
        names = [str(path.relative_to(folder.root)) for path in paths[:3]]
        return f"{', '.join(names)}{', ...' if len(paths) > 3 else ''}"

    defects = [file for file in folder.test if not file.is_normal]
    bare = [file.path for file in defects if not file.mask_paths]
    said = []
    if bare and (folder.unused_masks or len(bare) < len(defects)):
        said.append(
            f"{len(bare)} of {len(defects)} defect images have no mask, so there are no pixel "
            f"figures: {named(bare)}"
        )
    if folder.unused_masks:
        said.append(
            f"{len(folder.unused_masks)} masks belong to no test image by their name: "
            f"{named(list(folder.unused_masks))}"
        )
    return "; ".join(said) or None


def check_masks(files: Sequence[ImageFile]) -> None:
    """Check from headers that each mask has the shape of its picture.

    Raises:
        InvalidImageError: one has another, or has no header; the message names it.
    """
    for file in files:
        for path in file.mask_paths:
            with _named(path):
                check_shape(upright_size(read_file(path)), upright_size(read_file(file.path)))


def load_masks(files: Sequence[ImageFile], size: ImageSize) -> NDArray[np.bool_]:
    """Load where the defects are, in the size that a network takes; ask ``has_masks`` first.

    See ``decode_mask``. Each of a mask's pixels falls into one target cell, and a single anomalous
    pixel sets its cell, so that no small defect vanishes; a mask that is smaller
    repeats its pixels.

    Returns:
        (N, H, W) bool, True on defects; all False for a normal image.

    Raises:
        ConfigError: a defect has no mask.
        InvalidImageError: a mask cannot be decoded, or marks no pixel.
    """
    masks = np.zeros((len(files), *size.shape), dtype=np.bool_)
    for mask, file in zip(masks, files, strict=True):
        if not file.is_normal:
            for pixels in _read_masks(file):
                mask |= shrink_mask(pixels, size)
    return masks


def _train_pictures(folder: Path) -> tuple[Path, ...]:
    pictures = _pictures(folder)
    if not pictures:
        raise NotEnoughImagesError(
            f"a folder of normal images must hold pictures ({', '.join(PICTURE_SUFFIXES)}); "
            f"{folder} holds {_what_else(folder)}: bring pictures, or give the folder that has "
            f"them directly, in {NORMAL_LABEL}/ or in train/{NORMAL_LABEL}/"
        )
    return pictures


def _test_images(root: Path) -> tuple[tuple[ImageFile, ...], tuple[Path, ...]]:
    """List the labelled images, and pictures of ``ground_truth`` that belong to none of them."""
    test_root, truth, files = root / "test", root / "ground_truth", list[ImageFile]()
    for folder in _visible(test_root) if test_root.is_dir() else ():
        masks = {} if folder.name == NORMAL_LABEL else _masks_by_name(truth / folder.name)
        for picture in _pictures(folder) if folder.is_dir() else ():
            names = f"{picture.stem}_mask", picture.stem
            name = next((name for name in names if name in masks), None)
            files.append(ImageFile(picture, folder.name, masks[name] if name else ()))
    used = {path for file in files for path in file.mask_paths}
    folders = [truth, *(each for each in sorted(truth.rglob("*")) if each.is_dir())]
    there = [path for each in folders if truth.is_dir() for path in _pictures(each)]
    return tuple(files), tuple(path for path in there if path not in used)


def _masks_by_name(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Index the masks of a defect by the name of their file or folder, without its suffix."""
    if not folder.is_dir():
        return {}
    masks = {each.name: _pictures(each) for each in _visible(folder) if each.is_dir()}
    for picture in _pictures(folder):
        masks[picture.stem] = (*masks.get(picture.stem, ()), picture)
    return masks


def _pictures(folder: Path) -> tuple[Path, ...]:
    return files_among(path for path in _visible(folder) if path.suffix.lower() in PICTURE_SUFFIXES)


def files_among(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return those of paths with names of pictures that are files; the others are named."""
    files = []
    for path in paths:
        if path.is_file():
            files.append(path)
        elif path.is_symlink():
            pass_over(str(path), "its link leads to no file")
        else:
            pass_over(str(path), "it is no file")
    return tuple(files)


def _visible(folder: Path) -> list[Path]:
    """List the files and folders that are not hidden, sorted by name."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _what_else(folder: Path) -> str:
    """Describe a folder without pictures, for the message."""
    folders = [path.name for path in _visible(folder) if path.is_dir()]
    files = [path.name for path in _visible(folder) if not path.is_dir()]
    kinds = (("other file(s)", files), ("folder(s)", folders))
    found = [f"{len(names)} {kind} such as {names[0]!r}" for kind, names in kinds if names]
    return " and ".join(found) or "nothing"


def _read_masks(file: ImageFile) -> Iterator[NDArray[np.bool_]]:
    """Decode a defect's masks to (H, W) bool each, or say which file is wrong."""
    if not file.mask_paths:
        raise ConfigError(
            f"a defect image must have a mask in ground_truth/{file.label}/; got none for "
            f"{file.path}: bring {file.path.stem}_mask.png, or leave pixel figures out"
        )
    for path in file.mask_paths:
        with _named(path):
            yield decode_mask(read_file(path))


@contextmanager
def _named(mask: Path) -> Iterator[None]:
    try:
        yield
    except InvalidImageError as error:
        raise InvalidImageError(error.reason, f"mask {mask}: {error}") from None
