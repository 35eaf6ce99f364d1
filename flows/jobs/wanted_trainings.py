"""The trainings that products wait for, where they share the minutes of a night."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from typing import Final

from flows.jobs.product import Product
from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.errors import DamagedRecordError, StorageError
from reconad_plugin.ledger.glance import READERS
from reconad_plugin.ledger.read_back import unless_damaged
from reconad_plugin.ledger.wanted_training import (
    Need,
    WantedTraining,
    change_wanted,
    read_wanted,
)
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore
from reconad_plugin.training.schedule import LONGEST_S

S_PER_MINUTE: Final = 60.0

_logger = logging.getLogger(__name__)


def want_training(product: Product, night: date, need: Need) -> None:
    """Note that a product needs a training; it keeps its turn where it waits for one already."""
    settings = product.settings
    minutes = may_last(settings.finetune if need is Need.DRIFT else settings.train)
    tonight = night.isoformat()
    wanted = WantedTraining(need, tonight, tonight, minutes)
    change_wanted(product.store, product.layout, wanted.asked_again)


def want_none(product: Product) -> None:
    """Note that a product needs no training any more, such as after a person started one."""
    change_wanted(
        product.store,
        product.layout,
        lambda before: before.done() if before is not None and before.is_open else None,
    )


def may_last(training: TrainingSettings) -> float:
    """Return the minutes that a training may last.

    Example:
        >>> may_last(TrainingSettings(budget_s=300)), may_last(TrainingSettings())
        (5.0, 60.0)
    """
    return (training.budget_s or LONGEST_S) / S_PER_MINUTE


def read_trainings(store: ObjectStore, products: Sequence[str]) -> dict[str, WantedTraining | None]:
    """Return product -> the training that it asked for last. One whose note cannot be read is left
    out, with a warning."""
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(partial(_read, store), products))
    return dict(each for each in found if each is not None)


def read_open_training(product: Product) -> WantedTraining | None:
    """Return the training that a product waits for; None too, with a warning, where its note is
    damaged.

    Raises:
        StorageError: the note cannot be had.
    """
    wanted = unless_damaged(partial(read_wanted, product.store, product.layout))
    return wanted if wanted is not None and wanted.is_open else None


def open_trainings(
    trainings: Mapping[str, WantedTraining | None],
) -> dict[str, WantedTraining]:
    """Return those that wait still or are at work; who goes first stands first."""
    waiting = {name: each for name, each in trainings.items() if each is not None and each.is_open}
    return dict(sorted(waiting.items(), key=lambda item: (item[1].rank or item[1].since, item[0])))


def keep_training(store: ObjectStore, product: str, wanted: WantedTraining) -> None:
    """Keep what became of the training that a product asked for."""
    change_wanted(store, ProductLayout(product), lambda before: wanted)


def _read(store: ObjectStore, product: str) -> tuple[str, WantedTraining | None] | None:
    try:
        return product, read_wanted(store, ProductLayout(product))
    except (DamagedRecordError, StorageError) as error:
        _logger.warning("what training %s waits for cannot be read: %s", product, error)
        return None
