"""Put the version that served before back into service."""

from datetime import date
from typing import Final

from prefect import flow, get_run_logger

from flows.jobs.judging import PromotionOutcome
from flows.jobs.ledger import sync_history
from flows.jobs.product import open_product
from flows.runtime.events import emit_alias_move
from flows.runtime.locks import MOVING, one_at_a_time, recover
from flows.runtime.steps import fails_clearly
from mlflow_models import alias_log, registry
from reconad_plugin.config.names import parse_night
from reconad_plugin.ledger.glance import note_glance

NO_REASON: Final = "rolled back by hand"


@flow(name="rollback", flow_run_name="rollback {product} {night}")
@fails_clearly
def rollback(product: str, night: date, reason: str = NO_REASON) -> PromotionOutcome:
    """Take the champion out of service and put the version back that served before it.

    Returns:
        ``rolled_back <version>``, the bad one. A rollback that was interrupted half-way is
        completed, and no other one is begun.

    Raises:
        NoChampionError: nothing serves, or nothing served before.
        PlatformError: another version serves than when this began.
    """
    night = parse_night(night)
    opened = open_product(product)
    bad = registry.champion(product).number
    completed = recover(product).moves
    if completed:
        sync_history(opened)
    for move in completed:
        if move.by == registry.ROLLBACK:
            return PromotionOutcome(registry.ROLLED_BACK, str(move.instead_of))
    with one_at_a_time(MOVING, product):
        move = alias_log.roll_back(product, bad, night.isoformat(), reason)
        emit_alias_move(product, move)
        sync_history(opened)  # were it last and failed, a second try would roll back another one
        alias_log.finish(product, move)
    note_glance(opened.store, opened.layout)
    get_run_logger().info("version %s rolled back, %s serves: %s", bad, move.version, reason)
    return PromotionOutcome(registry.ROLLED_BACK, bad)
