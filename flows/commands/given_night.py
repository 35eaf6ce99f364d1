"""The night of a command that may be left out."""

from datetime import date

from flows.jobs.product import open_product
from reconad_plugin.config import parse_night
from reconad_plugin.errors import ConfigError
from reconad_plugin.ledger.manifest import known_nights


def find_night(product_name: str, night: str | None) -> date:
    """Return the night that was given, else the last one that was taken in.

    Raises:
        ConfigError: no night was given, and none was taken in.
    """
    if night is not None:
        return parse_night(night)
    product = open_product(product_name)
    nights = known_nights(product.store, product.layout, before=date.max)
    if not nights:
        raise ConfigError(
            f"a night is needed, and {product.name} has taken none in: pass --night YYYY-MM-DD"
        )
    return nights[-1]
