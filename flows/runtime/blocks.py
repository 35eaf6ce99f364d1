"""Blocks of Prefect: a product, its bucket and its platform, edited in Prefect's pages.

A flow of your own takes them in place of ``reconad.toml`` and of variables of the worker::

    with ReconadProduct.load("screw").in_force():
        nightly("screw", "2026-01-31")
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from reconad_plugin.config.settings import CONFIG_VARIABLE, Settings, load_settings

_CACHE: Final = ".reconad/cache"
_WORKSPACE: Final = ".reconad/evidently"


class ReconadStore(Block):
    """The S3 bucket with the images, and who reads it."""

    _block_type_name = "Reconad Store"
    _block_type_slug = "reconad-store"

    bucket: str = Field(description="Bucket with the images")
    endpoint_url: str | None = Field(default=None, description="S3 service; without it AWS")
    region: str = Field(default="us-east-1", description="Region of the bucket")
    cache_dir: str = Field(default=_CACHE, description="Folder of the worker for copies of images")
    access_key_id: SecretStr | None = Field(
        default=None, description="Without it credentials come the usual AWS way"
    )
    secret_access_key: SecretStr | None = Field(default=None, description="Goes with the key id")

    def environment(self) -> dict[str, str]:
        """Return the variables that open the bucket."""
        return _set_ones(
            AWS_ENDPOINT_URL_S3=self.endpoint_url,
            AWS_REGION=self.region,
            AWS_ACCESS_KEY_ID=self.access_key_id,
            AWS_SECRET_ACCESS_KEY=self.secret_access_key,
        )

    def table(self) -> dict[str, object]:
        """Return what stands in ``reconad.toml`` under ``[storage]``."""
        return self.model_dump(include={"bucket", "endpoint_url", "region", "cache_dir"})


class ReconadPlatform(Block):
    """The MLflow server, and the workspace of Evidently."""

    _block_type_name = "Reconad Platform"
    _block_type_slug = "reconad-platform"

    mlflow_tracking_uri: str = Field(description="Address of MLflow")
    mlflow_username: str | None = Field(default=None, description="Of MLflow, where it asks")
    mlflow_password: SecretStr | None = Field(default=None, description="Goes with the user")
    workspace: str = Field(default=_WORKSPACE, description="Evidently workspace, folder or address")
    report: Literal["full", "lean"] = Field(default="full", description="What is drawn of a night")

    def environment(self) -> dict[str, str]:
        """Return the variables that lead to MLflow."""
        return _set_ones(
            MLFLOW_TRACKING_URI=self.mlflow_tracking_uri,
            MLFLOW_TRACKING_USERNAME=self.mlflow_username,
            MLFLOW_TRACKING_PASSWORD=self.mlflow_password,
        )

    def table(self) -> dict[str, object]:
        """Return what stands in ``reconad.toml`` under ``[monitoring]``."""
        return self.model_dump(include={"workspace", "report"})


class ReconadProduct(Block):
    """A product: where its images and its platform are, and its settings."""

    _block_type_name = "Reconad Product"
    _block_type_slug = "reconad-product"

    product: str = Field(description="Name, the first part of every key in the bucket")
    store: ReconadStore = Field(description="Bucket with its images")
    platform: ReconadPlatform = Field(description="MLflow and Evidently")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="As under [products.NAME] in reconad.toml"
    )

    @contextmanager
    def in_force(self) -> Iterator[Settings]:
        """Let what is read of settings and of variables be this block, in this process, until the
        end.

        Raises:
            ConfigError: a setting breaks a rule.
        """
        with TemporaryDirectory() as folder:
            file = Path(folder) / "reconad.toml"
            file.write_text(self.to_toml(), encoding="utf-8")
            settings = load_settings(file)
            own = {**self.store.environment(), **self.platform.environment()}
            with _variables({**own, CONFIG_VARIABLE: str(file)}):
                yield settings

    def to_toml(self) -> str:
        """Return it as a ``reconad.toml``, without any secret."""
        tables = {
            "storage": self.store.table(),
            "monitoring": self.platform.table(),
            "products": {self.product: self.settings},
        }
        return "".join(f"{name} = {_to_toml(table)}\n" for name, table in tables.items())


def _to_toml(value: Any) -> str:
    """Write a value as TOML; what is None is left out of its table."""
    if isinstance(value, Mapping):
        entries = (
            f"{json.dumps(str(name))} = {_to_toml(each)}"
            for name, each in value.items()
            if each is not None
        )
        return f"{{ {', '.join(entries)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_to_toml, value))}]"
    return json.dumps(value)


def _set_ones(**values: str | SecretStr | None) -> dict[str, str]:
    """Return the values that are set, secrets in plain."""
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in values.items()
        if value is not None
    }


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and put back what was there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
