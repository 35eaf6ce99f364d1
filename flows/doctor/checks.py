"""The checks that need no package which may be what is broken, and the one that names it."""

import traceback
from collections.abc import Iterator
from functools import partial
from typing import Final

from flows.doctor.findings import Check
from flows.doctor.machine import check_versions
from reconad_plugin.config.settings import load_settings
from reconad_plugin.errors import PlatformError

_OWN: Final = {
    "flows",
    "mlflow_models",
    "monitoring",
    "reconad_plugin",
    "importlib",
    "_frozen_importlib",
}


def first_checks() -> Iterator[Check]:
    """List the checks of the settings and of this machine's packages."""
    yield Check("settings", _check_settings)
    yield Check("packages", check_versions)


def refused_import(error: Exception) -> Check:
    """Make the check that names what does not import, in place of those that need it."""
    return Check("imports", partial(_refuse, error))


def _check_settings() -> str:
    return f"products: {', '.join(load_settings().products) or 'none'}"


def _refuse(error: Exception) -> str:
    """Name the package that we import and that fails.

    Raises:
        PlatformError: always.
    """
    modules = (frame.f_globals["__name__"] for frame, _ in traceback.walk_tb(error.__traceback__))
    others = [name for each in modules if (name := each.partition(".")[0]) not in _OWN]
    package = others[0] if others else getattr(error, "name", None) or "one"
    raise PlatformError(
        f"all packages must import; {package} does not, {type(error).__name__}: "
        f"{' '.join(str(error).split())}: pip install --constraint constraints.txt 'reconad[night]'"
    )
