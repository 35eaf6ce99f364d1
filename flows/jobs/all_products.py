"""How all products of the settings stand."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial

from flows.jobs.wanted_trainings import open_trainings, read_trainings
from reconad_plugin.config.settings import load_settings
from reconad_plugin.errors import DamagedRecordError, ReconadError, StorageError
from reconad_plugin.ledger.glance import READERS, Glance, read_glance
from reconad_plugin.ledger.wanted_training import WantedTraining
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore

_logger = logging.getLogger(__name__)


def show_on_dashboard() -> None:
    """Put how all products stand on their common dashboard, where there are several, as of the
    newest night of any. What led here is done: where this fails, a warning says so, and the next
    night puts it there."""
    settings = load_settings()
    if len(settings.products) == 1:
        return
    from monitoring.all_products import add_glances
    from monitoring.workspace import open_workspace

    try:
        glances = read_glances()
        newest = max((each.night for each in glances if each.night), default=None)
        if newest is not None:
            workspace = open_workspace(settings.monitoring.workspace)
            add_glances(workspace, date.fromisoformat(newest), glances)
    except Exception as error:  # Evidently's servers and folders raise almost anything
        _logger.warning("the dashboard of all products could not be renewed: %r", error)


def read_glances() -> list[Glance]:
    """Read how all products of the settings stood when that was last noted: first those whose note
    cannot be read, then those that need a person, then by name.

    Raises:
        StorageError: no note can be had.
        ConfigError: there is no settings file, or it breaks a rule.
    """
    settings = load_settings()
    store = ObjectStore(settings.storage)
    layouts = [ProductLayout(name) for name in sorted(settings.products)]
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(partial(_read, store), layouts))
    refused = [each for each in found if isinstance(each, StorageError)]
    if refused and len(refused) == len(found):
        raise refused[0]
    glances = [
        each if isinstance(each, Glance) else Glance(layout.product, error=str(each))
        for each, layout in zip(found, layouts, strict=True)
    ]
    return sorted(glances, key=lambda each: (not each.error, not each.needs_a_person, each.product))


def read_waiting_trainings() -> dict[str, WantedTraining]:
    """Return product -> the training that it waits for, of those that share a night; who goes first
    stands first."""
    settings = load_settings()
    return open_trainings(read_trainings(ObjectStore(settings.storage), settings.dispatched))


def _read(store: ObjectStore, layout: ProductLayout) -> Glance | ReconadError:
    try:
        return read_glance(store, layout)
    except (DamagedRecordError, StorageError) as error:
        return error
