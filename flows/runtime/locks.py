"""Moves of the champion go one at a time, and are completed when they were cut off."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Final

from prefect import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists

from flows.runtime.events import tell_turn
from mlflow_models import alias_log
from reconad_plugin.errors import PlatformError

TRAINING: Final = "retrain"  # held while a version of a product is trained
JUDGING: Final = "judge"  # while a challenger is judged
MOVING: Final = "move"  # while the champion's alias moves; a rollback waits for no judging
WAIT_S: Final = 3600
LEASE_S: Final = 60  # after a kill the place is free again; Prefect's shortest


def settle(product: str) -> list[alias_log.Turn]:
    """Put right what a kill, or a hand in MLflow, left behind; the turns that were cut off."""
    completed: list[alias_log.Turn] = []
    if alias_log.open_turns(product):
        with one_at_a_time(MOVING, product):  # one that was at it has ended by then
            completed = alias_log.complete_open_turns(product, partial(tell_turn, product))
    alias_log.adopt_champion(product)
    return completed


@contextmanager
def one_at_a_time(what: str, product: str) -> Iterator[None]:
    """Hold the product's only place for something; wait for it where another holds it.

    Raises:
        PlatformError: the other one does not end.
    """
    name = f"{what}:{product}"
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
    with ExitStack() as held:
        try:
            held.enter_context(
                concurrency(name, strict=True, timeout_seconds=WAIT_S, lease_duration=LEASE_S)
            )
        except TimeoutError:
            raise PlatformError(
                f"the place {name} must become free within {WAIT_S} s; it is still held: look "
                "for the run that hangs, or release the concurrency limit in Prefect"
            ) from None
        yield
