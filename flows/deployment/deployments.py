"""Compares the deployments of Prefect with those that are wanted."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow
from prefect.utilities.importtools import import_object
from prefect.workers.process import ProcessWorker

from flows.deployment.changes import Change, Verb
from flows.deployment.wanted import MADE, TRAININGS, WantedDeployment

PAGE: Final = 200
DEFAULT_QUEUE: Final = "default"  # as Prefect makes it with each pool
QUIET: Final = {"env": {"DO_NOT_TRACK": "true"}}


def work_pool_change(client: SyncPrefectClient, name: str) -> Change:
    """Make a pool of processes where there is none; another is left as it is."""
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        pool = WorkPoolCreate(name=name, type="process", base_job_template=template)
        return Change(Verb.CREATE, "work pool", name, lambda: client.create_work_pool(pool))
    return Change(Verb.KEEP, "work pool", name)


def work_queue_change(client: SyncPrefectClient, pool: str, most: int) -> Change:
    """Let so many trainings of a pool run at the same time, whoever starts them."""
    make = partial(client.create_work_queue, TRAININGS, concurrency_limit=most, work_pool_name=pool)
    title = f"{pool}/{TRAININGS}"
    try:
        found = client.read_work_queue_by_name(TRAININGS, work_pool_name=pool)
    except ObjectNotFound:
        return Change(Verb.CREATE, "work queue", title, make)
    if found.concurrency_limit == most:
        return Change(Verb.KEEP, "work queue", title)
    change = partial(client.update_work_queue, found.id, concurrency_limit=most)
    return Change(Verb.UPDATE, "work queue", title, change, found.id, ("concurrency_limit",))


def deployment_change(
    client: SyncPrefectClient, wanted: WantedDeployment, pool: str, folder: str
) -> Change:
    """Say what to do about one deployment; its ``make`` returns its id."""
    flow: Flow[..., Any] = import_object(wanted.flow)
    fields = _fields(wanted, flow, pool, folder)
    schedules = _schedules(wanted)
    try:
        found = client.read_deployment_by_name(wanted.name)
    except ObjectNotFound:
        found = None
    if wanted.queue is not None:
        fields["work_queue_name"] = wanted.queue
    elif found is not None and found.work_queue_name == TRAININGS:  # products shared a night before
        fields["work_queue_name"] = DEFAULT_QUEUE

    def make() -> object:
        return client.create_deployment(
            client.create_flow(flow),
            wanted.own_name,
            schedules=schedules if found is None else _as_paused(schedules, found),
            paused=None if found is None else found.paused,
            **fields,
        )

    if found is None:
        return Change(Verb.CREATE, "deployment", wanted.name, make)
    known = _known_fields(found)
    differing = [name for name, value in fields.items() if known[name] != value]
    if [each.schedule for each in schedules] != [each.schedule for each in found.schedules]:
        differing.append("schedule")
    if differing:
        return Change(Verb.UPDATE, "deployment", wanted.name, make, found.id, tuple(differing))
    return Change(Verb.KEEP, "deployment", wanted.name, id=found.id)


def removed_deployments(
    client: SyncPrefectClient, wanted: Sequence[WantedDeployment]
) -> Iterator[Change]:
    """Find deployments that were made for products, or foundations, that are no more."""
    names = {each.name for each in wanted}
    for found in _made_before(client):
        name = f"{client.read_flow(found.flow_id).name}/{found.name}"
        if name not in names:
            yield Change(
                Verb.REMOVE, "deployment", name, partial(client.delete_deployment, found.id)
            )


def _made_before(client: SyncPrefectClient) -> list[DeploymentResponse]:
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[MADE]))
    found: list[DeploymentResponse] = []
    while page := client.read_deployments(deployment_filter=ours, limit=PAGE, offset=len(found)):
        found += page
    return found


def _fields(
    wanted: WantedDeployment, flow: Flow[..., Any], pool: str, folder: str
) -> dict[str, Any]:
    return {
        "entrypoint": wanted.flow,
        "description": wanted.description,
        "parameters": dict(wanted.parameters),
        "parameter_openapi_schema": flow.parameters.model_dump_for_openapi(),
        "enforce_parameter_schema": True,
        "concurrency_limit": wanted.most_runs,
        "work_pool_name": pool,
        "job_variables": QUIET,
        "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": folder}}],
        "tags": [MADE],
    }


def _known_fields(found: DeploymentResponse) -> dict[str, object]:
    limit = found.global_concurrency_limit
    names = "entrypoint description parameters parameter_openapi_schema enforce_parameter_schema"
    names += " work_pool_name work_queue_name job_variables pull_steps tags"
    known = {name: getattr(found, name) for name in names.split()}
    return {**known, "concurrency_limit": None if limit is None else limit.limit}


def _schedules(wanted: WantedDeployment) -> list[DeploymentScheduleCreate]:
    if wanted.cron is None:
        return []
    schedule = CronSchedule(cron=wanted.cron, timezone=wanted.timezone)
    return [DeploymentScheduleCreate(schedule=schedule)]


def _as_paused(
    schedules: list[DeploymentScheduleCreate], found: DeploymentResponse
) -> list[DeploymentScheduleCreate]:
    """Keep schedules paused that a person paused."""
    is_paused = bool(found.schedules) and not any(each.active for each in found.schedules)
    return [each.model_copy(update={"active": not is_paused}) for each in schedules]
