"""Shared by all tests: real servers and the story, both made once, and who runs what where."""

import tests.environment  # noqa: F401  first: threads are set before torch is imported

# isort: split
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

import reconad_plugin.telemetry  # noqa: F401  before MLflow, Prefect and Evidently
from flows.platform.servers import EmbeddedPlatform, running_platform
from tests.factory import BUCKET, Factory

if TYPE_CHECKING:  # it imports MLflow and Prefect, which unit tests can do without
    from tests.world import Story

torch.set_num_threads(1)

NewStore = Callable[[Path], str]
PLATFORM = "platform"
OFF_PLATFORM = (  # tests with servers that do without it; they and the unit tests go by files
    "test_demo.py",
    "test_cuda_checks.py",
    "test_damaged_pictures.py",
    "test_dashboard.py",
    "test_quick_start.py",
    "test_review_page_large.py",
    "test_serving_workers.py",
    "test_lean_install.py",
    "test_alias_log.py",
    "test_by_hand.py",
    "test_dsr.py",
    "test_dsr_learning.py",
    "test_killed_training.py",
    "test_learning.py",
    "test_evaluator.py",
    "test_evaluator_refusals.py",
)
NEEDS_NO_STORY = (  # of acceptance: they have servers in another process than the story's
    "test_dsr_nightly.py",
    "test_messages.py",
    "test_review_page.py",
    "test_witness_nightly.py",
)
WITHOUT_STORY = "platform without story"
LONG_UNITS = (
    "test_model_contract.py",
    "test_dsr_training.py",
    "test_network_contract.py",
    "test_vq.py",
    "test_eligibility.py",
    "test_training_loop.py",
    "test_phases.py",
)
FIRST = (
    PLATFORM,
    WITHOUT_STORY,
    *OFF_PLATFORM,
    *LONG_UNITS,
)  # so that all processes end at about the same time


def group_of(nodeid: str) -> str:
    """Tests of a group run in one process: all that may need the platform, with the story or
    without, else those of a file."""
    path = Path(nodeid.split("::")[0])
    if "unit" in path.parts or path.name in OFF_PLATFORM:
        return path.name
    return WITHOUT_STORY if path.name in NEEDS_NO_STORY else PLATFORM


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n``: groups go to the processes one by one, in the order of the collection.

    Not with ``--dist loadgroup``, which marks tests in a way that pytest 9 does not heed.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest groups first."""
    places = {group: place for place, group in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(group_of(item.nodeid), len(places)))


@pytest.fixture(scope="module")
def narrow_widths() -> Iterator[None]:
    """Settings and commands may ask for networks of few weights."""
    from tests.world import add_narrow_widths

    with pytest.MonkeyPatch.context() as patch:
        add_narrow_widths(patch)
        yield


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPlatform]:
    """S3, MLflow and Prefect, for the whole session."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_HOME,
        temporary_settings,
    )

    state = tmp_path_factory.mktemp("platform") / "state"
    with (
        running_platform(state, BUCKET) as running,
        temporary_settings(
            {
                PREFECT_API_URL: running.environment["PREFECT_API_URL"],
                PREFECT_HOME: running.environment["PREFECT_HOME"],
                PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # a flow waits for its sleep at the end
            }
        ),
    ):
        yield running


@pytest.fixture(scope="session")
def told(platform: EmbeddedPlatform, tmp_path_factory: pytest.TempPathFactory) -> "Story":
    """The story, told once."""
    from tests.world import run_story

    return run_story(platform, tmp_path_factory.mktemp("story"))


@pytest.fixture
def story(narrow_widths: None, told: "Story", monkeypatch: pytest.MonkeyPatch) -> "Story":
    """The story for tests that only read it; its settings are in force."""
    monkeypatch.setenv("RECONAD_CONFIG", str(told.factory.settings))
    return told


@pytest.fixture
def forked(
    narrow_widths: None, told: "Story", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Factory]:
    """Makes copies of the story as of a night, to change."""
    from tests.world import fork

    return partial(fork, told, folder=tmp_path, environment=monkeypatch)


@pytest.fixture
def new_factory(
    narrow_widths: None, platform: EmbeddedPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Factory]:
    """Makes factories with their own schedule."""
    from tests.world import make_factory

    return partial(make_factory, platform, tmp_path, monkeypatch)


@pytest.fixture
def factory(new_factory: Callable[..., Factory]) -> Factory:
    """One product that trains on its first night."""
    return new_factory()


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> NewStore:
    """Puts an empty MLflow into a folder; its address.

    Its tables are made once, which takes MLflow seconds, and copied.
    """
    from mlflow import MlflowClient

    empty = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{empty}").search_experiments()

    def put_into(folder: Path) -> str:
        shutil.copy(empty, folder / "mlflow.db")
        return f"sqlite:///{folder}/mlflow.db"

    return put_into


@pytest.fixture(scope="module")
def desk(
    narrow_widths: None, tmp_path_factory: pytest.TempPathFactory, new_store: NewStore
) -> Iterator[Path]:
    """The folder that commands are typed in, with MLflow in a file."""
    folder = tmp_path_factory.mktemp("desk")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", new_store(folder))
        yield folder


@pytest.fixture
def mlflow_in_a_file(tmp_path: Path, new_store: NewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An MLflow of this test's own, without a server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path))
