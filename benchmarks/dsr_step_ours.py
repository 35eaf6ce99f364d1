"""Seconds a training step of DSR's subspaces phase, ours at the paper's width."""

import torch
from timing import seconds_per_call
from torch import Generator
from worker import BATCH_SIZE, WARMUP_STEPS, read_options, report

from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.registry import model_spec
from reconad_plugin.training.dsr import SubspacesRecipe
from reconad_plugin.training.loop import best_precision
from reconad_plugin.training.recipe import Simulation

TIMED_STEPS = 3


def main() -> None:
    """Measure at each size."""
    options, figures = read_options(), {}
    for size_px in options.sizes:
        spec = model_spec("dsr")
        network = spec.build_network(ImageSize.square(size_px), **spec.widths["paper"])
        recipe = SubspacesRecipe(network, Simulation())
        figures[f"{size_px} px"] = _step_s(recipe, size_px, options.steps or TIMED_STEPS)
    parameters = sum(value.numel() for value in network.parameters())
    report(figures, parameters=parameters, precision=str(best_precision("cpu")))


def _step_s(recipe: SubspacesRecipe, size_px: int, timed: int) -> float:
    """Codes, damage, losses, backward, Adam: what the peer's worker does too."""
    recipe = recipe.to(memory_format=torch.channels_last).train()
    learning = [value for value in recipe.parameters() if value.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=2e-4, fused=True)
    generator = Generator().manual_seed(0)
    image = torch.rand(BATCH_SIZE, 3, size_px, size_px)
    recipe.network.vq(image, generator)  # gives the codebooks their first codes
    precision = best_precision("cpu")

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", precision, precision != torch.float32):
            loss = recipe.losses(image, generator)["total"]
        loss.backward()
        optimizer.step()

    return seconds_per_call(step, WARMUP_STEPS, timed)


if __name__ == "__main__":
    main()
