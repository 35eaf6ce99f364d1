"""What reconad tells the platform, so that anything there can react."""

from typing import Any, Final

from prefect.events import emit_event

from mlflow_models import alias_log

DRIFT_DETECTED: Final = "reconad.drift.detected"
MODEL_PROMOTED: Final = "reconad.model.promoted"
MODEL_REJECTED: Final = "reconad.model.rejected"
MODEL_ROLLED_BACK: Final = "reconad.model.rolled_back"
IMAGES_QUARANTINED: Final = "reconad.images.quarantined"

CAUSE_LABEL: Final = "reconad.cause"  # automations match on it: only some causes lead to learning


def tell(event: str, product: str, payload: dict[str, Any], cause: str | None = None) -> str | None:
    """Emit an event about a product; its id, or None where Prefect takes no events.

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


def tell_turn(product: str, turn: alias_log.Turn) -> None:
    """Emit the event of a promotion or rollback.

    A turn that was cut off may be told of twice; ``turn`` in the payload is the same then.
    """
    payload = {"night": turn.night, "reason": turn.reason, "turn": turn.number}
    if turn.by == alias_log.PROMOTION:
        versions = {"version": turn.version, "instead_of": turn.instead_of}
        tell(MODEL_PROMOTED, product, versions | payload)
    else:
        versions = {"version": turn.instead_of, "back_to": turn.version}
        tell(MODEL_ROLLED_BACK, product, versions | payload)
