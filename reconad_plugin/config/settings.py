"""Settings of a reconad installation, validated once when they are read.

They come from one TOML file (``reconad.toml``, or the path in ``RECONAD_CONFIG``). Credentials
never stand in it: they come the usual AWS way (environment, profile or role), and the addresses
of MLflow and Prefect come from ``MLFLOW_TRACKING_URI`` and ``PREFECT_API_URL``.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import Field, StringConstraints, ValidationError

from reconad_plugin.config.base import Frozen, one_line
from reconad_plugin.config.keep import KeepSettings
from reconad_plugin.config.names import ProductName
from reconad_plugin.config.night import NightSettings
from reconad_plugin.config.notify import NotifySettings, TargetName
from reconad_plugin.config.product import ProductSettings
from reconad_plugin.errors import ConfigError

CONFIG_VARIABLE = "RECONAD_CONFIG"
DEFAULT_CONFIG_PATH = Path("reconad.toml")


class StorageSettings(Frozen):
    """Where the images are."""

    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    # without one AWS_ENDPOINT_URL_S3 where it is set, else AWS
    endpoint_url: Annotated[str, StringConstraints(pattern=r"^https?://.+")] | None = None
    region: str = "us-east-1"
    cache_dir: Path = Path(".reconad/cache")


class MonitoringSettings(Frozen):
    """Where the Evidently workspace is, and how much is kept of a night for a person."""

    workspace: str = ".reconad/evidently"  # a folder, or the address of an Evidently server
    report: Literal["full", "lean"] = "full"  # lean: without drawings; the dashboard has its run


class DeploySettings(Frozen):
    """What ``reconad deploy`` makes in Prefect for all products."""

    work_pool: Annotated[str, Field(min_length=1)] = "reconad"
    # after so many hours without the end of a night somebody is told that none ran
    silent_after_h: Annotated[float, Field(gt=24, le=24 * 31)] = 30.0


class Settings(Frozen):
    """Everything in ``reconad.toml``."""

    storage: StorageSettings
    monitoring: MonitoringSettings = MonitoringSettings()
    deploy: DeploySettings = DeploySettings()
    night: NightSettings | None = None  # None: each product has a schedule of its own
    keep: KeepSettings = KeepSettings()
    notify: dict[TargetName, NotifySettings] = Field(default_factory=dict)
    products: dict[ProductName, ProductSettings]

    @pydantic.model_validator(mode="after")
    def _messages_are_about_products(self) -> "Settings":
        for name, target in self.notify.items():
            if unknown := sorted({*(target.products or ())} - set(self.products)):
                raise ValueError(
                    f"notify.{name}.products must be products of this file; got {unknown[0]!r}"
                )
        return self

    @property
    def dispatched(self) -> list[str]:
        """Products that share one night: where there is a section ``night``, those that set no
        time of their own."""
        own = {"nightly_at", "timezone"}
        sharing = [name for name, each in self.products.items() if not own & each.model_fields_set]
        return [] if self.night is None else sharing

    def clock_of(self, name: str) -> tuple[str, str]:
        """Return when a product's night is begun, ``HH:MM``, and in which time zone."""
        own = self.products[name]
        clock = self.night if self.night is not None and name in self.dispatched else own
        return clock.nightly_at, clock.timezone

    def product(self, name: str) -> ProductSettings:
        """Return the settings of one product.

        Raises:
            ConfigError: the product is not in the file.
        """
        if name not in self.products:
            known = ", ".join(sorted(self.products)) or "none"
            raise ConfigError(
                f"a product must stand in reconad.toml; got {name!r}, known: {known}: "
                f"add a section [products.{name}]"
            )
        return self.products[name]


def settings_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the settings file: ``RECONAD_CONFIG``, else ``reconad.toml`` here."""
    return Path(environment.get(CONFIG_VARIABLE, DEFAULT_CONFIG_PATH))


def load_settings(path: Path | None = None) -> Settings:
    """Read and validate the settings file.

    Args:
        path: the file; without it ``RECONAD_CONFIG``, else ``reconad.toml`` here.

    Raises:
        ConfigError: the file is missing, is not TOML, or breaks a rule (all breaches are named).
    """
    path = path or settings_path()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows marks files
    except FileNotFoundError:
        raise ConfigError(
            f"settings must be in a TOML file; {path} does not exist: "
            f"write it (see reconad.example.toml) or point {CONFIG_VARIABLE} at it"
        ) from None
    except OSError as error:
        raise ConfigError(f"settings must be in a file; {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"settings must be TOML; {path}: {error}") from None
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        raise ConfigError(
            f"{path} breaks {error.error_count()} rule(s): {one_line(error)}"
        ) from None
