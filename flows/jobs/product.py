"""A product opened for work: its settings, its bucket, its keys and its local cache."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reconad_plugin.config.names import parse_night
from reconad_plugin.config.product import ProductSettings
from reconad_plugin.config.settings import load_settings
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.lens import Lens, limits_with
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.names import printable
from reconad_plugin.images.region import Region
from reconad_plugin.images.size import ImageSize
from reconad_plugin.ledger.manifest import known_nights, part_of, read_manifest
from reconad_plugin.ledger.night_record import NightRecords
from reconad_plugin.store.arrivals import arrived_nights, objects_beside
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.images import load_images
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.lens import read_lens
from reconad_plugin.store.objects import ObjectStore
from reconad_plugin.store.regions import find_region

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Product:
    """Everything a step needs to know of a product."""

    name: str
    settings: ProductSettings
    workspace: str
    report: Literal["full", "lean"]
    store: ObjectStore
    cache: ContentCache
    layout: ProductLayout
    records: NightRecords

    @property
    def limits(self) -> ImageLimits:
        """Allowed image sizes."""
        return self.settings.limits

    @property
    def lens(self) -> Lens | None:
        """The lens that the settings name.

        Raises:
            ConfigError: its file is not there, or is none that can be used.
        """
        return read_lens(self.settings.lens)

    @property
    def intake_limits(self) -> ImageLimits:
        """Allowed image sizes, and the shape that the lens asks for; see ``lens``."""
        return limits_with(self.lens, self.limits)

    def manifest(self, night: date) -> pd.DataFrame | None:
        """Read the manifest of a night; None where it was not taken in."""
        return read_manifest(self.store, self.layout, night)

    def load_images(self, rows: pd.DataFrame, size: ImageSize) -> NDArray[np.uint8]:
        """Load the pixels of rows of manifests: (N, 3, S, S) uint8."""
        return load_images(self.store, self.cache, rows, size, self.limits)

    def read_image(self, sha256: str, key: str) -> bytes:
        """Read the bytes of an accepted image, from the cache where they are there."""
        return self.cache.get(sha256, lambda: self.store.read(key).content)

    def region(self, rows: pd.DataFrame, size: ImageSize) -> Region | None:
        """Find where to look in the pictures of rows of manifests, at the size of a network; None:
        everywhere. Warns of camera positions that none of them came from.

        Raises:
            ReconadError: see ``store.regions.find_region``.
        """
        sizes = set(zip(rows["width_px"].tolist(), rows["height_px"].tolist(), strict=True))
        region = find_region(self.store, self.layout, self.settings.regions, size, sizes)
        known = set(rows["position"])
        if region is not None and (unknown := region.positions - known):
            _logger.warning(
                "a region of %s is for camera positions that no image came from: %s; they came "
                "from %s: correct its name", self.name, printable(", ".join(sorted(unknown))),
                printable(", ".join(sorted(known - {""})) or "none that is told apart"),
            )  # fmt: skip
        return region

    def still_there(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Leave out, with a warning, rows whose bytes are neither in the cache nor in the bucket,
        such as those that a rule of the bucket removed."""
        away = rows[~rows["sha256"].map(self.cache.has).astype(bool)]
        if away.empty:
            return rows
        listed = {info.key for info in self.store.list_objects(self.layout.arrivals)}
        gone = away[~away["key"].isin(listed)]
        if len(gone):
            _logger.warning(
                "%d of %d images of %s are gone from the bucket, such as %s: a training goes on "
                "without them", len(gone), len(rows), self.name, printable(gone["key"].iloc[0]),
            )  # fmt: skip
        return rows.drop(gone.index)

    def with_parts(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Add to rows of manifests the ``part`` that each image shows, where the settings tell
        parts."""
        return rows if self.part_of is None else rows.assign(part=rows["key"].map(self.part_of))

    @property
    def part_of(self) -> Callable[[str], str] | None:
        """What names the part that the image of a key shows; None where the settings tell none."""
        pattern = self.settings.part_pattern
        return None if pattern is None else lambda key: part_of(key, self.layout, pattern)

    def known_nights(self) -> list[date]:
        """Return the nights that were taken in, in order."""
        return known_nights(self.store, self.layout, before=date.max)

    def nights_never_run(self, before: date) -> list[date]:
        """Return the nights before another that have images and were never taken in, in order."""
        known = set(self.known_nights())
        return [
            night
            for night in arrived_nights(self.store, self.layout)
            if night < before
            and night not in known
            and any(self.store.list_objects(self.layout.incoming(night)))
        ]

    def objects_beside(self) -> dict[str, int]:
        """Count the objects that lie where nobody looks, by their folder."""
        return objects_beside(self.store, self.layout)


def open_product(name: str) -> Product:
    """Open a product that stands in the settings file.

    Raises:
        ConfigError: it does not, or the file breaks a rule.
    """
    settings = load_settings()
    product_settings = settings.product(name)
    store, layout = ObjectStore(settings.storage), ProductLayout(name)
    return Product(
        name=name,
        settings=product_settings,
        workspace=settings.monitoring.workspace,
        report=settings.monitoring.report,
        store=store,
        cache=ContentCache(settings.storage.cache_dir),
        layout=layout,
        records=NightRecords(store, layout),
    )


def find_night(product: str, night: str | None) -> date:
    """Return the night that was given, else the last one that was taken in.

    Raises:
        ConfigError: no night was given, and none was taken in.
    """
    if night is not None:
        return parse_night(night)
    nights = open_product(product).known_nights()
    if not nights:
        raise ConfigError(
            f"a night is needed, and {product} has taken none in: pass --night YYYY-MM-DD"
        )
    return nights[-1]
