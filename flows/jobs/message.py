"""What a message to people says: an event in a sentence, with a link and a picture."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mlflow_models.pages import Page, night_page, version_page
from reconad_plugin.config import event_names
from reconad_plugin.errors import ConfigError
from reconad_plugin.ledger.golden_figures import GOLDEN_FLOOR
from reconad_plugin.watch.cause import CAUSES

HELD, ALARM_OPENED, ALARM_ENDED = "held", "alarm_opened", "alarm_ended"
PROMOTED, REJECTED, ROLLED_BACK = "promoted", "rejected", "rolled_back"
NOT_RUN: Final = "not_run"
NO_PAGE: Final = Page(None)


@dataclass(frozen=True)
class Message:
    """What somebody is to know."""

    kinds: tuple[str, ...]  # what happened, in the words of ``notify.<name>.messages``
    product: str
    title: str  # on one line
    sentence: str  # why, and what to do
    night: str | None = None  # ``YYYY-MM-DD``
    cause: str | None = None  # of the alarm
    version: str | None = None  # that was promoted, refused or rolled back
    page: Page = NO_PAGE  # where to look

    def with_page(self) -> "Message":
        """Return the same message with MLflow's page of it, and a picture.

        Raises:
            Exception: MLflow does not answer; a message does without it.
        """
        if self.version is not None:
            return replace(self, page=version_page(self.product, self.version))
        if self.night is not None:
            return replace(self, page=night_page(self.product, self.night))
        return self


def compose(event: str, payload: Mapping[str, Any]) -> Message:
    """Write the message about an event, without its page.

    Raises:
        ConfigError: it is no event that people are told of.
    """
    writer = _WRITERS.get(event)
    if writer is None:
        raise ConfigError(
            f"messages are about {', '.join(_WRITERS)}; got {event!r}: leave it out of the trigger"
        )
    return writer(payload)


def night_missing(product: str, silent_after_h: float, pool: str) -> Message:
    """Write what is said where no night has ended for some hours."""
    return Message(
        (NOT_RUN,),
        product,
        f"{product}: no night has run",
        f"No night of {product} has ended in the last {silent_after_h:g} hours: it did not start, "
        f"hangs or failed. Look at its runs, and whether a worker is up: prefect worker start "
        f"--pool {pool}. reconad doctor names what is broken.",
    )


def _opened(payload: Mapping[str, Any]) -> Message:
    is_holding = bool(payload.get("is_holding"))
    kinds = (ALARM_OPENED, HELD) if is_holding else (ALARM_OPENED,)
    return _of_night(kinds, payload, f"alarm, {_causes(payload)}{', held' * is_holding}")


def _held(payload: Mapping[str, Any]) -> Message:
    return _of_night((HELD,), payload, f"held, {_causes(payload)}")


def _ended(payload: Mapping[str, Any]) -> Message:
    title = f"the alarm about {payload['cause']} since {payload['since']} has ended"
    return _of_night((ALARM_ENDED,), payload, title)


def _of_night(kinds: tuple[str, ...], payload: Mapping[str, Any], title: str) -> Message:
    product, night = str(payload["product"]), str(payload["night"])
    whole = f"{product} {night}: {title}"
    cause = str(payload["cause"])
    return Message(kinds, product, whole, str(payload["evidence"]), night, cause)


def _causes(payload: Mapping[str, Any]) -> str:
    return f"cause {', '.join([payload['cause'], *payload.get('also', ())])}"


def _promoted(payload: Mapping[str, Any]) -> Message:
    cause = payload.get("cause")
    is_answer = cause in CAUSES  # it was trained for an alarm
    kinds = (PROMOTED, ALARM_ENDED) if is_answer else (PROMOTED,)
    answer = f", which was trained for the alarm about {cause}" if is_answer else ""
    if cause == GOLDEN_FLOOR:
        answer = ", which was trained since the one before was below the golden floor"
    message = _of_version(kinds, payload, f"version {payload['version']} serves{answer}")
    return replace(message, cause=str(cause)) if is_answer else message


def _rejected(payload: Mapping[str, Any]) -> Message:
    return _of_version((REJECTED,), payload, f"version {payload['version']} was refused")


def _rolled_back(payload: Mapping[str, Any]) -> Message:
    title = f"version {payload['version']} was rolled back, version {payload['back_to']} serves"
    return _of_version((ROLLED_BACK,), payload, title)


def _of_version(kinds: tuple[str, ...], payload: Mapping[str, Any], title: str) -> Message:
    product, number = str(payload["product"]), str(payload["version"])
    night = str(payload["night"])
    whole = f"{product} {night}: {title}"
    return Message(kinds, product, whole, str(payload["reason"]), night, version=number)


_WRITERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Message]]] = {
    event_names.ALARM_OPENED: _opened,
    event_names.NIGHT_HELD: _held,
    event_names.ALARM_ENDED: _ended,
    event_names.MODEL_PROMOTED: _promoted,
    event_names.MODEL_REJECTED: _rejected,
    event_names.MODEL_ROLLED_BACK: _rolled_back,
}
EVENTS: Final = tuple(_WRITERS)  # that people are told of
