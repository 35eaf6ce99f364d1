"""What has to stay when a product is tidied up.

Records stay always: what a picture may be used for hangs on them. These rules are about what is
large beside them, in MLflow: what was drawn of a night, and the weights of versions.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import date
from typing import Final

from reconad_plugin.ledger.history import REJECTED, VersionFacts
from reconad_plugin.ledger.ledger import Ledger

OPEN_ALARM: Final = "their alarm is open"
WAITING: Final = "images of them wait for a person"
SERVED: Final = "they served"
NAMED: Final = "an alias, an alias move or a record names them"
NOT_REJECTED: Final = "they were not rejected"


def staying_nights(ledger: Ledger, newest: int) -> Callable[[str], str | None]:
    """Return what says why the drawings of a night, ``YYYY-MM-DD``, stay; None: they may go.

    Args:
        ledger: of the product.
        newest: how many nights stay in any case.
    """
    nights = sorted(ledger.manifests)[-newest:]
    first = nights[0].isoformat() if nights else ""
    alarm, waiting = ledger.open_alarm(date.max), ledger.waiting_images()

    def why(night: str) -> str | None:
        if night >= first:
            return f"they are the newest {newest}"
        if alarm is not None and night >= alarm.since:
            return OPEN_ALARM
        return WAITING if night in waiting else None

    return why


def staying_versions(
    ledger: Ledger, versions: Iterable[VersionFacts], named: Collection[str], newest: int
) -> dict[str, str]:
    """Return why the weights of versions stay, by number; those of the others may go.

    Only a version that the gate refused, and that never served, may go: no night was scored by it,
    and no rollback leads to it.

    Args:
        ledger: of the product.
        versions: as the registry has them now, with their weights.
        named: numbers that an alias or an alias move names.
        newest: how many rejected versions stay in any case.
    """
    records = [ledger.records.get(night) for night in ledger.records]
    named = {*named, *(each.model_version for each in records if each is not None)}
    served = {(each.number, each.run_id) for each in ledger.history.versions if each.has_served}
    alarm = ledger.open_alarm(date.max)

    def why(each: VersionFacts) -> str | None:
        if each.has_served or (each.number, each.run_id) in served:
            return SERVED
        if each.number in named:
            return NAMED
        if each.state != REJECTED:
            return NOT_REJECTED
        return OPEN_ALARM if alarm is not None and each.night >= alarm.since else None

    reasons = {each.number: why(each) for each in versions}
    free = sorted((number for number, reason in reasons.items() if reason is None), key=int)
    if newest:
        reasons |= dict.fromkeys(free[-newest:], f"they are the newest {newest} rejected ones")
    return {number: reason for number, reason in reasons.items() if reason is not None}
