"""Pictures a second for training: decoded once, then gathered from the cache."""

import tempfile
from pathlib import Path

import torch
from jpegs import make_jpegs
from timing import calls_per_second
from worker import read_options, report

from reconad_plugin.images.geometry import decode_to_size
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.store.mirror import load_files

SIZE_PX = 256
BATCH = 16


def main() -> None:
    """Measure the first decoding, an epoch, and an epoch with the opening of the cache."""
    options, limits = read_options(), ImageLimits()
    with tempfile.TemporaryDirectory() as folder:
        paths = make_jpegs(Path(folder), options.textures)
        cache = Path(folder) / "cache"
        images = load_files(paths, ImageSize.square(SIZE_PX), limits, cache)

        def decode() -> None:
            for path in paths:
                decode_to_size(path.read_bytes(), ImageSize.square(SIZE_PX), limits)

        figures = {
            "first decoding": calls_per_second(decode, options.seconds),
            "epoch": calls_per_second(lambda: _epoch(images), options.seconds),
            "epoch with opening": calls_per_second(
                lambda: _epoch(load_files(paths, ImageSize.square(SIZE_PX), limits, cache)),
                options.seconds,
            ),
        }
    report({name: len(paths) * rate for name, rate in figures.items()}, images=len(paths))


def _epoch(images: torch.Tensor) -> None:
    for chosen in torch.randperm(len(images)).split(BATCH):
        batch = images.index_select(0, chosen)  # as training.batches does
        assert batch.shape[1:] == (3, SIZE_PX, SIZE_PX)


if __name__ == "__main__":
    main()
