"""Pictures a second for training, the usual way: Pillow decodes every file in every epoch."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from jpegs import make_jpegs
from PIL import Image
from timing import calls_per_second
from worker import read_options, report

SIZE_PX = 256
BATCH = 16


def main() -> None:
    """Measure the decoding alone, and an epoch."""
    options = read_options()
    with tempfile.TemporaryDirectory() as folder:
        paths = make_jpegs(Path(folder), options.textures)

        def decode() -> None:
            for path in paths:
                _decode(path)

        figures = {
            "decoding": calls_per_second(decode, options.seconds),
            "epoch": calls_per_second(lambda: _epoch(paths), options.seconds),
        }
    report({name: len(paths) * rate for name, rate in figures.items()}, images=len(paths))


def _decode(path: Path) -> np.ndarray:
    picture = Image.open(path).convert("RGB")
    return np.asarray(picture.resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR))


def _epoch(paths: list[Path]) -> None:
    for chosen in torch.randperm(len(paths)).split(BATCH):
        pictures = np.stack([_decode(paths[place]) for place in chosen])
        batch = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
        assert batch.shape[1:] == (3, SIZE_PX, SIZE_PX)


if __name__ == "__main__":
    main()
