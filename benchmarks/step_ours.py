"""Seconds a DRAEM training step, ours at the paper's width."""

from time import perf_counter

import torch
from timing import seconds_per_call
from worker import BATCH_SIZE, WARMUP_STEPS, read_options, report, wait_for

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.registry import model_spec
from reconad_plugin.simulation.textures import load_textures
from reconad_plugin.training.draem import DraemRecipe
from reconad_plugin.training.loop import RunOptions, best_precision, train
from reconad_plugin.training.recipe import Simulation
from reconad_plugin.training.report import Progress

TIMED_STEPS = 3
MANY_STEPS = 100_000  # a plan so long that no validation falls into the timed steps


class _EnoughError(Exception):
    """Ends a training whose steps have been timed."""


def main() -> None:
    """Measure a step on prepared tensors, and a step of the training loop, at each size."""
    options, figures = read_options(), {}
    timed, device = options.steps or TIMED_STEPS, options.device
    for size_px in options.sizes:
        recipe = _recipe(size_px, options.width, Simulation())
        figures[f"prepared tensors, {size_px} px"] = _prepared(recipe, size_px, timed, device)
        textures = load_textures(size_px, options.textures)
        recipe = _recipe(size_px, options.width, Simulation(textures=textures))
        figures[f"training loop, {size_px} px"] = _in_the_loop(recipe, size_px, timed, device)
    parameters = sum(value.numel() for value in recipe.network.parameters())
    report(figures, parameters=parameters, precision=str(best_precision(device)))


def _recipe(size_px: int, width: str, simulation: Simulation) -> DraemRecipe:
    spec = model_spec("draem")
    network = spec.build_network(ImageSize.square(size_px), **spec.widths[width])
    return DraemRecipe(network, simulation)


def _prepared(recipe: DraemRecipe, size_px: int, timed: int, device: str) -> float:
    """What the peer's worker does too: losses, backward, Adam."""
    recipe = recipe.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(recipe.parameters(), lr=1e-4, fused=True)
    image = torch.rand(BATCH_SIZE, 3, size_px, size_px, device=device)
    seen = torch.rand(BATCH_SIZE, 3, size_px, size_px, device=device)
    mask = torch.rand(BATCH_SIZE, size_px, size_px, device=device) > 0.9
    kind, precision = torch.device(device).type, best_precision(device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(kind, precision, precision != torch.float32):
            loss = recipe.losses_on(image, seen, mask)["total"]
        loss.backward()
        optimizer.step()
        wait_for(device)

    return seconds_per_call(step, WARMUP_STEPS, timed)


def _in_the_loop(recipe: DraemRecipe, size_px: int, timed: int, device: str) -> float:
    """With batches, simulation, the check for finite numbers and the averaging of weights."""
    images = torch.randint(256, (4 * BATCH_SIZE, 3, size_px, size_px), dtype=torch.uint8)
    ends: list[float] = []

    def note(progress: Progress) -> None:
        ends.append(perf_counter())
        if progress.step == WARMUP_STEPS + timed:
            raise _EnoughError

    settings = TrainingSettings(steps=MANY_STEPS, batch_size=BATCH_SIZE)
    options = RunOptions(device, on_progress=note)
    try:
        train(recipe, images, images[:0], settings, seed=0, options=options)
    except _EnoughError:
        return (ends[-1] - ends[WARMUP_STEPS - 1]) / timed
    raise AssertionError(f"the training ended after {len(ends)} steps")


if __name__ == "__main__":
    main()
