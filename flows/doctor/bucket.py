"""Looks at the bucket: whether reconad may do there what it has to, and each product's nights."""

from datetime import date, datetime, timedelta
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from flows.jobs.product import Product
from reconad_plugin.config.settings import Settings
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.names import printable
from reconad_plugin.store.arrivals import arrived_nights
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore

MOST_LISTED: Final = 100  # objects of a night, of which the smallest is read
TIME_OF_A_NIGHT: Final = timedelta(hours=3)  # with a training in it
TIME_OF_A_SHARED_NIGHT: Final = timedelta(hours=20)  # of many products, which take turns
PROBE: Final = b"reconad doctor may write here.\n"


def check_rights(store: ObjectStore, product: str) -> str:
    """List, read and write as a night of a product does; the small object that this writes stays.

    Raises:
        StorageError: the bucket is not there, or something is refused.
    """
    layout = ProductLayout(product)
    for night in reversed(arrived_nights(store, layout)):  # old ones may be archived
        found = islice(store.list_objects(layout.incoming(night)), MOST_LISTED)
        smallest = min(found, key=lambda info: info.size_bytes, default=None)
        if smallest is not None:
            store.read(smallest.key)
            break
    store.write(layout.probe, PROBE, "text/plain")
    return f"list, read and write under {layout.root}"


def nights_due(settings: Settings, product: str, now: datetime) -> date:
    """Return the day before which each night of a product should have been run by now, by its
    clock."""
    at, timezone = settings.clock_of(product)
    hour, minute = map(int, at.split(":"))
    is_dispatched = product in settings.dispatched
    lasting = TIME_OF_A_SHARED_NIGHT if is_dispatched else TIME_OF_A_NIGHT
    until = now.astimezone(ZoneInfo(timezone)) - timedelta(hours=hour, minutes=minute)
    return (until - lasting).date()


def check_nights(product: Product, due: date) -> str:
    """Look at the last night of a product, of those before the day ``due``.

    Raises:
        ConfigError: pictures are gone or lie elsewhere, or nights that have images were never run.
    """
    arrived = arrived_nights(product.store, product.layout)
    if not arrived:
        return _say_nothing_came(product)
    if arrived[0] >= due:
        return f"the first night, {arrived[0]}, is not due yet"
    if missed := product.nights_never_run(before=due):
        raise ConfigError(
            f"nights with images must be run; {len(missed)} never were, {missed[0]} to "
            f"{missed[-1]}: reconad nightly {product.name} {missed[0]}, and see its runs in Prefect"
        )
    last = max(night for night in arrived if night < due)
    record = product.records.record(last)
    said = (
        "taken in"
        if record is None
        else f"alarm, {record.cause}"
        if record.is_alarm
        else "no alarm"
    )
    return f"{last}: {said}"


def _say_nothing_came(product: Product) -> str:
    beside = product.objects_beside()
    if beside or product.known_nights():
        where = ", ".join(f"{printable(folder)} has {count}" for folder, count in beside.items())
        raise ConfigError(
            f"pictures must lie in {product.layout.arrivals}YYYY-MM-DD/; there are none"
            f"{', and ' * bool(where)}{where}: let the factory put them there"
        )
    return f"nothing has come to {product.layout.arrivals} yet"
