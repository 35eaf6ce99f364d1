"""Seconds of a short DRAEM training from picture files on, ours at the paper's width."""

import tempfile
from pathlib import Path
from time import perf_counter

import torch
from worker import BATCH_SIZE, read_options, report

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.images.folder import read_folder
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.registry import model_spec
from reconad_plugin.simulation.textures import load_textures
from reconad_plugin.store.mirror import load_files
from reconad_plugin.training import loop
from reconad_plugin.training.recipe import Simulation

STEPS = 12
HELD_OUT = (
    32  # a validation scores them, scores them with simulated anomalies, and takes their loss
)


def main() -> None:
    """Time everything from the list of files to the trained network."""
    options = read_options(sizes="128")
    (size_px,) = options.sizes
    steps = options.steps or STEPS
    loop.VALIDATIONS = 1  # at the end, as the peer validates; else so few steps would see one each
    with tempfile.TemporaryDirectory() as cache:
        start = perf_counter()
        paths = list(read_folder(options.data).train)
        images = load_files(paths, ImageSize.square(size_px), ImageLimits(), Path(cache))
        decoded_s = perf_counter() - start
        taken, curve = _train(images, size_px, options.textures, steps)
        fit_s = perf_counter() - start
    assert taken == steps, taken
    assert len(curve) == 1, curve
    report(
        {f"{size_px} px": fit_s},
        steps=taken,
        images=len(images),
        decoding_s=round(decoded_s, 3),
        validation_images=3 * min(HELD_OUT, len(images) - BATCH_SIZE),
    )


def _train(
    images: torch.Tensor, size_px: int, textures: Path, steps: int
) -> tuple[int, list[loop.Progress]]:
    spec = model_spec("draem")
    network = spec.build_network(ImageSize.square(size_px), **spec.widths["paper"])
    simulation = Simulation(textures=load_textures(size_px, textures))
    held_out = min(HELD_OUT, len(images) - BATCH_SIZE)
    done = loop.train(
        spec.build_recipe(network, simulation, {}),
        images[:-held_out],
        images[-held_out:],
        TrainingSettings(steps=steps, batch_size=BATCH_SIZE),
        seed=0,
        window_px=spec.score_window_px(ImageSize.square(size_px)),
    )
    return done.steps, done.curve


if __name__ == "__main__":
    main()
