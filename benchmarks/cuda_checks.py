"""What must hold on a GPU: it scores as the CPU does, and DRAEM at the paper's width learns. Run by
``cuda.sh``, with the outcome of the contract tests.

The figures go to one JSON file. Where a floor fails, the exit code is 1 and ``failed`` says which.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor
from worker import BATCH_SIZE

import reconad_plugin
from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.detector.torch_engine import score_images
from reconad_plugin.images.folder import read_folder
from reconad_plugin.images.geometry import stack_images
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.metrics.image import image_auroc
from reconad_plugin.networks.registry import model_spec
from reconad_plugin.store.mirror import load_files
from reconad_plugin.training.loop import RunOptions, train
from reconad_plugin.training.recipe import Recipe, Simulation
from tests.factory import normal_picture, with_scratch

FOLDER = Path(__file__).resolve().parent
TEXTURES = Path(reconad_plugin.__file__).parent / "simulation" / "textures"
FLOORS = {  # rank correlation with the CPU's float32, and largest difference in shares of its range
    "float32": (0.999, 0.01),
    "bfloat16": (0.98, 0.1),
}
HELD_OUT = 16
LEFT_OUT = "left out: set PEER_PYTHON to a Python with anomalib"


@dataclass(frozen=True)
class Scale:
    """How much is done."""

    compared: tuple[str, ...] = ("ae", "draem")  # models whose scores are held against the CPU's
    agreeing_px: int = 128
    agreeing_steps: int = 300
    size_px: int = 256  # of DRAEM, and of the steps whose seconds are measured
    width: str = "paper"
    train_s: float = 300.0
    pictures: int = 80  # of a kind, where no folder is given
    timed_steps: int = 20
    worker_s: float = 60.0  # at most, of each side's measurement


TINY = Scale(("ae",), 32, 20, 32, "tiny", 2.0, 24, 1, 60.0)


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the figures, and return the exit code."""
    options = _read_options(arguments)
    scale = TINY if options.tiny else Scale()
    device, failed = options.device, [] if options.contract == "passed" else ["contract tests"]
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "torch": torch.__version__,
        "contract": options.contract,
        "agreement": {model: agreement(model, device, scale) for model in scale.compared},
    }
    for model, by_precision in result["agreement"].items():
        failed += [f"{model} {why}" for why in below_floors(by_precision)]
    result["draem"] = learn_draem(options.data, device, scale)
    floor = options.floor if options.data else 0.95
    if not options.tiny and not result["draem"]["image_AUROC"] >= floor:
        failed.append(f"draem: image AUROC must be at least {floor}")
    result["throughput"] = throughput(options.peer_python, device, scale)
    result["failed"] = failed
    options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    return 1 if failed else 0


def _read_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--contract", default="left out", help="outcome of the contract tests")
    parser.add_argument("--data", type=Path, help="train/good, test/... (default: made-up parts)")
    parser.add_argument("--floor", type=float, default=0.7, help="of image AUROC on --data")
    parser.add_argument("--peer-python", type=Path, help="with anomalib")
    parser.add_argument("--tiny", action="store_true", help="a few steps of small networks")
    parser.add_argument("--json", type=Path, required=True)
    return parser.parse_args(arguments)


def agreement(model: str, device: str, scale: Scale) -> dict[str, dict[str, float]]:
    """Train a detector there, and hold its scores against those of the same weights on the CPU, for
    parts with a scratch from not visible to black."""
    size_px = scale.agreeing_px
    window_px = model_spec(model).score_window_px(ImageSize.square(size_px))
    recipe = _recipe(model, size_px, None)
    settings = TrainingSettings(steps=scale.agreeing_steps, early_stopping=False)
    normal = parts(scale.pictures, size_px, 0)
    train(recipe, normal, normal[:0], settings, 0, window_px, RunOptions(device))
    graded = parts(64, size_px, 1, np.linspace(0, 1, 64))
    network = recipe.network.to("cpu")
    on_cpu = score_images(network, graded, window_px).pred_score
    network, found = network.to(device), {}
    torch.backends.cudnn.allow_tf32 = False  # it is 10 bits and no float32
    for precision in (torch.float32, torch.bfloat16):
        kind = torch.device(device).type
        with torch.autocast(kind, precision, precision != torch.float32):
            there = score_images(network, graded, window_px, device=device).pred_score
        found[str(precision).removeprefix("torch.")] = compare(on_cpu, there)
    torch.backends.cudnn.allow_tf32 = True
    return found


def compare(on_cpu: NDArray[np.float64], there: NDArray[np.float64]) -> dict[str, float]:
    """Rank correlation of two lists of scores, and their largest difference as a share of the
    first one's range."""
    difference = float(np.abs(there - on_cpu).max() / np.ptp(on_cpu))
    return {"rank": float(spearmanr(on_cpu, there).statistic), "largest_difference": difference}


def below_floors(by_precision: dict[str, dict[str, float]]) -> list[str]:
    """Say which floors a model's agreement fails."""
    failed = []
    for precision, found in by_precision.items():
        rank, difference = FLOORS[precision]
        if not found["rank"] >= rank:
            failed.append(f"in {precision}: rank correlation must be at least {rank}")
        if not found["largest_difference"] <= difference:
            failed.append(f"in {precision}: scores may differ by {difference} of their range")
    return failed


def learn_draem(data: Path | None, device: str, scale: Scale) -> dict[str, Any]:
    """Train DRAEM for its minutes, and score the test images there."""
    size_px = scale.size_px
    if data is None:
        count = scale.pictures
        normal, good = parts(count + HELD_OUT, size_px, 2), parts(count, size_px, 3)
        bad = parts(count, size_px, 4, np.ones(count))
    else:
        folder = read_folder(data)
        good_paths = [file.path for file in folder.test if file.is_normal]
        bad_paths = [file.path for file in folder.test if not file.is_normal]
        normal, good, bad = (
            load_files(paths, ImageSize.square(size_px), ImageLimits())
            for paths in (list(folder.train), good_paths, bad_paths)
        )
    chosen = torch.linspace(0, len(normal) - 1, HELD_OUT).round().long()
    is_held_out = torch.isin(torch.arange(len(normal)), chosen)
    window_px = model_spec("draem").score_window_px(ImageSize.square(size_px))
    recipe, settings = (
        _recipe("draem", size_px, scale.width),
        TrainingSettings(budget_s=scale.train_s),
    )
    learnt, held_out = normal[~is_held_out], normal[is_held_out]
    report = train(recipe, learnt, held_out, settings, 0, window_px, RunOptions(device))
    good_scores, bad_scores = (
        score_images(recipe.network, images, window_px, device=device).pred_score
        for images in (good, bad)
    )
    return {
        "data": "made-up parts" if data is None else data.name,
        "width": scale.width,
        "image_size_px": size_px,
        "image_AUROC": image_auroc(good_scores, bad_scores),
        "steps": report.steps,
        "best_step": report.best_step,
        "seconds": report.elapsed_s,
        "ended_by": report.ended_by,
    }


def throughput(peer_python: Path | None, device: str, scale: Scale) -> dict[str, Any]:
    """Images a second that DRAEM trains on, ours and the peer's, which has the paper's width."""
    ours = _images_per_s(Path(sys.executable), "step_ours.py", device, scale, scale.width)
    if peer_python is None:
        return {"ours": ours, "peer": LEFT_OUT}
    return {"ours": ours, "peer": _images_per_s(peer_python, "step_peer.py", device, scale)}


def _images_per_s(
    python: Path, worker: str, device: str, scale: Scale, width: str = "paper"
) -> dict[str, float] | str:
    size = ["--sizes", str(scale.size_px), "--steps", str(scale.timed_steps), "--width", width]
    command = [str(python), str(FOLDER / worker), "--device", device, *size]
    try:
        ended = subprocess.run(
            [*command, "--textures", str(TEXTURES)],
            capture_output=True,
            text=True,
            check=True,
            timeout=scale.worker_s,
        )
    except subprocess.TimeoutExpired:
        return f"not done in {scale.worker_s:.0f} s"
    except (OSError, subprocess.CalledProcessError) as error:
        return f"failed: {(getattr(error, 'stderr', None) or str(error)).strip()[-300:]}"
    figures = json.loads(ended.stdout.splitlines()[-1])["figures"]
    return {name: BATCH_SIZE / seconds for name, seconds in figures.items()}


def parts(
    count: int, size_px: int, seed: int, scratched: NDArray[np.float64] | None = None
) -> Tensor:
    """Make pictures of the tests' part, each with a scratch of an opacity from 0 to 1:
    (count, 3, size_px, size_px) uint8."""
    source, pictures = np.random.default_rng(seed), []
    for opacity in np.zeros(count) if scratched is None else scratched:
        clean = normal_picture(source)
        mixed = clean + opacity * (with_scratch(clean) - clean)
        pictures.append((mixed.clip(0, 1) * 255).astype(np.uint8))
    return torch.from_numpy(stack_images(pictures, ImageSize.square(size_px)))


def _recipe(model: str, size_px: int, width: str | None) -> Recipe:
    spec = model_spec(model)
    torch.manual_seed(0)
    network = spec.build_network(ImageSize.square(size_px), **spec.architecture(width, {}))
    recipe: Recipe = spec.build_recipe(network, Simulation(), {})
    return recipe


if __name__ == "__main__":
    sys.exit(main())
