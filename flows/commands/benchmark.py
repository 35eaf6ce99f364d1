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
    load_compare(BENCHMARKS).run(options)


def load_compare(folder: Path) -> ModuleType:
    """Load the module ``compare`` of a folder of benchmarks.

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
