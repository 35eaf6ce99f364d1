"""The images that every version is judged on: real defects of the bucket, held-out normals."""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.gate.limits import LIMITS
from reconad_plugin.images.geometry import decode_to_size, resize
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.region import Region
from reconad_plugin.images.size import ImageSize
from reconad_plugin.ledger.splits import JUDGE
from reconad_plugin.metrics.intervals import index_parts
from reconad_plugin.simulation.anomalies import simulate_anomalies
from reconad_plugin.simulation.presets import STAINS
from reconad_plugin.store.golden_images import NORMAL, GoldenImage, GoldenImages
from reconad_plugin.store.pixels import PixelCache

REAL, SIMULATED = "real", "simulated"

_NUMBERED: Final = " simulated "  # between an image's name and the number of its anomaly


@dataclass(frozen=True)
class GoldenLabels:
    """What the images are that both versions are judged on."""

    kind: str  # of the anomalies: `real`, `simulated` or `real and simulated`
    normal: tuple[str, ...]  # name of each of the N normal images
    # (N,) the night each of them arrived, `YYYY-MM-DD`; empty for those of `golden/normal/`
    nights: tuple[str, ...]
    anomalous: tuple[str, ...]  # name of each of the M anomalous images
    defects: tuple[str, ...]  # (M,) the type of each
    # name of the part that each of them shows; empty where each is one of its own
    normal_parts: tuple[str, ...] = ()
    anomalous_parts: tuple[str, ...] = ()

    @property
    def part_of_normal(self) -> NDArray[np.intp]:
        """(N,) number of the part that each normal image shows."""
        return index_parts(self.normal_parts, len(self.normal))

    @property
    def part_of_anomalous(self) -> NDArray[np.intp]:
        """(M,) number of the part that each anomalous image shows."""
        return index_parts(self.anomalous_parts, len(self.anomalous))

    def with_parts(self, part_of: Callable[[str], str]) -> "GoldenLabels":
        """Return the same labels with the parts that images show, by their names. A simulated
        anomaly is of the part of the image that it was put into."""
        originals = [
            name.rpartition(_NUMBERED)[0] if is_simulated else name
            for name, is_simulated in zip(self.anomalous, self.is_simulated, strict=True)
        ]
        return replace(
            self,
            normal_parts=tuple(map(part_of, self.normal)),
            anomalous_parts=tuple(map(part_of, originals)),
        )

    @property
    def recent_nights(self) -> list[str]:
        """The last nights that false alarms are counted on."""
        return sorted(set(self.nights) - {""})[-LIMITS.recent_nights :]

    @property
    def is_recent(self) -> NDArray[np.bool_]:
        """(N,) whether a normal image is of one of these nights."""
        return np.isin(self.nights, self.recent_nights)

    @property
    def is_simulated(self) -> NDArray[np.bool_]:
        """(M,) whether an anomalous image is a simulated one."""
        return np.array([self.kind != REAL and each == SIMULATED for each in self.defects], bool)


@dataclass(frozen=True)
class GoldenSet:
    """Images every version is judged on, each (N, 3, S, S) uint8."""

    normal: NDArray[np.uint8]  # held-out normal images
    anomalous: NDArray[np.uint8]  # images with a defect
    labels: GoldenLabels  # what each of them is

    def with_normal(
        self, images: NDArray[np.uint8], names: Sequence[str], nights: Sequence[str]
    ) -> "GoldenSet":
        """Return the set with more normal images, of the nights they arrived."""
        known = self.labels
        more = replace(known, normal=(*known.normal, *names), nights=(*known.nights, *nights))
        return GoldenSet(np.concatenate([self.normal, images]), self.anomalous, more)

    def with_anomalous(self, other: "GoldenSet") -> "GoldenSet":
        """Return the set with another's anomalous images beside its own."""
        labels = replace(
            self.labels,
            kind=f"{self.labels.kind} and {other.labels.kind}",
            anomalous=(*self.labels.anomalous, *other.labels.anomalous),
            defects=(*self.labels.defects, *other.labels.defects),
        )
        return GoldenSet(self.normal, np.concatenate([self.anomalous, other.anomalous]), labels)

    def at(self, size: ImageSize) -> "GoldenSet":
        """Return the same images at another size."""
        return replace(
            self, normal=resize(self.normal, size), anomalous=resize(self.anomalous, size)
        )


def simulated_golden_set(
    normal: NDArray[np.uint8],
    names: Sequence[str],
    nights: Sequence[str],
    seed: int,
    region: Region | None = None,
) -> GoldenSet:
    """Make a golden set of held-out normal images and the same images with simulated anomalies,
    inside a region where there is one.

    An anomaly follows from the image's name, its own number and the seed alone, so it stays what
    it is when other images join. The normal ones are (N, 3, S, S) uint8, of the split judge.
    """
    most = LIMITS.max_simulated // max(1, len(normal))
    repeats = min(LIMITS.max_simulated_an_image, max(1, most))
    numbered = tuple(f"{name}{_NUMBERED}{n}" for name in names for n in range(1, repeats + 1))
    inside = None if region is None else torch.from_numpy(region.union)
    originals = torch.from_numpy(np.repeat(normal, repeats, 0))
    anomalous = [
        simulate_anomalies(
            image[None], _generator(name, seed), STAINS, inside=inside
        ).pixels.numpy()
        for image, name in zip(originals, numbered, strict=True)
    ]
    defects = (SIMULATED,) * len(numbered)
    labels = GoldenLabels(SIMULATED, tuple(names), tuple(nights), numbered, defects)
    return GoldenSet(normal, np.concatenate([normal[:0], *anomalous]), labels)


def read_golden(
    golden: GoldenImages,
    size: ImageSize,
    limits: ImageLimits,
    fitted_to: Collection[str],
    filled_from: Collection[str] = (),
) -> GoldenSet | None:
    """Read ``golden/normal/`` and every ``golden/<defect>/`` at one size.

    None where the bucket holds no real defect that may judge. Of the normal images those stay out
    whose SHA-256 is in ``fitted_to``, since a version was fitted to them; ``with_normal`` adds
    held-out ones. Of the defects those stay out that are in ``filled_from``: they became golden
    after the simulated anomalies of a version were filled from them.

    Raises:
        InvalidImageError: a golden image is no picture, or lies in no folder.
        StorageError: the bucket does not hand a golden image out.
    """
    if golden.unreadable:
        raise golden.unreadable[0]
    placed = [(image, golden.shows(image)) for image in golden.images]
    learnt = {True: fitted_to, False: filled_from}
    placed = [each for each in placed if each[0].sha256 not in learnt[each[1] == NORMAL]]
    normal = [image for image, shows in placed if shows == NORMAL]
    anomalous = [image for image, shows in placed if shows != NORMAL]
    if not anomalous:
        return None
    keys, names = tuple(each.key for each in normal), tuple(each.key for each in anomalous)
    defects = tuple(shows for _, shows in placed if shows != NORMAL)
    labels = GoldenLabels(REAL, keys, ("",) * len(keys), names, defects)
    pixels = [_load(golden, images, size, limits) for images in (normal, anomalous)]
    return GoldenSet(pixels[0], pixels[1], labels)


def choose_held_out(rows: pd.DataFrame) -> pd.DataFrame:
    """Choose, of learnable rows of manifests, the normal images that versions are judged on.

    Those of the split judge, oldest night first: at most 60 of each night, those with the lowest
    hashes, and of these the newest 500.
    """
    held_out = rows[rows["split"] == JUDGE].sort_values(["night", "sha256"])
    return held_out.groupby("night").head(LIMITS.max_normal_a_night).tail(LIMITS.max_normal)


def _load(
    golden: GoldenImages, images: Sequence[GoldenImage], size: ImageSize, limits: ImageLimits
) -> NDArray[np.uint8]:
    """Decode images, each once: (N, 3, H, W) uint8."""

    def decode(index: int) -> NDArray[np.uint8]:
        try:
            return decode_to_size(golden.read(images[index]), size, limits)
        except InvalidImageError as error:
            message = f"golden image {images[index].key}: {error}"
            raise InvalidImageError(error.reason, message) from None

    return PixelCache(golden.cache.folder, size).load([each.sha256 for each in images], decode)


def _generator(name: str, seed: int) -> torch.Generator:
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7]))
