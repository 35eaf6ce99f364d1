"""What every worker shares: its options, its threads, and the line that it ends with.

Runs in our environment and in the peer's alike, so it needs torch and nothing of ours.
"""

import argparse
import json
import os
import resource
from collections.abc import Mapping
from pathlib import Path

import torch

BATCH_SIZE = 8  # of DRAEM, here and there
WARMUP_STEPS = 2
# networks that score: as they are called, as ``engine_cost.py`` builds them, and pictures of each
SCORED = (("64/32, 128 px", "draem-small-128", 15), ("128/64, 256 px", "draem-paper-256", 3))


def read_options(sizes: str = "128,256") -> argparse.Namespace:
    """Options of a worker; ``reconad benchmark`` gives the folders and leaves the rest."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="train/good and test/...")
    parser.add_argument("--textures", type=Path, required=True, help="pictures of materials")
    parser.add_argument("--sizes", default=sizes, help="sides of the pictures, px")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a rate's measurement")
    parser.add_argument("--steps", type=int, help="of a training")
    parser.add_argument("--device", default="cpu", help="cpu, cuda; of the workers named step")
    parser.add_argument("--width", default="paper", help="of ours, where networks have several")
    options = parser.parse_args()
    options.sizes = [int(size) for size in options.sizes.split(",")]
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(0)
    return options


def wait_for(device: str) -> None:
    """Wait until a GPU has done what it was asked for, so that its seconds count."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def report(figures: Mapping[str, float], **notes: object) -> None:
    """Print the one line that is read: figures by name, and what else is worth knowing."""
    common = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    print(json.dumps({"figures": figures, "notes": {**common, **notes}}), flush=True)
