"""Tell people what happened. An automation starts this on an event; no night waits for it."""

import reconad_plugin.telemetry  # noqa: F401  first: Prefect reports at its import

# isort: split
from typing import Any, Final

from prefect import flow, get_client, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import wait

from flows.jobs.message import Message, compose
from flows.jobs.message_delivery import deliver
from flows.runtime.addresses import find_address
from flows.runtime.steps import fails_clearly
from reconad_plugin.config.notify import NotifySettings
from reconad_plugin.config.settings import load_settings
from reconad_plugin.errors import ConfigError, PlatformError

WAITS_S: Final = [10.0, 60.0, 300.0]  # before each further try of one that cannot be reached


@flow(name="send-messages", flow_run_name="send-messages {event}")
@fails_clearly
def send_messages(event: str, payload: dict[str, Any]) -> list[str]:
    """Send the message about an event to all who want it.

    Args:
        event: name of the event.
        payload: what it says.

    Returns:
        Names of those who got it.

    Raises:
        PlatformError: somebody was not reached; all others got the message.
        ConfigError: it is no event that people are told of.
    """
    settings, message = load_settings(), compose(event, payload)
    wanting = {
        name: target
        for name, target in settings.notify.items()
        if target.wants(message.kinds, message.product)
    }
    if not wanting:
        return []
    complete = _with_page(message)
    sent = {name: hand_over.submit(complete, name, target) for name, target in wanting.items()}
    wait(list(sent.values()))
    missed = {name: future.state.message for name, future in sent.items() if _is_lost(future)}
    if missed:
        said = "; ".join(f"{name}: {why}" for name, why in missed.items())
        raise PlatformError(f"messages must reach all who want them; {said}")
    return list(sent)


def _is_worth_retrying(task: Any, task_run: Any, state: Any) -> bool:
    return not isinstance(state.result(raise_on_failure=False), ConfigError)


@task(
    cache_policy=NO_CACHE,
    retries=len(WAITS_S),
    retry_delay_seconds=WAITS_S,
    retry_condition_fn=_is_worth_retrying,
)
@fails_clearly
def hand_over(message: Message, name: str, target: NotifySettings) -> None:
    """Hand the message over to one target."""
    with get_client(sync_client=True) as client:
        address = find_address(client, name, target.to)
    deliver(message, target, address)


def _is_lost(future: Any) -> bool:
    return not future.state.is_completed()


def _with_page(message: Message) -> Message:
    """Add the link and the picture; without MLflow the message goes without them."""
    try:
        return message.with_page()
    except Exception as error:  # whatever MLflow raises
        get_run_logger().warning("the message goes without a link and a picture: %s", error)
        return message
