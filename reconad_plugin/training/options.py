"""How and where one training runs. What it learns does not depend on any of this."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from reconad_plugin.training.report import Progress


def _report_to_nobody(progress: Progress) -> None:
    del progress


@dataclass(frozen=True)
class RunOptions:
    """Options of a training's run."""

    device: str = "cpu"  # ``cpu``, ``cuda``, ``cuda:1``
    # of the network's arithmetic; the hardware's best where None
    precision: torch.dtype | None = None
    # where the state is kept and looked for, to go on after a kill; must be this training's own.
    # What is left there at the end the caller removes, when the result is safe.
    checkpoint_folder: Path | None = None
    on_progress: Callable[[Progress], None] = _report_to_nobody  # called after each step


DEFAULTS = RunOptions()
