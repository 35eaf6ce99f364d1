"""``reconad regions``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from flows.commands.options_by_hand import RegionsOptions
from flows.commands.result_folder import holds_any, make_folder
from flows.jobs.by_hand import region_of
from flows.jobs.product import open_product
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.images.decode import DEFAULT_LIMITS
from reconad_plugin.images.folder import ImageFolder
from reconad_plugin.images.lens import Lens, limits_with
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.region import PRODUCT, Region
from reconad_plugin.images.size import check_image_size, settle_size
from reconad_plugin.ledger.manifest import accepted_rows
from reconad_plugin.plots.figures import plot_region, plot_straightened
from reconad_plugin.store.lens import read_lens
from reconad_plugin.store.mirror import load_files, open_source, picture_sizes

SHEET_IMAGES: Final = 12
_FOLDER_SIZE: Final = "128"  # where none is asked for


@dataclass(frozen=True)
class _Sheet:
    """What is shown."""

    images: NDArray[np.uint8]  # (N, 3, S, S)
    positions: Sequence[str]  # (N,) of the camera
    region: Region | None
    lens: Lens | None


def run(options: RegionsOptions) -> None:
    """Draw a sheet of how pictures are seen, and where.

    Raises:
        ConfigError: there is neither a region nor a lens, or not one of a product and a folder.
    """
    if (options.product is None) == (options.data is None):
        raise ConfigError("a sheet is of a product or of a folder: give PRODUCT or --data DIR")
    sheet = (
        _of_folder(options) if options.product is None else _of_product(options.product, options)
    )
    make_folder(options.out)
    file = options.out / "regions.png"
    file.unlink(missing_ok=True)  # a link may lead to a picture
    print(f"{_draw(sheet, file)}\n{file}")


def _draw(sheet: _Sheet, file: Path) -> str:
    """Draw the pictures as the network sees them; below each, where a lens is taken out, as it
    came. Returns the heading."""
    region, lens = sheet.region, sheet.lens
    whole = np.ones(sheet.images.shape[-2:], np.bool_)
    inside = region.of(sheet.positions) if region else np.stack([whole] * len(sheet.images))
    heading = f"{100 * (region.share if region else 1):.1f} % of the picture count"
    if lens is None:
        figure = plot_region(sheet.images, inside, sheet.positions, heading)
    else:
        heading += "; the lens's distortion is taken out"
        straight = lens.straighten(sheet.images), lens.straighten_mask(inside)
        figure = plot_straightened(sheet.images, *straight, sheet.positions, heading)
    figure.savefig(file, dpi=110)
    return heading


def _of_folder(options: RegionsOptions) -> _Sheet:
    if options.region is None and options.lens is None:
        raise ConfigError(
            "a sheet of a folder needs a region or a lens: give --region FILE or --lens FILE"
        )
    folder = open_source(options.data or "")
    if holds_any(options.out, _read_from(options, folder)):
        raise ConfigError(
            "--out must be a folder that no pictures are read from; got "
            f"{options.out}: give another folder"
        )
    asked = check_image_size(options.image_size or _FOLDER_SIZE)
    size = settle_size(asked, picture_sizes(folder.train))
    region, lens = region_of(options.region, folder, size), read_lens(options.lens)
    paths = list(folder.train)[:SHEET_IMAGES]
    given = options.max_image_pixels
    limits = limits_with(lens, DEFAULT_LIMITS if given is None else ImageLimits(given))
    images = load_files(paths, size, limits)
    return _Sheet(images, [PRODUCT] * len(paths), region, lens)


def _read_from(options: RegionsOptions, folder: ImageFolder) -> list[Path]:
    lens = [] if options.lens is None else [Path(options.lens)]
    return [*folder.train, *([] if options.region is None else [options.region]), *lens]


def _of_product(name: str, options: RegionsOptions) -> _Sheet:
    """Show pictures of the last night, of each camera position as many."""
    if options.region is not None or options.lens is not None:
        raise ConfigError(
            "a product's region and lens are in its bucket or its settings; got --region or "
            "--lens: leave it out, or give --data DIR"
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
    region, lens = product.region(rows, size), product.lens
    each = max(1, SHEET_IMAGES // rows["position"].nunique())
    shown = rows.groupby("position").head(each).head(SHEET_IMAGES).sort_values("position")
    images = product.load_images(shown, size)
    if region is None and lens is None:
        raise ConfigError(
            f"a sheet shows a region; {name} has none, so all of a picture counts: put a PNG that "
            "is black outside under regions/ in the bucket, or boxes or a lens into reconad.toml"
        )
    return _Sheet(images, shown["position"].tolist(), region, lens)
