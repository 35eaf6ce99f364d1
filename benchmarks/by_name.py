"""The benchmarks by their names, and how one is run."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from compare import (
    OURS,
    PEER,
    Benchmark,
    Comparison,
    Worker,
    WorkerFailedError,
    alternate,
    compare,
)
from rich.console import Console
from rich.table import Table

import reconad_plugin
from flows.commands.json_file import write_json
from flows.commands.options import BenchmarkOptions
from reconad_plugin.detector.detector import TORCH
from reconad_plugin.detector.engine import ENGINES, why_not_here
from reconad_plugin.errors import ConfigError

FOLDER = Path(__file__).resolve().parent
PACKAGED_TEXTURES = Path(reconad_plugin.__file__).parent / "simulation" / "textures"
_SIZES_PX = (128, 256)
_SCORED = ("64/32, 128 px", "128/64, 256 px")  # networks, by their widths and the picture's side

BENCHMARKS = {
    "simulation": Benchmark(
        title="simulated anomalies a second",
        unit="1/s",
        is_rate=True,
        pairs=tuple(
            (f"{ours}, {size_px} px", f"{peer}, {size_px} px")
            for size_px in _SIZES_PX
            for ours, peer in (
                ("perlin and textures", "textures in memory"),
                ("preset general", "textures in memory"),
                ("perlin and textures", "textures from disk"),
            )
        ),
    ),
    "step": Benchmark(
        title="seconds a DRAEM training step",
        threads=2,
        pairs=tuple(
            (f"{ours}, {size_px} px", f"prepared tensors, {size_px} px")
            for size_px in _SIZES_PX
            for ours in ("prepared tensors", "training loop")
        ),
    ),
    "dsr_step": Benchmark(
        title="seconds a training step of DSR's subspaces phase",
        threads=2,
        pairs=tuple((f"{size_px} px", f"{size_px} px") for size_px in _SIZES_PX),
    ),
    "fit": Benchmark(
        title="seconds of a DRAEM training of 12 steps",
        threads=2,
        pairs=(("128 px", "128 px"),),
        needs_data=True,
    ),
    "scoring": Benchmark(
        title="processor seconds of one picture that DRAEM scores",
        pairs=tuple(
            (f"{network}, {way}", network)
            for network in _SCORED
            for way in (TORCH, *(name for name, each in ENGINES.items() if not why_not_here(each)))
        ),
    ),
    "loading": Benchmark(
        title="pictures a second from files to batches",
        unit="1/s",
        is_rate=True,
        pairs=(
            ("epoch", "epoch"),
            ("epoch with opening", "epoch"),
            ("first decoding", "decoding"),
        ),
        needs_peer=False,
    ),
    "metrics": Benchmark(
        title="seconds of CPU time of a figure over all pixels of 200 maps",
        pairs=tuple(
            (f"{figure}, {kind} maps", f"{figure}, {kind} maps")
            for kind in ("smooth", "saturated")
            for figure in ("AUROC", "AUPRO")
        ),
    ),
}
ALONE = {  # without a peer: file and options
    "alarms": ("alarm_years.py",),
    "dashboard": ("dashboard_years.py",),
    "engines": ("engine_cost.py",),
    "fuzz": ("serving.py", "--only", "malformed"),
    "gate": ("gate_trials.py",),
    "promotion": ("promotion_kills.py",),
    "serving": ("serving.py",),
    "soak": ("serving.py", "--only", "soak"),
    "replay": ("replay_days.py",),
    "triage": ("triage_nights.py",),
}
READS_DATA = ("replay", "triage")  # of those


def run(options: BenchmarkOptions) -> None:
    """Run a benchmark; print and write what comes of it.

    Raises:
        ConfigError: there is none of that name, or it needs what was not given.
        WorkerFailedError: a worker, or a benchmark without a peer, did not end well.
    """
    name, data = options.name, options.data
    if name in ALONE:
        if data is not None and name not in READS_DATA:
            raise ConfigError(f"{name} reads no images; got --data: leave it out")
        run_alone(name, options.own, options.json, None if data is None else _folder(data))
        return
    if name not in BENCHMARKS:
        names = ", ".join([*BENCHMARKS, *ALONE])
        raise ConfigError(f"a benchmark must be one of {names}; got {name!r}")
    if options.own:
        given = " ".join(options.own)
        raise ConfigError(f"{name} has no options of its own; got {given}: leave them out")
    benchmark = BENCHMARKS[name]
    if benchmark.needs_data and data is None:
        raise ConfigError(
            f"{name} needs a folder of images: give --data DIR with train/good and test/..."
        )
    ours, peer = build_workers(
        name,
        sys.executable,
        _peer_python(options) if benchmark.needs_peer else None,
        _folder(options.textures or PACKAGED_TEXTURES),
        None if data is None else _folder(data),
    )
    results = alternate(
        ours, peer, options.rounds, lambda line: print(line, file=sys.stderr, flush=True)
    )
    comparisons = compare(benchmark, results)
    content = {
        "benchmark": name,
        "title": benchmark.title,
        "unit": benchmark.unit,
        "rounds": options.rounds,
        "cores": os.cpu_count(),
        "comparisons": [asdict(comparison) for comparison in comparisons],
        "results": results,
    }
    write_json(content, options.json)
    _print(benchmark, comparisons)


def _peer_python(options: BenchmarkOptions) -> str:
    made = "benchmarks/README.md says how its environment is made"
    if options.peer_python is None:
        raise ConfigError(f"{options.name} needs the peer: give --peer-python V/bin/python; {made}")
    if not os.access(options.peer_python, os.X_OK) or not options.peer_python.is_file():
        raise ConfigError(f"--peer-python must be a program; got {options.peer_python}: {made}")
    return str(options.peer_python.absolute())  # unresolved: a link is what makes it a venv's


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise ConfigError(f"a benchmark reads a local folder; got {path}: check the path")
    return path.resolve()


def _print(benchmark: Benchmark, comparisons: list[Comparison]) -> None:
    title = f"{benchmark.title}: min / median / max"
    table = Table("ours", benchmark.unit, "peer", benchmark.unit, "times faster", title=title)
    for one in comparisons:
        ratio = f"{one.ratio:.2f}"
        table.add_row(one.ours_figure, str(one.ours), one.peer_figure, str(one.peer), ratio)
    Console().print(table)


def run_alone(
    name: str, own_options: Sequence[str], json_file: Path | None, data: Path | None
) -> None:
    """Run a benchmark that has no peer; it prints and writes its own figures.

    Raises:
        WorkerFailedError: it died, or found what must not be.
    """
    file, *options = ALONE[name]
    options += own_options
    options += [] if json_file is None else ["--json", str(json_file.absolute())]
    options += [] if data is None else ["--data", str(data)]
    ended = subprocess.run([sys.executable, str(FOLDER / file), *options], check=False)
    if ended.returncode:
        raise WorkerFailedError(f"a benchmark must end well; {name} says above what it found")


def build_workers(
    name: str, ours_python: str, peer_python: str | None, textures: Path, data: Path | None
) -> tuple[Worker, Worker]:
    """Both sides of a benchmark.

    Args:
        name: of ``BENCHMARKS``.
        ours_python: interpreter with what reconad needs.
        peer_python: interpreter with the peer; None where the benchmark needs none.
        textures: folder of pictures of materials, absolute.
        data: folder of images, absolute, for benchmarks that need one.
    """
    threads = str(BENCHMARKS[name].threads)
    common = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    common |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    options = ["--textures", str(textures)]
    if data is not None:
        options += ["--data", str(data)]

    def worker(side: str, python: str, environment: Mapping[str, str]) -> Worker:
        script = str(FOLDER / f"{name}_{side}.py")
        return Worker(side, [python, script, *options], {**common, **environment})

    ours = worker(OURS, ours_python, {"PYTHONPATH": str(FOLDER.parent)})
    return ours, worker(PEER, peer_python or ours_python, {})
