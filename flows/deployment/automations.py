"""Compares the automations of Prefect with those that are wanted."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import Automation, AutomationCore

from flows.deployment.changes import Change, Verb
from flows.deployment.wanted import MADE

PAGE: Final = 200
_COMPARED: Final = ("description", "tags", "trigger", "actions")


def automation_changes(
    client: SyncPrefectClient, wanted: Sequence[AutomationCore]
) -> Iterator[Change]:
    """Say what to do about each automation: those that we made before and nobody needs any more
    are removed, those of others are left alone."""
    ours = [each for each in _read_all(client) if _is_ours(each, wanted)]
    for each in wanted:
        same = [found for found in ours if found.name == each.name]
        yield _change(client, each, same[0] if same else None)
        yield from (_removal(client, doubled) for doubled in same[1:])
    names = {each.name for each in wanted}
    yield from (_removal(client, found) for found in ours if found.name not in names)


def _change(client: SyncPrefectClient, wanted: AutomationCore, found: Automation | None) -> Change:
    if found is None:
        return Change(
            Verb.CREATE, "automation", wanted.name, partial(client.create_automation, wanted)
        )
    differing = tuple(name for name in _COMPARED if getattr(found, name) != getattr(wanted, name))
    if not differing:
        return Change(Verb.KEEP, "automation", wanted.name)
    content = {name: getattr(wanted, name) for name in ("name", *_COMPARED)}
    as_paused = AutomationCore(**content, enabled=found.enabled)  # its owner is set once for all
    make = partial(client.update_automation, found.id, as_paused)
    return Change(Verb.UPDATE, "automation", wanted.name, make, found.id, differing)


def _removal(client: SyncPrefectClient, found: Automation) -> Change:
    return Change(Verb.REMOVE, "automation", found.name, lambda: client.delete_automation(found.id))


def _is_ours(found: Automation, wanted: Sequence[AutomationCore]) -> bool:
    """Tell what we made by its tag, or, as `prefect.yaml` makes it, by what it starts."""
    twins = [each for each in wanted if each.name == found.name and each.owner_resource]
    return MADE in found.tags or any(_started(found) == _started(each) for each in twins)


def _started(automation: AutomationCore) -> set[UUID | None]:
    starting = [each for each in automation.actions if isinstance(each, RunDeployment)]
    return {each.deployment_id for each in starting}


def _read_all(client: SyncPrefectClient) -> list[Automation]:
    found: list[Automation] = []
    while page := client.read_automations(limit=PAGE, offset=len(found)):
        found += page
    return found
