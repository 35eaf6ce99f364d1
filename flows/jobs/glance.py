"""How each product stands, for whoever sees many of them at once."""

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from flows.jobs.ledger import open_ledger, read_history
from flows.jobs.product import Product, open_product
from mlflow_models import registry
from reconad_plugin.config import load_settings
from reconad_plugin.errors import ReconadError
from reconad_plugin.ledger.glance import Glance, read_glance, write_glance
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore

READERS: Final = 16  # of small objects at once

_logger = logging.getLogger(__name__)


def see_product(product: Product) -> Glance:
    """Sum up how a product stands now."""
    ledger = open_ledger(product, read_history(product))
    return Glance.of(
        product.name, ledger, registry.number_by_alias(product.name, registry.CHAMPION)
    )


def note_glance(name: str) -> None:
    """Keep how a product stands now. What was done is done: where this fails, a warning says so,
    and the next night notes it."""
    try:
        product = open_product(name)
        write_glance(product.store, product.layout, see_product(product))
    except ReconadError as error:
        _logger.warning("how %s stands could not be noted for `reconad status`: %s", name, error)


def read_glances() -> list[Glance]:
    """Read how all products of the settings stood when that was last noted, those that need a
    person first, then by name.

    Raises:
        StorageError: the bucket cannot be read.
        ConfigError: there is no settings file, or it breaks a rule.
    """
    settings = load_settings()
    store = ObjectStore(settings.storage)
    layouts = [ProductLayout(name) for name in sorted(settings.products)]
    with ThreadPoolExecutor(READERS) as pool:
        glances = list(pool.map(partial(read_glance, store), layouts))
    return sorted(glances, key=lambda each: (not each.needs_a_person, each.product))
