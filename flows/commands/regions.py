"""``reconad regions``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from flows.commands.options_by_hand import RegionsOptions
from flows.commands.result_folder import holds_any, make_folder
from flows.jobs.by_hand import region_of
from flows.jobs.product import open_product
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.images.decode import DEFAULT_LIMITS
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.region import PRODUCT, Region
from reconad_plugin.images.size import check_image_size, settle_size
from reconad_plugin.ledger.manifest import accepted_rows
from reconad_plugin.plots.figures import plot_region
from reconad_plugin.store.mirror import load_files, open_source, picture_sizes

SHEET_IMAGES: Final = 12
_FOLDER_SIZE: Final = "128"  # where none is asked for


@dataclass(frozen=True)
class _Sheet:
    """What is shown."""

    images: NDArray[np.uint8]  # (N, 3, S, S)
    positions: Sequence[str]  # (N,) of the camera
    region: Region


def run(options: RegionsOptions) -> None:
    """Draw a sheet of where is looked at.

    Raises:
        ConfigError: there is no region, or not one of a product and a folder.
    """
    if (options.product is None) == (options.data is None):
        raise ConfigError("a sheet is of a product or of a folder: give PRODUCT or --data DIR")
    sheet = (
        _of_folder(options) if options.product is None else _of_product(options.product, options)
    )
    make_folder(options.out)
    file = options.out / "regions.png"
    file.unlink(missing_ok=True)  # a link may lead to a picture
    share = f"{100 * sheet.region.share:.1f} % of the picture count"
    figure = plot_region(sheet.images, sheet.region.of(sheet.positions), sheet.positions, share)
    figure.savefig(file, dpi=110)
    print(f"{share}\n{file}")


def _of_folder(options: RegionsOptions) -> _Sheet:
    if options.region is None:
        raise ConfigError("a sheet of a folder needs a region: give --region FILE")
    folder = open_source(options.data or "")
    if holds_any(options.out, [*folder.train, options.region]):
        raise ConfigError(
            "--out must be a folder that no pictures are read from; got "
            f"{options.out}: give another folder"
        )
    asked = check_image_size(options.image_size or _FOLDER_SIZE)
    size = settle_size(asked, picture_sizes(folder.train))
    region = region_of(options.region, folder, size)
    paths = list(folder.train)[:SHEET_IMAGES]
    given = options.max_image_pixels
    images = load_files(paths, size, DEFAULT_LIMITS if given is None else ImageLimits(given))
    return _Sheet(images, [PRODUCT] * len(paths), _there(region, options.data or ""))


def _of_product(name: str, options: RegionsOptions) -> _Sheet:
    """Show pictures of the last night, of each camera position as many."""
    if options.region is not None:
        raise ConfigError(
            "a product's region is in its bucket or its settings; got --region: leave it out, or "
            "give --data DIR"
        )
    product = open_product(name)
    nights = product.known_nights()
    manifest = product.manifest(nights[-1]) if nights else None
    rows = accepted_rows([] if manifest is None else [manifest])
    if rows.empty:
        raise NotEnoughImagesError(
            f"a sheet shows pictures of the last night; {name} has none: run 'reconad nightly'"
        )
    asked = check_image_size(options.image_size or product.settings.image_size_px)
    pictures = zip(rows["width_px"].tolist(), rows["height_px"].tolist(), strict=True)
    size = settle_size(asked, list(pictures))
    region = product.region(rows, size)
    each = max(1, SHEET_IMAGES // rows["position"].nunique())
    shown = rows.groupby("position").head(each).head(SHEET_IMAGES).sort_values("position")
    images = product.load_images(shown, size)
    return _Sheet(images, shown["position"].tolist(), _there(region, name))


def _there(region: Region | None, of: str) -> Region:
    if region is None:
        raise ConfigError(
            f"a sheet shows a region; {of} has none, so all of a picture counts: put a PNG that is "
            "black outside under regions/ in the bucket, or boxes into reconad.toml"
        )
    return region
