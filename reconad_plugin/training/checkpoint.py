"""The state of a training on disk, so that one that was killed goes on where it was.

One safetensors file holds every tensor, and in its header the numbers: no pickle. It is replaced
as a whole, so a kill in mid-write leaves the one before.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

CHECKPOINT_FILE: Final = "training.safetensors"
_NUMBERS: Final = "reconad"


def write_checkpoint(
    folder: Path, tensors: dict[str, Tensor], numbers: Mapping[str, object]
) -> None:
    """Write tensors and JSON-able numbers; the folder is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{CHECKPOINT_FILE}.{os.getpid()}"
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        unfinished,
        metadata={_NUMBERS: json.dumps(numbers)},
    )
    unfinished.replace(folder / CHECKPOINT_FILE)


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read what was written last, or return None where there is nothing that can be read."""
    try:
        with safe_open(folder / CHECKPOINT_FILE, framework="pt") as file:
            numbers = json.loads(file.metadata()[_NUMBERS])
            return {name: file.get_tensor(name) for name in file.keys()}, numbers  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def remove_checkpoint(folder: Path) -> None:
    """Forget a training that has ended, with all its phases."""
    for file in folder.rglob(f"{CHECKPOINT_FILE}*"):
        file.unlink(missing_ok=True)
    for emptied in (*folder.glob("*/"), folder):
        if emptied.is_dir() and not any(emptied.iterdir()):
            emptied.rmdir()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's memory as flat tensors, ``<parameter number>.<name>``."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, of in state.items() for name, value in of.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what ``optimizer_tensors`` gave, each moment laid out in memory as its weight:
    fused Adam walks both without looking at strides."""
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        like = parameters[int(number)]
        if value.shape == like.shape:
            value = torch.empty_like(like, dtype=value.dtype, requires_grad=False).copy_(value)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
