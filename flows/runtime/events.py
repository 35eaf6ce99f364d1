"""The events that reconad emits, so that anything on the platform can react."""

from collections.abc import Mapping
from typing import Final

from prefect.events import emit_event

from mlflow_models import alias_log, registry
from reconad_plugin.errors import ReconadError

DRIFT_DETECTED: Final = "reconad.drift.detected"
MODEL_PROMOTED: Final = "reconad.model.promoted"
MODEL_REJECTED: Final = "reconad.model.rejected"
MODEL_ROLLED_BACK: Final = "reconad.model.rolled_back"
IMAGES_QUARANTINED: Final = "reconad.images.quarantined"
IMAGES_HELD: Final = "reconad.images.held"
ALARM_OPENED: Final = "reconad.alarm.opened"
ALARM_ENDED: Final = "reconad.alarm.ended"
NIGHT_HELD: Final = "reconad.night.held"  # of a night that opened no alarm itself
NIGHT_ENDED: Final = "reconad.night.ended"  # of a scheduled run, whatever it found

CAUSE_LABEL: Final = "reconad.cause"  # automations match on it: only some causes lead to learning


def emit(
    event: str, product: str, payload: Mapping[str, object], cause: str | None = None
) -> str | None:
    """Emit an event about a product; return its id, or None where Prefect takes no events.

    Args:
        event: one of the names above.
        product: becomes the resource ``reconad.product.<product>``.
        payload: JSON; ``product`` is added.
        cause: of a drift, as a label of the resource.
    """
    resource = {"prefect.resource.id": f"reconad.product.{product}"}
    if cause is not None:
        resource[CAUSE_LABEL] = cause
    sent = emit_event(event=event, resource=resource, payload={"product": product, **payload})
    return None if sent is None else str(sent.id)


def emit_alias_move(product: str, move: alias_log.AliasMove) -> None:
    """Emit the event of a promotion or rollback.

    That of a move that was cut off may be emitted twice; ``turn`` in the payload is the same then.
    """
    payload = {"night": move.night, "reason": move.reason, "turn": move.number}
    if move.by == registry.PROMOTION:
        versions = {"version": move.version, "instead_of": move.instead_of}
        versions |= {"cause": _learnt_cause(product, move.version)}
        emit(MODEL_PROMOTED, product, versions | payload)
    else:
        versions = {"version": move.instead_of, "back_to": move.version}
        emit(MODEL_ROLLED_BACK, product, versions | payload)


def _learnt_cause(product: str, version: str) -> str:
    """Return the cause of the alarm that a version was trained for; empty where nobody knows."""
    try:
        return registry.version(product, version).cause
    except ReconadError:  # somebody deleted it, or MLflow does not answer: people do without
        return ""
