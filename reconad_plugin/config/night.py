"""When the nights are run, and how products share them."""

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, StringConstraints

from reconad_plugin.config.base import Frozen, Positive


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"timezone must be one such as 'Europe/Berlin'; got {name!r}") from None
    return name


# when the day before is run, by the clock of the factory. Not from midnight to one: where summer
# time begins at midnight, that hour is planned for the day before
NightlyAt = Annotated[str, StringConstraints(pattern="^(0[1-9]|1[0-9]|2[0-3]):[0-5][0-9]$")]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
_Many = Annotated[int, Field(ge=1, le=100)]  # Prefect's workers stall on 200 runs that wait


class NightSettings(Frozen):
    """The night that products without a time of their own share."""

    nightly_at: NightlyAt = "02:00"
    timezone: TimeZone = "UTC"
    at_once: _Many = 4  # nightly runs
    training_minutes: Positive = 240.0  # of a night, for all trainings together
    trainings_at_once: _Many = 1
