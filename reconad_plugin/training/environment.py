"""What a training runs on, besides its images and settings: libraries and the processor.

Equal images, settings and seed give equal weights where all of this is equal, too.
"""

import platform
import re
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

import torch

from reconad_plugin.training.loop import best_precision

PACKAGES: Final = ("reconad", "torch", "torchvision", "numpy", "pillow", "scipy")
_CPU_INFO: Final = Path("/proc/cpuinfo")


def describe_environment(device: str) -> dict[str, str]:
    """Name what a training on a device runs on now: versions of ``PACKAGES`` and of Python,
    ``device``, ``processor``, ``threads`` and ``precision``."""
    return {
        **{package: version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "device": device,
        "processor": _processor(device),
        "threads": str(torch.get_num_threads()),
        "precision": str(best_precision(device)).removeprefix("torch."),
    }


def precision_of(environment: dict[str, str]) -> torch.dtype | None:
    """Return the arithmetic that an environment names; None where it names none."""
    found = getattr(torch, environment.get("precision", ""), None)
    return found if isinstance(found, torch.dtype) else None


def _processor(device: str) -> str:
    """Name a processor, and for a CPU which of its instructions PyTorch uses."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    found = None
    with suppress(OSError):  # on another system than Linux
        found = re.search(r"^model name\s*:\s*(.+)$", _CPU_INFO.read_text(), re.MULTILINE)
    name = platform.machine() if found is None else found[1].strip()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"
