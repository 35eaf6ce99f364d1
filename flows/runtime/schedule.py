"""Which night a scheduled run is for."""

from collections.abc import Sequence
from datetime import UTC, date, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import DeploymentSchedule, FlowRun
from prefect.context import FlowRunContext

ONE_DAY: Final = timedelta(days=1)


def night_before_run() -> date:
    """Return the day before the one that this flow run was scheduled for, in the time zone of its
    schedule; a run that no deployment made counts in UTC."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("the night before a run is known within a flow run alone")
    run = context.flow_run
    if run.deployment_id is None:
        return night_before(run, [])
    with get_client(sync_client=True) as client:
        return night_before(run, client.read_deployment_schedules(run.deployment_id))


def night_before(run: FlowRun, schedules: Sequence[DeploymentSchedule]) -> date:
    """Return the day before a run's, by the schedule that made it.

    Where a person started it, or its schedule was replaced since, the schedules of its deployment
    decide if they agree on a time zone, else UTC.
    """
    if run.expected_start_time is None:
        raise RuntimeError("a flow run has a time that it was scheduled for; this one has none")
    mine = [each for each in schedules if run.created_by and each.id == run.created_by.id]
    zones = {getattr(each.schedule, "timezone", None) or "UTC" for each in mine or schedules}
    zone = ZoneInfo(zones.pop()) if len(zones) == 1 else UTC
    return run.expected_start_time.astimezone(zone).date() - ONE_DAY
