"""A local folder of images, in the layout of MVTec AD or flat."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.errors import ConfigError, InvalidImageError, NotEnoughImagesError
from reconad_plugin.images.masks import decode_mask, shrink_mask

NORMAL_LABEL: Final = "good"
PICTURE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class ImageFile:
    """One test image."""

    path: Path  # the picture
    label: str  # ``good``, or the name of the defect
    # the picture of where the defect is; None for a normal image, and where the folder has no mask
    mask_path: Path | None

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


def read_folder(root: Path) -> ImageFolder:
    """List the images of a folder; no picture is opened.

    The first of these layouts that the folder has is taken:

    - ``train/good/*`` with ``test/good/*`` and ``test/<defect>/*``, and masks
      ``ground_truth/<defect>/<stem>_mask.png`` or ``<stem>.png``, all but the first optional;
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
        return ImageFolder(root, train=_train_pictures(train_root), test=_test_images(root))
    flat = root / NORMAL_LABEL
    return ImageFolder(root, train=_train_pictures(flat if flat.is_dir() else root), test=())


def has_masks(files: Sequence[ImageFile]) -> bool:
    """Return whether pixel figures can be had: there is a defect, and each has its mask."""
    defects = [file for file in files if not file.is_normal]
    return bool(defects) and all(file.mask_path is not None for file in defects)


def load_masks(files: Sequence[ImageFile], size_px: int) -> NDArray[np.bool_]:
    """Load where the defects are, in the square that a network takes; ask ``has_masks`` first.

    A mask is read as grey, and anomalous above 127 (above 0 where no value exceeds 1). Each of
    its pixels falls into one target cell, and a single anomalous pixel sets its cell, so that
    no small defect vanishes; a mask that is smaller than the square repeats its pixels.

    Returns:
        (N, size_px, size_px) bool, True on defects; all False for a normal image.

    Raises:
        ConfigError: a defect has no mask.
        InvalidImageError: a mask cannot be decoded, or marks no pixel.
    """
    masks = np.zeros((len(files), size_px, size_px), dtype=np.bool_)
    for mask, file in zip(masks, files, strict=True):
        if not file.is_normal:
            mask[:] = shrink_mask(_read_mask(file), size_px)
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


def _test_images(root: Path) -> tuple[ImageFile, ...]:
    test_root = root / "test"
    if not test_root.is_dir():
        return ()
    return tuple(
        ImageFile(picture, folder.name, _find_mask(root, folder.name, picture.stem))
        for folder in _visible(test_root)
        if folder.is_dir()
        for picture in _pictures(folder)
    )


def _find_mask(root: Path, label: str, stem: str) -> Path | None:
    if label == NORMAL_LABEL:
        return None
    folder = root / "ground_truth" / label
    candidates = (folder / f"{stem}_mask.png", folder / f"{stem}.png")
    return next((path for path in candidates if path.is_file()), None)


def _pictures(folder: Path) -> tuple[Path, ...]:
    named = (path for path in _visible(folder) if path.suffix.lower() in PICTURE_SUFFIXES)
    return tuple(path for path in named if path.is_file())


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


def _read_mask(file: ImageFile) -> NDArray[np.bool_]:
    """Decode a defect's mask to (H, W) bool, or say which file is wrong."""
    if file.mask_path is None:
        raise ConfigError(
            f"a defect image must have a mask in ground_truth/{file.label}/; got none for "
            f"{file.path}: bring {file.path.stem}_mask.png, or leave pixel figures out"
        )
    try:
        return decode_mask(file.mask_path.read_bytes())
    except InvalidImageError as error:
        raise InvalidImageError(error.reason, f"mask {file.mask_path}: {error}") from None
