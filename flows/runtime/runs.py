"""Starts runs of deployments, each once, and waits for their ends."""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterIdempotencyKey,
)
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from reconad_plugin.errors import PlatformError

FINETUNE: Final = "finetune/on-drift"  # the deployment that fine-tunes any product
ASK_EVERY_S: Final = 5.0
HANGS_AFTER: Final = timedelta(hours=3)  # beyond what it may last
STUCK_AFTER: Final = timedelta(hours=2)  # without one that works: longer than most trainings


@dataclass(frozen=True)
class Started:
    """A run that was started, or found under its key."""

    product: str
    id: UUID
    may_last: timedelta = timedelta(0)


def start(deployment: str, parameters: Mapping[str, Any], key: str) -> UUID:
    """Start a run of a deployment and return its id; where its flow was started under the key
    before, of that run.

    Raises:
        PlatformError: Prefect has no such deployment, or one that does not take the parameters.
    """
    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(deployment)
            run = client.create_flow_run_from_deployment(
                found.id, parameters=dict(parameters), idempotency_key=key
            )
        except (ObjectNotFound, ObjectAlreadyExists, httpx.HTTPStatusError) as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.is_server_error:
                raise
            raise PlatformError(
                f"Prefect must have {deployment} as reconad makes it; it does not: reconad deploy"
            ) from error
    return run.id


def find_run(key: str) -> FlowRun | None:
    """Find the run that was started under a key."""
    of_key = FlowRunFilterIdempotencyKey(any_=[key])
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=FlowRunFilter(idempotency_key=of_key))
    return max(found, key=lambda run: run.created or datetime.min.replace(tzinfo=UTC), default=None)


def keep_busy(
    most: int,
    begin: Callable[[], Started | None],
    end: Callable[[Started, FlowRun | None], None],
) -> None:
    """Keep so many runs in flight until there are no more.

    Args:
        most: runs at the same time.
        begin: starts the next; None where there is none now. Asked again after each end.
        end: takes in how one ended, or that it hangs, and then is waited for no more: its run, or
            None where somebody deleted it.

    Raises:
        PlatformError: for two hours no worker took any of them, or Prefect did not answer.
    """
    in_flight = dict[UUID, Started]()
    idle_since = time.monotonic()
    while True:
        ended, is_at_work = dict[UUID, FlowRun | None](), False
        with suppress(httpx.TransportError, httpx.HTTPStatusError):  # it may be back in a minute
            while len(in_flight) < most and (started := begin()) is not None:
                in_flight[started.id] = started
            if not in_flight:
                return
            runs = _read(in_flight)
            over = [id for id, each in in_flight.items() if _is_over(runs.get(id), each)]
            ended = {id: runs.get(id) for id in over}
            is_at_work = any(_is_at_work(run) for run in runs.values())
        for id, run in ended.items():
            end(in_flight.pop(id), run)
        if ended or is_at_work:
            idle_since = time.monotonic()
        elif time.monotonic() - idle_since > STUCK_AFTER.total_seconds():
            raise PlatformError(_nobody_works(in_flight.values()))
        if not ended:
            time.sleep(ASK_EVERY_S)


def has_done_well(run: FlowRun | None) -> bool:
    """Say whether a run did what it was to do."""
    return run is not None and run.state is not None and run.state.is_completed()


def is_final(run: FlowRun) -> bool:
    """Say whether a run has ended, one way or the other."""
    return run.state is not None and run.state.is_final()


def minutes_of(run: FlowRun | None) -> float:
    """Return how long a run has worked."""
    return 0.0 if run is None else run.estimated_run_time.total_seconds() / 60


def describe_end(run: FlowRun | None) -> str:
    """Say in a line how a run ended."""
    if run is None:
        return "somebody deleted its run"
    if run.state is None or not run.state.is_final():
        return f"it hangs, and is waited for no more: see its run {run.name} in Prefect"
    said = (run.state.message or "").splitlines() or [""]
    return f"{run.state.name}: {said[0]}"


def _read(ids: Collection[UUID]) -> dict[UUID, FlowRun]:
    ours = FlowRunFilter(id=FlowRunFilterId(any_=list(ids)))
    with get_client(sync_client=True) as client:
        return {run.id: run for run in client.read_flow_runs(flow_run_filter=ours)}


def _is_over(run: FlowRun | None, started: Started) -> bool:
    """Say whether a run is not to be waited for any more."""
    if run is None or is_final(run):
        return True
    since = None if run.state is None else run.state.timestamp
    if since is None or not _is_at_work(run):
        return False
    return datetime.now(UTC) - since > started.may_last + HANGS_AFTER


def _is_at_work(run: FlowRun) -> bool:
    """Say whether a worker has taken a run."""
    return run.state is not None and not run.state.is_scheduled()


def _nobody_works(waiting: Collection[Started]) -> str:
    return (
        f"a worker must take the runs of the night; none has taken any of {len(waiting)} for "
        f"{STUCK_AFTER}: start one, whose --limit leaves room beside the dispatcher's own run, and "
        "dispatch the night again"
    )
