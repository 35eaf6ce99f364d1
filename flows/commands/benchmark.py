"""``reconad benchmark``: run a benchmark of the checkout and show what comes of it."""

import os
import sys
from dataclasses import asdict
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from rich.console import Console
from rich.table import Table

import reconad_plugin
from flows.commands.json_file import check_writable, write_json
from flows.commands.options import BenchmarkOptions
from reconad_plugin.errors import ConfigError

BENCHMARKS: Final = Path(__file__).resolve().parents[2] / "benchmarks"
PACKAGED_TEXTURES: Final = Path(reconad_plugin.__file__).parent / "simulation" / "textures"


def run(options: BenchmarkOptions) -> None:
    """Measure ours and a peer by turns."""
    check_writable(options.json)
    compare = load_compare(BENCHMARKS)
    if options.name in compare.ALONE:
        if options.data is not None and options.name not in compare.READS_DATA:
            raise ConfigError(f"{options.name} reads no images; got --data: leave it out")
        data = _folder(options.data) if options.data is not None else None
        compare.run_alone(options.name, options.json, data)
        return
    if options.name not in compare.BENCHMARKS:
        names = ", ".join([*compare.BENCHMARKS, *compare.ALONE])
        raise ConfigError(f"a benchmark must be one of {names}; got {options.name!r}")
    benchmark = compare.BENCHMARKS[options.name]
    if benchmark.needs_data and options.data is None:
        raise ConfigError(
            f"{options.name} needs a folder of images: give --data DIR with train/good and test/..."
        )
    ours, peer = compare.build_workers(
        options.name,
        sys.executable,
        _peer_python(options) if benchmark.needs_peer else None,
        _folder(options.textures or PACKAGED_TEXTURES),
        _folder(options.data) if options.data is not None else None,
    )
    results = compare.alternate(
        ours, peer, options.rounds, lambda line: print(line, file=sys.stderr, flush=True)
    )
    comparisons = compare.compare(benchmark, results)
    content = {
        "benchmark": options.name,
        "title": benchmark.title,
        "unit": benchmark.unit,
        "rounds": options.rounds,
        "cores": os.cpu_count(),
        "comparisons": [asdict(comparison) for comparison in comparisons],
        "results": results,
    }
    write_json(content, options.json)
    _print(benchmark, comparisons)


def load_compare(folder: Path) -> ModuleType:
    """The module ``compare`` of a folder of benchmarks, which is in no package.

    Raises:
        ConfigError: there is no such folder.
    """
    file = folder / "compare.py"
    spec = spec_from_file_location("reconad_benchmarks_compare", file) if file.is_file() else None
    if spec is None or spec.loader is None:
        raise ConfigError(
            f"benchmarks are part of a checkout and not of the installed package; there is no "
            f"{file}: clone the repository and install it with pip install -e ."
        )
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


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


def _print(benchmark: Any, comparisons: list[Any]) -> None:
    title = f"{benchmark.title}: min / median / max"
    table = Table("ours", benchmark.unit, "peer", benchmark.unit, "times faster", title=title)
    for one in comparisons:
        table.add_row(
            one.ours_figure,
            _spread(one.ours),
            one.peer_figure,
            _spread(one.peer),
            f"{one.ratio:.2f}",
        )
    Console().print(table)


def _spread(spread: Any) -> str:
    return " / ".join(f"{value:.4g}" for value in (spread.min, spread.median, spread.max))
