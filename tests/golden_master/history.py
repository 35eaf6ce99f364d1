"""Frozen histories of products: what the bucket and the registry held, at checkpoints.

A history is a folder of ``data/``, named after its product:

``product.toml``
    The product's settings.
``<checkpoint>/nights.json``
    The nights that had been run by then, also those without images.
``<checkpoint>/registry.json``
    Every version with its tags, and the aliases, as they were then.
``<checkpoint>/bucket/``, ``<checkpoint>/tables.tar.xz``
    The objects that were new or had changed since the checkpoint before, without the product's
    name before their keys; tables in Parquet, which no one reads by eye, in the archive. No
    object ever goes away.

This module knows nothing of reconad but that its model is called ``reconad-<product>``.
"""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import boto3
from mlflow import MlflowClient

from tests.factory import BUCKET

DATA = Path(__file__).parent / "data"
PRODUCTS = ("story_part", "ball_screw")

TABLES = "tables.tar.xz"
NOWHERE = "s3://nowhere/model"  # no decision reads a version's weights

HEAD = """\
[storage]
bucket = "{bucket}"
cache_dir = "{folder}/cache"
[monitoring]
workspace = "{folder}/evidently"
"""


@dataclass(frozen=True)
class Checkpoint:
    """One moment of a history."""

    product: str
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def nights(self) -> list[date]:
        """The nights that had been run by then."""
        return [date.fromisoformat(night) for night in _read_json(self.folder / "nights.json")]

    def objects(self) -> dict[str, bytes]:
        """What was new or had changed by then."""
        bucket, found = self.folder / "bucket", {}
        for path in bucket.rglob("*"):
            if path.is_file():
                found[path.relative_to(bucket).as_posix()] = path.read_bytes()
        if (self.folder / TABLES).exists():
            with tarfile.open(self.folder / TABLES) as archive:
                for member in archive:
                    file = archive.extractfile(member)
                    found[member.name] = file.read() if file else b""
        return found

    def put_back(self) -> None:
        """Bring the bucket and the registry from the checkpoint before to this one."""
        client = boto3.client("s3")
        for key, content in self.objects().items():
            client.put_object(Bucket=BUCKET, Key=f"{self.product}/{key}", Body=content)
        write_registry(model_name(self.product), _read_json(self.folder / "registry.json"))


def checkpoints(product: str) -> Iterator[Checkpoint]:
    """A product's checkpoints, oldest first."""
    for folder in sorted(path for path in (DATA / product).iterdir() if path.is_dir()):
        yield Checkpoint(product, folder)


def expected_file(product: str) -> Path:
    """Where the decisions are that are expected of a product's history."""
    return DATA / f"{product}.expected.json"


def write_settings(product: str, folder: Path) -> Path:
    """Write a ``reconad.toml`` for a history's product; its path."""
    path = folder / f"{product}.toml"
    head = HEAD.format(bucket=BUCKET, folder=folder)
    path.write_text(head + (DATA / product / "product.toml").read_text("utf-8"), "utf-8")
    return path


def model_name(product: str) -> str:
    """Name of a product's registered model."""
    return f"reconad-{product}"


def read_registry(name: str) -> dict[str, Any]:
    """The facts that the registry has of a model."""
    client = MlflowClient()
    models = client.search_registered_models(f"name = '{name}'")
    found = client.search_model_versions(f"name = '{name}'") if models else []
    return {
        "aliases": {
            alias: int(number) for model in models for alias, number in model.aliases.items()
        },
        "versions": [
            {"number": int(version.version), "tags": dict(version.tags)}
            for version in sorted(found, key=lambda version: int(version.version))
        ],
    }


def write_registry(name: str, facts: dict[str, Any]) -> None:
    """Bring a registered model, which may be there already, to these facts."""
    client = MlflowClient()
    if facts["versions"] and not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    there = read_registry(name)
    tags_there = {version["number"]: version["tags"] for version in there["versions"]}
    for version in facts["versions"]:
        number, tags = version["number"], version["tags"]
        if number not in tags_there:
            made = client.create_model_version(name, NOWHERE, tags=tags)
            if int(made.version) != number:
                raise ValueError(f"version {number} of {name} must follow; got {made.version}")
            continue
        for tag in tags_there[number].keys() - tags.keys():
            client.delete_model_version_tag(name, str(number), tag)
        for tag, value in tags.items() - tags_there[number].items():
            client.set_model_version_tag(name, str(number), tag, value)
    for alias in there["aliases"].keys() - facts["aliases"].keys():
        client.delete_registered_model_alias(name, alias)
    for alias, number in facts["aliases"].items():
        client.set_registered_model_alias(name, alias, str(number))


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))
