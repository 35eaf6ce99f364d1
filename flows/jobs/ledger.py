"""The ledger of a product: its nights from the bucket, its versions from the registry."""

import logging
from collections.abc import Sequence

from flows.jobs.product import Product, open_product
from mlflow_models import registry
from reconad_plugin.errors import ReconadError
from reconad_plugin.ledger.glance import Glance, write_glance
from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.ledger import Ledger, read_ledger
from reconad_plugin.store.golden_images import read_golden_images

_logger = logging.getLogger(__name__)


def sync_history(product: Product, versions: Sequence[registry.Version] | None = None) -> History:
    """Take what the registry says now into the history that is kept in the bucket.

    What the registry no longer has stays as it was last seen, so that nothing that people delete
    there makes an image more trusted.

    Args:
        product: the product.
        versions: as the registry has them, where they were just read.
    """
    kept = product.records.history()
    history = (kept or History()).updated(registry.read_facts(product.name, versions))
    if history != kept:
        product.records.write_history(history)
    return history


def see_history(product: Product) -> History:
    """Return the history as it would be kept now, and keep nothing."""
    kept = product.records.history() or History()
    return kept.updated(registry.read_facts(product.name))


def read_history(product: Product) -> History:
    """Return the history as it is kept; where there is none yet, what the registry says."""
    return product.records.history() or sync_history(product)


def open_ledger(product: Product, history: History) -> Ledger:
    """Take a snapshot of a product's nights for the watch, and for people."""
    return read_ledger(product.store, product.layout, product.records, history)


def open_ledger_to_train(product: Product) -> Ledger:
    """Take a snapshot of a product's nights for a training, which golden images must not enter."""
    golden = read_golden_images(product.store, product.cache, product.layout, product.limits)
    history = sync_history(product)
    return read_ledger(
        product.store, product.layout, product.records, history, frozenset(golden.hashes)
    )


def note_glance(name: str) -> None:
    """Keep how a product stands now, for whoever sees many at once. What was done is done: where
    this fails, a warning says so, and the next night notes it."""
    try:
        product = open_product(name)
        ledger = open_ledger(product, read_history(product))
        champion = registry.number_by_alias(name, registry.CHAMPION)
        write_glance(product.store, product.layout, Glance.of(name, ledger, champion))
    except ReconadError as error:
        _logger.warning("how %s stands could not be noted for `reconad status`: %s", name, error)
