"""Simulated anomalies a second, anomalib.

It reads and resizes a texture anew for every anomaly. That is measured as it comes, and once
more with its reader replaced by one that keeps every texture in memory at the final size.
"""

from functools import cache, partial
from types import SimpleNamespace

import torch
import torchvision
from anomalib.data.utils.generators import perlin
from timing import calls_per_second
from torchvision.transforms.v2.functional import resize
from worker import read_options, report

BATCH = 32
BLEND = (0.1, 1.0)  # as its DRAEM sets it


def main() -> None:
    """Measure both readers at each size."""
    options, figures = read_options(), {}
    generator = perlin.PerlinAnomalyGenerator(
        anomaly_source_path=options.textures, probability=1.0, blend_factor=BLEND
    )
    assert generator.anomaly_source_paths, f"no texture in {options.textures}"
    readers = perlin.io
    for size_px in options.sizes:
        batch = torch.rand(BATCH, 3, size_px, size_px)
        simulate = partial(generator, batch)
        perlin.io = readers
        rate = BATCH * calls_per_second(simulate, options.seconds)
        figures[f"textures from disk, {size_px} px"] = rate
        perlin.io = _readers_with_memory(size_px, [str(p) for p in generator.anomaly_source_paths])
        rate = BATCH * calls_per_second(simulate, options.seconds)
        figures[f"textures in memory, {size_px} px"] = rate
    report(figures, textures=len(generator.anomaly_source_paths))


def _readers_with_memory(size_px: int, paths: list[str]) -> SimpleNamespace:
    """Stands for ``torchvision.io`` in its module; every texture is read before the clock runs."""

    @cache
    def read_image(path: str, mode: torchvision.io.ImageReadMode) -> torch.Tensor:
        picture = torchvision.io.read_image(path, mode=mode)
        return resize(picture, [size_px, size_px], antialias=True)

    for path in paths:
        read_image(path, mode=torchvision.io.ImageReadMode.RGB)
    return SimpleNamespace(read_image=read_image, ImageReadMode=torchvision.io.ImageReadMode)


if __name__ == "__main__":
    main()
