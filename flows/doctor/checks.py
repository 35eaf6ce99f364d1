"""The list of what `reconad doctor` looks at, with nothing imported that may be what is broken."""

import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Final

from flows.doctor.findings import Check
from flows.doctor.machine import check_versions
from reconad_plugin.config.settings import Settings, load_settings
from reconad_plugin.errors import ConfigError, PlatformError

_OWN: Final = {"flows", "mlflow_models", "reconad_plugin", "importlib", "_frozen_importlib"}


def list_checks(now: datetime) -> Iterator[Check]:
    """List all checks, the settings first; without settings, those that need none, and without
    packages that import, those of this machine's packages alone."""
    settings: Settings | None = None
    with suppress(ConfigError):
        settings = load_settings()
    yield Check("settings", _check_settings)
    yield Check("packages", check_versions)
    try:
        from flows.doctor.platform_checks import list_platform_checks
    except Exception as error:  # a package that does not fit raises whatever it likes
        yield Check("imports", partial(_refuse, error))
    else:
        yield from list_platform_checks(settings, now)


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
