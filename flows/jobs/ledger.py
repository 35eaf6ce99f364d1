"""The ledger of a product: its nights from the bucket, its versions from the registry."""

from collections.abc import Sequence

from flows.jobs.product import Product
from mlflow_models import registry
from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.ledger import Ledger, read_ledger
from reconad_plugin.store.golden_images import read_golden_images


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
