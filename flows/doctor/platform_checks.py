"""The checks of servers, bucket and products, which import what a night imports."""

import os
from collections.abc import Iterator
from datetime import date, datetime
from functools import partial
from pathlib import Path

from prefect import get_client
from prefect.settings import PREFECT_API_URL

from flows.deployment.deploy import working_folder
from flows.doctor.bucket import check_nights, check_rights, nights_due
from flows.doctor.findings import Check
from flows.doctor.machine import check_clocks, check_disk
from flows.doctor.platforms import (
    check_deployments,
    check_experiment,
    check_mlflow,
    check_prefect,
    check_work_pool,
)
from flows.jobs.product import open_product
from mlflow_models.server import web_address
from reconad_plugin.config.settings import Settings
from reconad_plugin.store.objects import ObjectStore


def list_platform_checks(settings: Settings | None, now: datetime) -> Iterator[Check]:
    """List the checks of disk, clocks and servers; with settings, those of what they name."""
    yield Check("disk", lambda: check_disk(_folders(settings)))
    yield Check("clocks", lambda: check_clocks(_servers(settings)))
    yield Check("MLflow", check_mlflow)
    yield Check("Prefect", check_prefect)
    if settings is not None:
        yield from _of_settings(settings, now)


def _of_settings(settings: Settings, now: datetime) -> Iterator[Check]:
    yield Check("work pool", lambda: _check_pool(settings.deploy.work_pool))
    yield Check("deployments", lambda: check_deployments(settings))
    for name in settings.products:
        due = nights_due(settings, name, now)
        yield Check(f"{name}: bucket", partial(_check_rights, settings, name))
        yield Check(f"{name}: experiment", partial(check_experiment, name))
        yield Check(f"{name}: last night", partial(_check_nights, name, due))


def _check_pool(name: str) -> str:
    with get_client(sync_client=True) as client:
        return check_work_pool(client, name)


def _check_rights(settings: Settings, name: str) -> str:
    return check_rights(ObjectStore(settings.storage), name)


def _check_nights(name: str, due: date) -> str:
    return check_nights(open_product(name), due)


def _folders(settings: Settings | None) -> dict[str, Path]:
    folders = {"the working folder": working_folder(os.environ)}
    return (
        folders if settings is None else folders | {"storage.cache_dir": settings.storage.cache_dir}
    )


def _servers(settings: Settings | None) -> dict[str, str]:
    """Return name -> address of the servers that have clocks."""
    storage = None if settings is None else ObjectStore(settings.storage).endpoint
    known = {"S3": storage, "MLflow": web_address(), "Prefect": PREFECT_API_URL.value()}
    return {name: address for name, address in known.items() if address}
