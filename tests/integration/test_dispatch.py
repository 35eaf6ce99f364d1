"""The night of many products, on a real Prefect server, whose worker is played."""

import contextvars
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Failed, Running

from flows.deployment.changes import Verb
from flows.deployment.deploy import deploy
from flows.deployment.wanted import DISPATCH, MADE, TRAININGS
from flows.dispatch import Trainings, dispatch
from flows.jobs.product import open_product
from flows.jobs.wanted_trainings import want_training
from flows.platform.servers import EmbeddedPlatform
from flows.runtime import runs
from reconad_plugin.config.settings import Settings, load_settings
from reconad_plugin.errors import ConfigError, PlatformError
from reconad_plugin.ledger.wanted_training import Need, WantedTraining, read_wanted
from tests.factory import BUCKET

NIGHT = date(2026, 5, 7)
POOL = "of-dispatch"
LONGEST_STALL = timedelta(seconds=150)  # Prefect on SQLite waits 60 s for a table that is locked
SHARED = """
[night]
nightly_at = "03:15"
timezone = "Europe/Berlin"
at_once = 2
training_minutes = 6
"""
SETTINGS = f"""
[storage]
bucket = "{BUCKET}"
[deploy]
work_pool = "{POOL}"
{SHARED}
[products.axle]
[products.bolt]
[products.cone]
[products.alone]
nightly_at = "06:30"
"""
NEEDS = {"axle": Need.DUE, "cone": Need.DRIFT}  # what the nightly runs of products ask for


@dataclass
class PlayedWorker:
    """Takes runs of the pool as a worker does, and ends each at once.

    Attributes:
        taken: deployment or flow and product of each run that it took.
        most: runs that waited or worked at the same time.
        failing: which end as Failed.
    """

    taken: list[str] = field(default_factory=list)
    most: int = 0
    failing: set[str] = field(default_factory=set)
    is_over: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        """Take runs until the test is over."""
        with get_client(sync_client=True) as client:
            names = {each.id: client.read_flow(each.flow_id).name for each in _made(client)}
            while not self.is_over.wait(0.3):
                found = client.get_scheduled_flow_runs_for_work_pool(POOL)
                mine = [each.flow_run for each in found if "night" in each.flow_run.parameters]
                self.most = max(self.most, len(mine))
                for run in mine:
                    self._take(client, run, names[run.deployment_id])

    def _take(self, client: SyncPrefectClient, run: FlowRun, flow: str) -> None:
        product = run.parameters["product"]
        self.taken.append(f"{flow} {product} {run.parameters['night']}")
        client.set_flow_run_state(run.id, Running(), force=True)
        if flow == "nightly" and product in NEEDS and run.parameters["night"] == str(NIGHT):
            assert run.parameters["asks"]
            assert run.parameters["is_scheduled"]
            want_training(open_product(product), NIGHT, NEEDS[product])
        state = Failed(message="too few") if product in self.failing else Completed()
        client.set_flow_run_state(run.id, state, force=True)


def _made(client: SyncPrefectClient) -> list:
    return [each for each in client.read_deployments() if MADE in each.tags]


@pytest.fixture(scope="module")
def settings(
    platform: EmbeddedPlatform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Three products that share a night, and one that does not; deployed."""
    file = tmp_path_factory.mktemp("dispatch") / "reconad.toml"
    file.write_text(SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECONAD_CONFIG", str(file))
        patch.setattr(runs, "ASK_EVERY_S", 0.3)
        patch.setattr(runs, "STUCK_AFTER", LONGEST_STALL)
        found = load_settings()
        list(deploy(found, is_dry=False))
        yield found
    with get_client(sync_client=True) as client:
        for automation in client.read_automations():
            if MADE in automation.tags:
                client.delete_automation(automation.id)
        for deployment in _made(client):
            client.delete_deployment(deployment.id)
        client.delete_work_pool(POOL)


@pytest.fixture
def worker(settings: Settings) -> Iterator[PlayedWorker]:
    played = PlayedWorker(failing={"bolt"})
    in_these_settings = contextvars.copy_context().run  # Prefect's are of a context
    thread = threading.Thread(target=in_these_settings, args=(played.work,))
    thread.start()
    yield played
    played.is_over.set()
    thread.join()


def wanted(product: str) -> WantedTraining | None:
    """What a product asked for."""
    opened = open_product(product)
    return read_wanted(opened.store, opened.layout)


def test_a_night_of_many_products_is_dispatched_once(
    worker: PlayedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fails stops no other; what fits is trained, the rest is told its night. A dispatcher
    that was killed, and one that is started again, start nothing twice."""
    start = runs.start

    def killed(deployment: str, *rest: object) -> object:
        if deployment == "nightly/cone":
            raise RuntimeError("killed")
        return start(deployment, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "start", killed)
        with pytest.raises(RuntimeError, match="killed"):
            dispatch(NIGHT)

    found, again = dispatch(NIGHT), dispatch(NIGHT)

    assert found == again
    assert found.failed == {"bolt": "Failed: too few"}
    assert found.trainings == Trainings(["cone"], {}, {"axle": wanted("axle")})
    assert wanted("axle").expected == str(NIGHT + timedelta(1))
    assert not wanted("cone").is_open
    assert sorted(worker.taken) == [
        f"finetune cone {NIGHT}",
        *(f"nightly {product} {NIGHT}" for product in ("axle", "bolt", "cone")),
    ]
    assert worker.most <= 2

    later = dispatch(NIGHT + timedelta(1))

    assert later.trainings.done == ["axle"]
    assert f"train axle {NIGHT}" in worker.taken


def test_without_a_worker_the_dispatcher_gives_up_and_says_why(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as beside a worker that takes one run, which is the dispatcher's own."""
    monkeypatch.setattr(runs, "STUCK_AFTER", timedelta(seconds=0.3))

    with pytest.raises(PlatformError, match=r"none has taken any of 2 .* leaves room beside"):
        dispatch(NIGHT - timedelta(1))


def test_products_share_the_dispatchers_schedule_and_a_queue_of_trainings(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with a time of its own keeps its own; without the section all is as it was."""
    with get_client(sync_client=True) as client:
        shared = client.read_deployment_by_name(DISPATCH).schedules[0].schedule
        nightly = client.read_deployment_by_name("nightly/axle")
        own = client.read_deployment_by_name("nightly/alone")
        queue = client.read_work_queue_by_name(TRAININGS, work_pool_name=POOL)
        queues = {each.work_queue_name for each in _made(client) if each.name == "axle"}
        learning = client.read_deployment_by_name("train/axle")
    assert (shared.cron, shared.timezone) == ("15 3 * * *", "Europe/Berlin")
    assert nightly.schedules == []
    assert [each.schedule.cron for each in own.schedules] == ["30 6 * * *"]
    assert queue.concurrency_limit == 1
    assert (learning.work_queue_name, queues) == (TRAININGS, {TRAININGS, "default"})
    assert {change.verb for change in deploy(settings, is_dry=True)} == {Verb.KEEP}

    each_alone = settings.model_copy(update={"night": None})
    changes = [str(each) for each in deploy(each_alone, False) if each.verb is not Verb.KEEP]

    names = ("axle", "bolt", "cone")
    assert sorted(changes) == sorted(
        [
            f"remove deployment {DISPATCH}",
            "update deployment finetune/on-drift (work_queue_name)",
            "update deployment train/alone (work_queue_name)",
            *(f"update deployment nightly/{name} (schedule)" for name in names),
            *(f"update deployment train/{name} (work_queue_name)" for name in names),
        ]
    )
    (tmp_path / "reconad.toml").write_text(SETTINGS.replace(SHARED, ""))
    monkeypatch.setenv("RECONAD_CONFIG", str(tmp_path / "reconad.toml"))
    with pytest.raises(ConfigError, match=r"section \[night\]"):
        dispatch(NIGHT)
