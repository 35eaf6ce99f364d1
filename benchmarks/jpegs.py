"""JPEGs of 1024 px with the detail of photographs: mosaics of textures."""

from pathlib import Path

import numpy as np
from PIL import Image

JPEGS = 64
SIDE_PX = 1024
TILE_PX = 128
QUALITY = 90
SUFFIXES = (".jpg", ".jpeg", ".png")


def make_jpegs(folder: Path, textures: Path) -> list[Path]:
    """Write the same 64 pictures each time."""
    files = sorted(path for path in textures.rglob("*") if path.suffix.lower() in SUFFIXES)
    tiles = [Image.open(file).convert("RGB").resize((TILE_PX, TILE_PX)) for file in files]
    random = np.random.default_rng(0)
    paths = [folder / f"{number:02}.jpg" for number in range(JPEGS)]
    for path in paths:
        picture = Image.new("RGB", (SIDE_PX, SIDE_PX))
        for top in range(0, SIDE_PX, TILE_PX):
            for left in range(0, SIDE_PX, TILE_PX):
                picture.paste(tiles[random.integers(len(tiles))], (left, top))
        picture.save(path, quality=QUALITY)
    return paths
