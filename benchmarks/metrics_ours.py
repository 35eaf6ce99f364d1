"""Seconds of CPU time of pixel AUROC and of AUPRO, ours; and the maps for both sides.

The peer's environment has none of ours, so what measures imports it late.
"""

import tracemalloc
from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from worker import read_options, report

MAPS = 200
SIDE_PX = 256
BATCH = 25
REPEATS = 5
FPR_LIMIT = 0.3
MEMORY_MAPS = (50, 200)
KINDS = ("smooth", "saturated")

Batches = list[tuple[NDArray[np.float32], NDArray[np.bool_]]]


def main() -> None:
    """Measure both figures on both kinds of maps, and the memory that both take together."""
    from reconad_plugin.metrics.pixel import PixelCurves

    def curves_of(batches: Batches) -> PixelCurves:
        curves = PixelCurves()
        for anomaly_maps, masks in batches:
            curves.update(anomaly_maps, masks)
        return curves

    def peak_growth(batches: Batches) -> int:
        tracemalloc.start()
        curves = curves_of(batches)
        curves.auroc(), curves.aupro(FPR_LIMIT)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    read_options()
    figures, values, memory = {}, {}, {}
    for kind in KINDS:
        batches = list(make_batches(kind))
        for name, figure in (
            ("AUROC", lambda batches: curves_of(batches).auroc()),
            ("AUPRO", lambda batches: curves_of(batches).aupro(FPR_LIMIT)),
        ):
            key = f"{name}, {kind} maps"
            figures[key], values[key] = measure(figure, batches, REPEATS)
        for count in MEMORY_MAPS:
            memory[f"{count} {kind} maps"] = peak_growth(batches[: count // BATCH])
    report(figures, values=values, peak_growth_bytes=memory, maps=MAPS, side_px=SIDE_PX)


def measure(
    figure: Callable[[list[Any]], float], batches: list[Any], repeats: int
) -> tuple[float, float]:
    """Mean seconds of CPU time of a figure after a first one on few maps, and the figure."""
    figure(batches[:1])
    start = process_time()
    for _ in range(repeats):
        value = figure(batches)
    return (process_time() - start) / repeats, value


def make_batches(kind: str) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Smooth noise, (N, S, S), higher on the one to three ellipses of every other map.

    Args:
        kind: ``smooth`` squares the noise, as errors of a reconstruction are; ``saturated`` takes
            the logistic function of eight times it, which crowds at 0 and at 1.
    """
    random = np.random.default_rng(0)
    down, across = np.mgrid[:SIDE_PX, :SIDE_PX]
    for _ in range(0, MAPS, BATCH):
        noise = np.empty((BATCH, SIDE_PX, SIDE_PX))
        masks = np.zeros(noise.shape, np.bool_)
        for number in range(BATCH):
            for _ in range(random.integers(1, 4) if number % 2 else 0):
                (top, left), (height, width) = (
                    random.integers(20, 236, 2),
                    random.integers(4, 24, 2),
                )
                masks[number] |= ((down - top) / height) ** 2 + ((across - left) / width) ** 2 < 1
            noise[number] = ndimage.gaussian_filter(random.standard_normal(noise.shape[1:]), 3)
            noise[number] /= noise[number].std()
            noise[number] += 2 * ndimage.gaussian_filter(masks[number].astype(np.float64), 3)
        maps = 0.01 * (noise + 1) ** 2 if kind == "smooth" else 1 / (1 + np.exp(12 - 8 * noise))
        yield maps.astype(np.float32), masks


if __name__ == "__main__":
    main()
