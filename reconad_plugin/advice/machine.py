"""What this machine has: cores, memory, a GPU."""

import os
from pathlib import Path
from typing import Final

from reconad_plugin.advice.facts import Machine

CONTAINER_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")  # a number, or ``max``


def this_machine(device: str = "cpu") -> Machine:
    """Measure what a training on a device of this machine has. Imports torch for a GPU alone."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if device.startswith("cuda"):
        import torch

        _, memory = torch.cuda.mem_get_info(device)
        return Machine(cores or 1, memory, has_cuda=True)
    return Machine(cores or 1, _memory_bytes(), has_cuda=False)


def best_device() -> str:
    """Return ``cuda`` where there is a GPU, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _memory_bytes() -> int:
    """Memory that there is, or that this container may take; what is free now does not matter, so
    that the same advice is given tomorrow."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(CONTAINER_LIMIT.read_text(encoding="ascii")))
    except (OSError, ValueError):
        return whole
