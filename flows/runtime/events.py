"""Emits the events of reconad, so that anything on the platform can react."""

from collections.abc import Mapping
from typing import Final

from prefect.events import emit_event

from mlflow_models import alias_log, registry
from reconad_plugin.config.event_names import MODEL_PROMOTED, MODEL_ROLLED_BACK
from reconad_plugin.errors import ReconadError

CAUSE_LABEL: Final = "reconad.cause"  # automations match on it: only some causes lead to learning


def emit(
    event: str, product: str, payload: Mapping[str, object], cause: str | None = None
) -> str | None:
    """Emit an event about a product; return its id, or None where Prefect takes no events.

    Args:
        event: one of ``config.event_names``.
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
