"""Locks of a product: one training, one judging and one alias move at a time.

A lock keeps apart runs that live; ``recover`` completes what a dead one left half-done.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from prefect import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists

from flows.runtime.events import emit_alias_move
from mlflow_models import alias_log, registry
from reconad_plugin.errors import PlatformError

TRAINING: Final = "retrain"  # held while a version of a product is trained
JUDGING: Final = "judge"  # while a challenger is judged
MOVING: Final = "move"  # while the champion's alias moves; a rollback waits for no judging
WAIT_S: Final = 3600
LEASE_S: Final = 60  # after a kill the lock is free again; Prefect's shortest


@dataclass(frozen=True)
class Recovery:
    """What was left half-done, and the registry after it was put right."""

    # the moves of the champion's alias that had been cut off and are completed now
    moves: tuple[alias_log.AliasMove, ...]
    versions: tuple[registry.Version, ...]  # all versions of the product, oldest first


def recover(product: str) -> Recovery:
    """Put right what a kill, or a hand in MLflow, left behind.

    The versions are asked for once; again only where something was put right.
    """
    versions = registry.versions(product)
    moves: list[alias_log.AliasMove] = []
    if alias_log.open_moves(versions):
        with one_at_a_time(MOVING, product):  # one that was under way has ended by then
            moves = alias_log.recover(product, partial(emit_alias_move, product))
    if alias_log.adopt_champion(product) or moves:
        versions = registry.versions(product)
    return Recovery(tuple(moves), tuple(versions))


@contextmanager
def one_at_a_time(what: str, product: str, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold a product's lock for one kind of work; wait for it while another run holds it.

    Raises:
        PlatformError: the other run does not end.
    """
    name = f"{what}:{product}"
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
    with ExitStack() as held:
        try:
            held.enter_context(
                concurrency(name, strict=True, timeout_seconds=wait_s, lease_duration=LEASE_S)
            )
        except TimeoutError:
            raise PlatformError(
                f"the lock {name} must become free within {wait_s:g} s; it is still held: look for "
                "the run that hangs, or release the concurrency limit in Prefect"
            ) from None
        yield
