"""Looks at the bucket: whether reconad may do there what it has to, and each product's nights."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from flows.jobs.product import Product
from reconad_plugin.config.product import ProductSettings
from reconad_plugin.errors import ConfigError
from reconad_plugin.store.arrivals import arrived_nights
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore

TIME_OF_A_NIGHT: Final = timedelta(hours=3)  # with a training in it
PROBE: Final = b"reconad doctor may write here.\n"


def check_rights(store: ObjectStore, products: Sequence[str]) -> str:
    """List, read and write as a night does; the small object that this writes stays.

    Raises:
        StorageError: the bucket is not there, or something is refused.
    """
    for product in products:
        layout = ProductLayout(product)
        for info in islice(store.list_objects(layout.arrivals), 1):
            store.read(info.key)
        store.write(layout.probe, PROBE, "text/plain")
    return f"list, read and write under {', '.join(products)}"


def nights_due(settings: ProductSettings, now: datetime) -> date:
    """Return the day before which each night should have been run by now, by the product's clock.

    Example:
        >>> nights_due(ProductSettings(), datetime.fromisoformat("2026-05-02T01:00Z"))
        datetime.date(2026, 5, 1)
    """
    hour, minute = map(int, settings.nightly_at.split(":"))
    lasting = timedelta(hours=hour, minutes=minute) + TIME_OF_A_NIGHT
    return (now.astimezone(ZoneInfo(settings.timezone)) - lasting).date()


def check_nights(product: Product, due: date) -> str:
    """Look at the last night of a product, of those before the day ``due``.

    Raises:
        ConfigError: nothing has arrived, or nights that have images were never run.
    """
    arrived = [night for night in arrived_nights(product.store, product.layout) if night < due]
    if not arrived:
        raise ConfigError(
            f"pictures must lie in {product.layout.arrivals}YYYY-MM-DD/; before {due} there are "
            "none: let the factory put them there"
        )
    if missed := product.nights_never_run(before=due):
        raise ConfigError(
            f"nights with images must be run; {len(missed)} never were, {missed[0]} to "
            f"{missed[-1]}: reconad nightly {product.name} {missed[0]}, and see its runs in Prefect"
        )
    record = product.records.record(arrived[-1])
    said = (
        "taken in"
        if record is None
        else f"alarm, {record.cause}"
        if record.is_alarm
        else "no alarm"
    )
    return f"{arrived[-1]}: {said}"
