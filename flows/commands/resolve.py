"""A person ends an alarm: what is seen from a night on is normal now."""

from datetime import date

from flows.commands.options import ResolveOptions
from flows.jobs.product import open_product
from reconad_plugin.config import parse_night
from reconad_plugin.errors import ConfigError


def run(options: ResolveOptions) -> None:
    """End an alarm."""
    resolve_night(options.product, parse_night(options.night), options.note)


def resolve_night(product: str, night: date, note: str) -> None:
    """Accept the world as it was on a night: the watch compares later nights with it.

    What is learnt from does not change: the images of a held night still wait for their review.

    Args:
        product: a product of the settings file.
        night: a night with an open alarm.
        note: what the person found, kept with the night.

    Raises:
        ConfigError: the night has no alarm.
    """
    opened = open_product(product)
    record = opened.records.record(night)
    if record is None or not record.is_alarm:
        state = "was not watched" if record is None else "has none"
        raise ConfigError(
            f"only a night with an alarm can be resolved; {product} {night} {state}: "
            f"see `reconad status {product}`"
        )
    opened.records.resolve(night, note)
    print(
        f"{product} {night}: alarm about {record.cause} resolved; from this night on the level "
        "is normal"
    )
