"""``reconad benchmark``: run a benchmark of the checkout, which is in no package."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

from flows.commands.json_file import check_writable
from flows.commands.options import BenchmarkOptions
from reconad_plugin.errors import ConfigError

BENCHMARKS: Final = Path(__file__).resolve().parents[2] / "benchmarks"


def run(options: BenchmarkOptions) -> None:
    """Measure ours and a peer by turns."""
    check_writable(options.json)
    load_benchmarks(BENCHMARKS).run(options)


def load_benchmarks(folder: Path) -> ModuleType:
    """Load the module ``by_name`` of a folder of benchmarks.

    Raises:
        ConfigError: there is no such folder.
    """
    file = folder / "by_name.py"
    spec = spec_from_file_location("reconad_benchmarks", file) if file.is_file() else None
    if spec is None or spec.loader is None:
        raise ConfigError(
            f"benchmarks are part of a checkout and not of the installed package; there is no "
            f"{file}: clone the repository and install it with pip install -e ."
        )
    module = module_from_spec(spec)
    sys.path.insert(0, str(folder))  # for what lies beside it, as for a script
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module
