"""Looks at MLflow and Prefect: whether they answer, and what a night needs of them."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

import prefect
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from flows.deployment.changes import Change, Verb
from flows.deployment.deploy import deploy
from mlflow_models.server import server_version
from mlflow_models.tracking import check_ready
from reconad_plugin.config.settings import Settings
from reconad_plugin.errors import ConfigError, PlatformError

MOST_NAMED: Final = 3
# what of a thing in Prefect changes what runs, when, or who hears of it; `prefect.yaml` writes the
# rest otherwise than `reconad deploy`, the actions of automations too
WHAT_RUNS: Final = frozenset(
    ["schedule", "parameters", "work_pool_name", "work_queue_name", "trigger", "address"]
)
OF_ITS_OWN: Final = WHAT_RUNS | {"actions"}


def check_mlflow() -> str:
    """Ask MLflow for its version.

    Raises:
        PlatformError: it does not answer, or is of another generation than what is installed here.
    """
    there, here = server_version()
    if there is None:
        return f"{here}, in a file of this machine"
    if there.split(".")[0] != here.split(".")[0]:
        raise PlatformError(
            f"MLflow here and its server must be of one generation; here is {here}, there {there}: "
            "install the server's, within reconad's bounds"
        )
    return f"answers, {there}"


def check_experiment(product: str) -> str:
    """Open a run with a file, as a training of a product will.

    Raises:
        PlatformError: MLflow refuses.
    """
    check_ready(product)
    return f"reconad/{product} takes runs and files"


def check_prefect() -> str:
    """Ask Prefect for its version.

    Raises:
        ConfigError: no server is named.
        PlatformError: it is of another generation than what is installed here.
    """
    if not PREFECT_API_URL.value():
        raise ConfigError(
            "nights start by a Prefect server; PREFECT_API_URL is not set: export "
            "PREFECT_API_URL=http://HOST:4200/api"
        )
    with get_client(sync_client=True) as client:
        there = str(client.request("GET", "/admin/version").json())
    here = prefect.__version__
    if there.split(".")[:2] != here.split(".")[:2]:
        raise PlatformError(
            f"Prefect here and its server must be of one version; here is {here}, there {there}: "
            "install the server's, within reconad's bounds"
        )
    return f"answers, {there}"


def check_work_pool(client: SyncPrefectClient, name: str) -> str:
    """Look for a worker.

    Raises:
        PlatformError: the pool is not there or paused, or no worker of it is up.
    """
    start = f"prefect worker start --pool {name}"
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        raise PlatformError(
            f"runs go through the work pool {name}; there is none: reconad deploy"
        ) from None
    if pool.is_paused:
        raise PlatformError(
            f"the work pool {name} must run; it is paused: prefect work-pool resume {name}"
        )
    workers = client.read_workers_for_work_pool(name)
    online = [each.name for each in workers if each.status == WorkerStatus.ONLINE]
    if not online:
        raise PlatformError(f"a worker must serve the work pool {name}; none is up: {start}")
    return f"{name}: {len(online)} up"


def check_deployments(settings: Settings) -> str:
    """Hold what runs in Prefect against the settings file, whoever deployed it.

    Raises:
        PlatformError: something is missing or too much, or runs otherwise.
    """
    changes = list(_of_what_runs(deploy(settings, is_dry=True)))
    if changes:
        named = ", ".join(str(each) for each in changes[:MOST_NAMED])
        more = ", ..." if len(changes) > MOST_NAMED else ""
        raise PlatformError(
            f"Prefect must have what the settings ask for; it would {named}{more}: reconad deploy"
        )
    return "as the settings ask for"


def _of_what_runs(changes: Iterable[Change]) -> Iterator[Change]:
    """Leave out what is as it should be, and differences that change nothing that runs."""
    for change in changes:
        is_of_others = "tags" in change.differing  # it lacks that of `reconad deploy`
        counted = WHAT_RUNS if is_of_others else OF_ITS_OWN
        differing = tuple(each for each in change.differing if each in counted)
        if change.verb in (Verb.CREATE, Verb.REMOVE) or differing:
            yield replace(change, differing=differing)
