"""The world that the platform's tests share: a product whose nights were run once, the *story*,
and copies of it for tests that change something.

Networks are narrow and pictures small, since no claim here is about how well a model sees.
"""

import io
import itertools
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pytest
from mlflow import MlflowClient

from flows.finetune import finetune
from flows.nightly import nightly
from flows.platform.servers import EmbeddedPlatform, s3_client
from mlflow_models import registry
from reconad_plugin.networks.registry import MODELS
from reconad_plugin.store.layout import OWN_FOLDER
from tests.factory import BUCKET, Factory, under_dim_lamp, with_scratch

NARROW: Final = "narrow"  # a width of so few weights that a step takes milliseconds
SETTINGS: Final = """
[storage]
bucket = "{bucket}"
cache_dir = "{cache}"
[monitoring]
workspace = "{workspace}"
report = "{report}"
[products.{product}]
{settings}
[products.{product}.train]
steps = 250
budget_s = 60
learning_rate = 3e-3
[products.{product}.finetune]
steps = 300
budget_s = 180
learning_rate = 3e-3
"""

# the nights of the story
START: Final = date(2026, 5, 1)
NIGHTS: Final = [START + timedelta(day) for day in range(8)]
EMPTY_BEFORE: Final = START - timedelta(1)
GATHERED, TRAINED, QUIET, SCRATCHED, QUIET_TOO, LAST_QUIET, DIMMED, LEARNT = NIGHTS
EMPTY_AFTER: Final = LEARNT + timedelta(1)
IMAGES: Final = 24  # a night
# the story's model sees pictures as they come, so that a lamp matters to it
OF_THE_STORY: Final = {"first_training_nights": 2, "options.light": "none"}
FOUNDING_IMAGES: Final = 40  # of the first two: enough that a threshold lets normal ones through

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Mark:
    """All that reconad knew of a product when a night had ended.

    Attributes:
        written: key below the product -> content of what reconad wrote.
        versions: of the registered model, oldest first.
        aliases: alias -> number of a version.
    """

    written: Mapping[str, bytes]
    versions: list[registry.Version]
    aliases: Mapping[str, str]


@dataclass
class Story:
    """A product whose nights were run.

    Attributes:
        factory: its side of the bucket.
        platform: the servers.
        results: night -> what its run returned.
        again: the same of nights that were run again at the end.
        marks: night -> what was known when it had ended.
        learnt: what became of the fine-tuning on the dimmed night.
    """

    factory: Factory
    platform: EmbeddedPlatform
    results: dict[date, dict[str, Any]] = field(default_factory=dict)
    again: dict[date, dict[str, Any]] = field(default_factory=dict)
    marks: dict[date, Mark] = field(default_factory=dict)
    learnt: str = ""

    @property
    def product(self) -> str:
        """Its name."""
        return self.factory.product

    def tell(self) -> None:
        """Run the nights: gather, train, a quiet one, scratched parts, two quiet ones, a dimmed
        lamp that is learnt, a quiet one under it; and some of them again."""
        self._run(EMPTY_BEFORE, count=0)
        for night in (GATHERED, TRAINED):
            self._run(night, FOUNDING_IMAGES)
        self._run(QUIET)
        self._run(SCRATCHED, change=with_scratch)
        for night in (QUIET_TOO, LAST_QUIET):
            self._run(night)
        # known parts, so that no processor's rounding makes suspects of new ones
        self._run(DIMMED, change=under_dim_lamp, parts_of=TRAINED)
        self.learnt = str(finetune(self.product, DIMMED))
        self._run(LEARNT, change=under_dim_lamp)
        self._run(EMPTY_AFTER, count=0)
        for night in (TRAINED, QUIET_TOO, DIMMED):
            self.again[night] = nightly(self.product, night)

    def _run(self, night: date, count: int = IMAGES, **pictures: Any) -> None:
        self.factory.deliver(night, count, **pictures)
        self.results[night] = nightly(self.product, night)
        self.marks[night] = self._mark()

    def _mark(self) -> Mark:
        client = self.factory.client
        own = f"{self.product}/{OWN_FOLDER}/"
        written = {
            key.removeprefix(f"{self.product}/"): client.get_object(Bucket=BUCKET, Key=key)[
                "Body"
            ].read()
            for key in _keys(client, own)
        }
        versions = registry.versions(self.product)
        return Mark(written, versions, aliases(self.product) if versions else {})


def make_factory(
    platform: EmbeddedPlatform,
    folder: Path,
    environment: pytest.MonkeyPatch,
    report: str = "lean",
    cache: Path | None = None,
    **settings: object,
) -> Factory:
    """A factory of a new product, whose settings are then the ones in force.

    Args:
        platform: the servers.
        folder: of its settings file, cache and dashboard.
        environment: gets ``RECONAD_CONFIG``.
        report: how much is kept of a night.
        cache: of images, where another product has some.
        settings: of the product; a narrow autoencoder that trains on its first night by default.
    """
    product = f"part{next(_numbers)}"
    chosen = {
        "model": "ae",
        "width": NARROW,
        "image_size_px": 32,
        "first_training_nights": 1,
        "max_image_pixels": 100_000,
        **settings,
    }
    content = SETTINGS.format(
        bucket=BUCKET,
        cache=cache or folder / "cache",
        workspace=folder / "evidently",
        report=report,
        product=product,
        settings="\n".join(
            f"{name} = {json.dumps(value)}" for name, value in chosen.items() if value is not None
        ),
    )
    file = folder / f"{product}.toml"
    file.write_text(content, encoding="utf-8")
    environment.setenv("RECONAD_CONFIG", str(file))
    return Factory(product, s3_client(platform.environment), file)


def run_story(platform: EmbeddedPlatform, folder: Path) -> Story:
    """Run the nights of the story."""
    with pytest.MonkeyPatch.context() as environment:
        add_narrow_widths(environment)
        factory = make_factory(platform, folder, environment, **OF_THE_STORY)
        story = Story(factory, platform)
        story.tell()
    return story


def add_narrow_widths(patch: pytest.MonkeyPatch) -> None:
    """Let settings ask for networks of few weights."""
    patch.setitem(MODELS["ae"].widths, NARROW, {"width": 8, "latent_dim": 16})
    sizes = {"vq_width": 16, "code_dim": 8, "codes": 64, "restriction_width": 8, "unet_width": 8}
    patch.setitem(MODELS["dsr"].widths, NARROW, sizes)


def fork(
    story: Story, at: date, folder: Path, environment: pytest.MonkeyPatch, **settings: object
) -> Factory:
    """A new product in the state that the story's was in when a night had ended.

    Its objects are copies under its own prefix, with its own keys in them; its versions lead to
    the same models and runs.

    Args:
        story: what was told.
        at: a night of it.
        folder: see ``make_factory``.
        environment: see ``make_factory``.
        settings: of the product, where they differ from the story's.
    """
    cache = story.factory.settings.parent / "cache"  # by content: nobody can spoil it
    settings = {**OF_THE_STORY, **settings}
    copy = make_factory(story.platform, folder, environment, cache=cache, **settings)
    _copy_objects(story, at, copy)
    _copy_versions(story.product, story.marks[at], copy.product)
    return copy


def copy_versions(product: str, copy: str) -> None:
    """A registered model with the same versions, tags and aliases as another's now."""
    _copy_versions(product, Mark({}, registry.versions(product), aliases(product)), copy)


def aliases(product: str) -> dict[str, str]:
    """Alias -> number of the version that it points to."""
    found = MlflowClient().get_registered_model(registry.model_name(product)).aliases
    return {alias: str(number) for alias, number in found.items()}


def _copy_objects(story: Story, at: date, copy: Factory) -> None:
    client, old, new = copy.client, story.product, copy.product

    def deliver(key: str) -> None:
        own = key.replace(f"{old}/", f"{new}/", 1)
        client.copy_object(Bucket=BUCKET, Key=own, CopySource={"Bucket": BUCKET, "Key": key})

    incoming = f"{old}/incoming/"
    keys = [
        key
        for key in _keys(client, incoming)
        if key.removeprefix(incoming)[: len("YYYY-MM-DD")] <= at.isoformat()
    ]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(deliver, keys))
    for name, content in story.marks[at].written.items():
        copy.put_key(f"{new}/{name}", _renamed(name, content, f"{old}/", f"{new}/"))


def _renamed(name: str, content: bytes, old: str, new: str) -> bytes:
    """What reconad wrote of one product as it would have written it of another."""
    if not name.endswith(".parquet"):
        return content.replace(old.encode(), new.encode())
    table = pd.read_parquet(io.BytesIO(content))
    for column in ("key", "reason"):
        if column in table:
            table[column] = table[column].str.replace(old, new, regex=False)
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _copy_versions(old: str, mark: Mark, new: str) -> None:
    client, name = MlflowClient(), registry.model_name(new)
    if mark.versions:
        client.create_registered_model(name)
    for version in mark.versions:
        tags = {tag: value.replace(f"{old}/", f"{new}/") for tag, value in version.tags.items()}
        client.create_model_version(name, version.uri, version.run_id, tags=tags)
    for alias, number in mark.aliases.items():
        client.set_registered_model_alias(name, alias, number)


def _keys(client: Any, prefix: str) -> list[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]
