"""``reconad simulate``."""

from pathlib import Path
from typing import Final

import torch
from torch import Generator

from flows.commands.options_by_hand import SimulateOptions
from flows.commands.result_folder import holds_any, make_folder
from flows.jobs.progress import warn
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.decode import DEFAULT_LIMITS
from reconad_plugin.images.folder import ImageFolder
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize, check_image_size, settle_size
from reconad_plugin.plots.figures import plot_simulation
from reconad_plugin.simulation.anomalies import simulate_anomalies
from reconad_plugin.simulation.presets import preset as find_preset
from reconad_plugin.store.mirror import describe_sizes, load_files, open_source, picture_sizes

SHEET_IMAGES: Final = 12


def run(options: SimulateOptions) -> None:
    """Draw a sheet of simulated anomalies."""
    given = options.max_image_pixels
    limits = DEFAULT_LIMITS if given is None else ImageLimits(given)
    asked = check_image_size(options.image_size)
    print(simulate(options.data, options.preset, options.out, asked, options.seed, limits))


def simulate(
    data: str,
    preset: str,
    out: Path,
    asked: int | ImageSize,
    seed: int,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> Path:
    """Write a sheet of normal images, simulated masks and what comes of them, as a network of this
    image size sees them; its file.

    Raises:
        ConfigError: ``out`` is a folder that pictures are read from, or no folder.
    """
    folder = open_source(data)
    if holds_any(out, _files_of(folder)):
        raise ConfigError(
            f"--out must be a folder that no pictures are read from; got {out}: give another folder"
        )
    make_folder(out)
    paths = list(folder.train)[:SHEET_IMAGES]
    size = settle_size(asked, picture_sizes(folder.train))
    warn(describe_sizes(paths, size))
    repeated = [paths[number % len(paths)] for number in range(SHEET_IMAGES)]
    images = torch.from_numpy(load_files(repeated, size, limits))
    simulated = simulate_anomalies(images, Generator().manual_seed(seed), find_preset(preset))
    file = out / f"{preset}.png"
    file.unlink(missing_ok=True)  # a link may lead to a picture
    plot_simulation(images, simulated.mask, simulated.pixels, f"preset {preset}").savefig(
        file, dpi=110
    )
    return file


def _files_of(folder: ImageFolder) -> list[Path]:
    """All pictures and masks of a folder."""
    masks = [path for file in folder.test for path in file.mask_paths]
    return [*folder.train, *(file.path for file in folder.test), *masks]
