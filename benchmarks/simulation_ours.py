"""Simulated anomalies a second, ours."""

from functools import partial

import torch
from timing import calls_per_second
from worker import read_options, report

from reconad_plugin.simulation.anomalies import simulate_anomalies
from reconad_plugin.simulation.presets import PRESETS, Preset
from reconad_plugin.simulation.textures import load_textures

BATCH = 32
LIKE_THE_PEER = Preset(
    shapes={"perlin": 1},
    fillings={"texture": 1},
    blurred_share=0,
    perlin_threshold=(0.5, 0.5),
)


def main() -> None:
    """Measure both presets at each size."""
    options, figures = read_options(), {}
    for size_px in options.sizes:
        textures = load_textures(size_px, options.textures)
        batch = torch.rand(BATCH, 3, size_px, size_px)
        for name, preset in (
            ("perlin and textures", LIKE_THE_PEER),
            ("preset general", PRESETS["general"]),
        ):
            simulate = partial(
                simulate_anomalies, batch, torch.Generator().manual_seed(0), preset, textures
            )
            rate = BATCH * calls_per_second(simulate, options.seconds)
            figures[f"{name}, {size_px} px"] = rate
    report(figures, textures=len(textures.pixels))


if __name__ == "__main__":
    main()
