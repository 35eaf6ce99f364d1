"""A person ends an alarm: what is seen from a night on is normal now."""

from flows.commands.options import ResolveOptions
from flows.jobs.product import open_product
from flows.runtime.events import emit
from reconad_plugin.config.event_names import ALARM_ENDED
from reconad_plugin.config.names import parse_night
from reconad_plugin.errors import ConfigError
from reconad_plugin.ledger.glance import note_glance


def run(options: ResolveOptions) -> None:
    """Accept the world as it was on a night: the watch compares later nights with it.

    What is learnt from does not change: the images of a held night still wait for their review.

    Raises:
        ConfigError: the night has no alarm.
    """
    product, night = options.product, parse_night(options.night)
    opened = open_product(product)
    record = opened.records.record(night)
    if record is None or not record.is_alarm:
        state = "was not watched" if record is None else "has none"
        raise ConfigError(
            f"only a night with an alarm can be resolved; {product} {night} {state}: "
            f"see `reconad status {product}`"
        )
    opened.records.resolve(night, options.note)
    note_glance(opened.store, opened.layout)
    said = f"A person resolved it: {options.note}" if options.note else "A person resolved it."
    payload = {"night": record.night, "cause": record.cause, "since": record.began}
    emit(ALARM_ENDED, product, payload | {"evidence": said})
    print(
        f"{product} {night}: alarm about {record.cause} resolved; from this night on the level "
        "is normal"
    )
