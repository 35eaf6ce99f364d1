"""Shared by all tests: real servers, started once, and a factory that delivers pictures."""

import itertools
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

import reconad_plugin.telemetry  # noqa: F401  first: switches off reporting of what follows
from flows.platform.servers import EmbeddedPlatform, running_platform, s3_client
from tests.factory import BUCKET, Factory

# Flows would wait for their logs to reach the server. Set before any test imports Prefect.
os.environ |= {"PREFECT_LOGGING_LEVEL": "WARNING", "PREFECT_LOGGING_TO_API_ENABLED": "false"}

_numbers = itertools.count(1)

SETTINGS = """
[storage]
bucket = "{bucket}"
cache_dir = "{cache}"
[monitoring]
workspace = "{workspace}"
[products.{product}]
model = "ae"
image_size_px = 32
first_training_nights = {first_training_nights}
retrain_every_nights = {retrain_every_nights}
max_image_pixels = 100_000
[products.{product}.train]
steps = 300
budget_s = 60
learning_rate = 3e-3
[products.{product}.finetune]
steps = 500
budget_s = 180
learning_rate = 2e-3
"""


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPlatform]:
    """S3, MLflow and Prefect, for the whole session."""
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    state = tmp_path_factory.mktemp("platform") / "state"
    with (
        running_platform(state, BUCKET) as running,
        temporary_settings(
            {
                PREFECT_API_URL: running.environment["PREFECT_API_URL"],
                PREFECT_HOME: running.environment["PREFECT_HOME"],
            }
        ),
    ):
        yield running


def make_factory(
    platform: EmbeddedPlatform,
    folder: Path,
    environment: pytest.MonkeyPatch,
    first_training_nights: int = 1,
    retrain_every_nights: int = 0,
) -> Factory:
    """A factory of a new product, whose settings are then the ones in force."""
    product = f"part{next(_numbers)}"
    settings = folder / f"{product}.toml"
    content = SETTINGS.format(
        bucket=BUCKET,
        cache=folder / "cache",
        workspace=folder / "evidently",
        product=product,
        first_training_nights=first_training_nights,
        retrain_every_nights=retrain_every_nights,
    )
    settings.write_text(content, encoding="utf-8")
    environment.setenv("RECONAD_CONFIG", str(settings))
    return Factory(product, s3_client(platform.environment), settings)


@pytest.fixture
def new_factory(
    platform: EmbeddedPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Factory]:
    """Makes factories with their own schedule."""
    return partial(make_factory, platform, tmp_path, monkeypatch)


@pytest.fixture
def factory(new_factory: Callable[..., Factory]) -> Factory:
    """One product that trains on its first night."""
    return new_factory()


@pytest.fixture(scope="module")
def shared_factory(
    platform: EmbeddedPlatform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Factory]:
    """One product for all tests of a file."""
    with pytest.MonkeyPatch.context() as environment:
        yield make_factory(platform, tmp_path_factory.mktemp("shared"), environment)


@pytest.fixture(autouse=True)
def _two_threads() -> None:
    torch.set_num_threads(2)
