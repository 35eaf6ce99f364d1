"""Brings Prefect to what the settings file says, for all products at once."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL

from flows.deployment.automations import automation_changes
from flows.deployment.changes import Change
from flows.deployment.deployments import (
    deployment_change,
    removed_deployments,
    work_pool_change,
    work_queue_change,
)
from flows.deployment.targets import block_changes, silence_actions
from flows.deployment.wanted import wanted_automations, wanted_deployments
from reconad_plugin.config.settings import Settings, settings_path
from reconad_plugin.errors import ConfigError

HOME_VARIABLE = "RECONAD_HOME"


def deploy(settings: Settings, is_dry: bool) -> Iterator[Change]:
    """Make, one after the other, what the settings ask for in Prefect; give each change.

    Run again it changes nothing. What others made in Prefect is left alone.

    Args:
        settings: of all products.
        is_dry: whether changes are said and not made.

    Raises:
        ConfigError: no server is named, or the address of somebody who gets messages is missing;
            nothing was changed.
    """
    if not PREFECT_API_URL.value():
        raise ConfigError(
            "deployments are for a Prefect server; PREFECT_API_URL is not set: export "
            "PREFECT_API_URL=http://HOST:4200/api"
        )
    with get_client(sync_client=True) as client:
        yield from _deploy(client, settings, is_dry)


def _deploy(client: SyncPrefectClient, settings: Settings, is_dry: bool) -> Iterator[Change]:
    blocks = block_changes(client, settings, os.environ)
    pool, folder = settings.deploy.work_pool, str(working_folder(os.environ))
    yield from _each_made([work_pool_change(client, pool)], is_dry)
    if settings.night is not None and settings.dispatched:
        queue = work_queue_change(client, pool, settings.night.trainings_at_once)
        yield from _each_made([queue], is_dry)
    wanted = wanted_deployments(settings)
    ids = dict[str, UUID]()
    for each in wanted:
        change = deployment_change(client, each, pool, folder)
        ids[each.name] = change.done(is_dry)
        yield change
    used = dict[str, UUID]()
    for name, changes in blocks.items():
        for block in changes:
            used[name] = block.done(is_dry)
            yield block
    automations = wanted_automations(settings, ids, silence_actions(settings, used))
    yield from _each_made(automation_changes(client, automations), is_dry)
    yield from _each_made(removed_deployments(client, wanted), is_dry)


def working_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder that workers run in: ``RECONAD_HOME``, else that of the settings file."""
    home = environment.get(HOME_VARIABLE)
    return Path(home).absolute() if home else settings_path(environment).absolute().parent


def _each_made(changes: Iterable[Change], is_dry: bool) -> Iterator[Change]:
    for change in changes:
        change.done(is_dry)
        yield change
