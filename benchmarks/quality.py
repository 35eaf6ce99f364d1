"""How well models find the defects of a folder after so many minutes: trains with each seed,
evaluates on the test split, and reports every figure with its spread.

    python benchmarks/quality.py --data DIR --model draem --budget 15m --seeds 0 1 2 --json FILE
    python benchmarks/quality.py --data DIR --model draem --budget 15m --images 10 --json FILE
    python benchmarks/quality.py --data DIR --model fre --image-size 256 --region FILE
    python benchmarks/quality.py --data DIR --model fre --image-size 256 --part-column tile_group

By kind of defect it reports the AUROC, the recall at the version's own threshold, and that at the
threshold that 2 % of the normal test images exceed, which no product has.
"""

import argparse
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MOST_FALSE_ALARMS = 0.02
FIGURES = (
    "image_AUROC",
    "image_AP",
    "image_F1Score",
    "pixel_AUROC",
    "pixel_AP",
    "pixel_AUPRO",
    "pixel_AUPRO_5",
    "pixel_F1Score",
    "fpr",
    "recall",
)


BY_KIND = ("image_AUROC", "recall")


def main() -> None:
    """Run one training after the other; nothing else should run beside them."""
    options = _read_options()
    runs: list[dict[str, Any]] = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as work:
            data = _links(options, seed, Path(work))
            runs.append(_run(options, data, seed, Path(work)))
        print(_line(f"seed {seed}", runs[-1:]), flush=True)
        result = {"command": sys.argv[1:], "runs": runs}
        if options.json is not None:  # after each, so that a stopped benchmark leaves what it has
            options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(_line("mean", runs))


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="train/good, test/..., masks")
    parser.add_argument("--model", default="draem")
    parser.add_argument("--width", default=None)
    parser.add_argument("--witness", default=None)
    parser.add_argument("--witness-image-size", default=None, help="what it sees")
    parser.add_argument("--budget", default="15m")
    parser.add_argument("--steps", default=None, help="so many steps, however long they take")
    parser.add_argument("--image-size", default="128", help="a budget, or such as 208x512")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--images", type=int, default=None, help="so many normal images, not all")
    parser.add_argument("--region", type=Path, default=None, help="PNG of where to look")
    parser.add_argument("--part-pattern", default=None, help="see reconad train")
    parser.add_argument(
        "--part-column", default=None, help="of DIR/manifest.csv, where no name tells the part"
    )
    parser.add_argument("--json", type=Path, default=None)
    return parser.parse_args()


def _links(options: argparse.Namespace, seed: int, work: Path) -> Path:
    """The folder itself, or one with links to a few of its normal images, drawn by the seed, and
    with names that tell parts where a column does."""
    data = options.data.resolve()
    if options.images is None and options.part_column is None:
        return data
    folder = work / "links"
    normal = sorted((data / "train" / "good").iterdir())
    if options.images is not None:
        normal = random.Random(seed).sample(normal, options.images)  # noqa: S311  no secret
    parts: dict[Path, str] = {}
    if options.part_column is not None:
        options.part_pattern = r"^part(.+?)_"
        with (data / "manifest.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        parts = {data / row["path"]: f"part{row[options.part_column]}_" for row in rows}
    for path in [*normal, *(data / "test" / "good").iterdir()]:
        link = folder / path.relative_to(data).with_name(f"{parts.get(path, '')}{path.name}")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    for path in (data / "test").iterdir():
        if path.name != "good":
            (folder / "test" / path.name).symlink_to(path)
    (folder / "ground_truth").symlink_to(data / "ground_truth")
    return folder


def _run(options: argparse.Namespace, data: Path, seed: int, work: Path) -> dict[str, Any]:
    length = ["--steps", options.steps] if options.steps else ["--budget", options.budget]
    train = ["train", "--data", str(data), "--model", options.model, *length]
    train += ["--seed", str(seed), "--image-size", options.image_size, "--json", "train.json"]
    if options.part_pattern is not None:
        train += ["--part-pattern", options.part_pattern]
    if options.width is not None:
        train += ["--width", options.width]
    if options.region is not None:
        train += ["--region", str(options.region.resolve())]
    if options.witness is not None:
        train += ["--witness", options.witness]
    if options.witness_image_size is not None:
        train += ["--witness-image-size", options.witness_image_size]
    _reconad(train, work)
    trained = json.loads((work / "train.json").read_text(encoding="utf-8"))
    _reconad(["evaluate", trained["model_uri"], "--data", str(data), "--json", "test.json"], work)
    figures = json.loads((work / "test.json").read_text(encoding="utf-8"))
    recalls = _recalls_at_2_percent(trained["model_uri"], data, work)
    return {"seed": seed, "train": trained, "test": figures, "recall_at_2_percent": recalls}


def _recalls_at_2_percent(model_uri: str, data: Path, work: Path) -> dict[str, float]:
    """Recall by kind of defect, at the lowest threshold that at most 2 % of the normal exceed."""
    pictures = [path for path in sorted((data / "test").glob("*/*")) if path.suffix != ".txt"]
    _reconad(["predict", model_uri, *map(str, pictures), "--json", "scores.json"], work)
    rows = json.loads((work / "scores.json").read_text(encoding="utf-8"))["predictions"]
    scores: dict[str, list[float]] = {}
    for row in rows:
        scores.setdefault(Path(row["image"]).parent.name, []).append(row["pred_score"])
    normal = sorted(scores.pop("good"), reverse=True)
    threshold = normal[int(MOST_FALSE_ALARMS * len(normal))]
    return {
        kind: sum(score > threshold for score in found) / len(found)
        for kind, found in scores.items()
    }


def _reconad(arguments: list[str], work: Path) -> None:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{work}/mlflow.db"}
    command = [sys.executable, "-m", "flows.commands.cli", *arguments]
    root = str(Path(__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join([root, environment.get("PYTHONPATH", "")])
    ended = subprocess.run(
        command, cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        sys.exit(f"reconad {' '.join(arguments)} ended with {ended.returncode}: {ended.stderr}")


def _line(name: str, runs: list[dict[str, Any]]) -> str:
    parts = [f"{name:8}"]
    for figure in FIGURES:
        values = [run["test"][figure] for run in runs if run["test"][figure] is not None]
        if values:
            spread = f" ±{statistics.stdev(values):.3f}" if len(values) > 1 else ""
            parts.append(f"{figure} {statistics.mean(values):.3f}{spread}")
    for kind in runs[0]["recall_at_2_percent"]:
        of_kind = [run["test"]["defects"][kind] for run in runs]
        auroc, own = (statistics.mean(each[name] for each in of_kind) for name in BY_KIND)
        at_2_percent = statistics.mean(run["recall_at_2_percent"][kind] for run in runs)
        parts.append(f"{kind}: AUROC {auroc:.3f}, recall {own:.2f}, at 2 % {at_2_percent:.2f}")
    steps = [run["train"]["steps"] for run in runs]
    size = runs[0]["train"]["image_size_px"]
    return "  ".join([*parts, f"size {size}", f"steps {min(steps)}-{max(steps)}"])


if __name__ == "__main__":
    main()
