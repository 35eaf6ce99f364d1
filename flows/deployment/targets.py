"""Keeps the addresses of those who get messages in Prefect, and says what its server does itself
when no night has run."""

import json
from collections.abc import Mapping
from functools import partial
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import ActionTypes, CallWebhook, SendNotification

from flows.deployment.changes import Change, Verb
from flows.jobs.message import NOT_RUN, Message, night_missing
from flows.jobs.message_address import apprise_address, check_address
from flows.jobs.message_forms import FORMS, mail_text
from flows.runtime.addresses import (
    Kept,
    block_name,
    kept_address,
    mail_blocks,
    read_block,
    secret_of,
    webhook_block,
)
from reconad_plugin.config.notify import NotifySettings
from reconad_plugin.config.settings import Settings
from reconad_plugin.errors import ConfigError


def block_changes(
    client: SyncPrefectClient, settings: Settings, environment: Mapping[str, str]
) -> dict[str, list[Change]]:
    """Say what to do about the blocks of each target, whose ``make`` returns the id; the last one
    of a target is what Prefect's server uses.

    Raises:
        ConfigError: addresses are neither in the environment nor in Prefect, or can be none; all
            are named.
    """
    found, wrong = dict[str, list[Change]](), list[str]()
    for name, target in settings.notify.items():
        try:
            found[name] = _of_target(client, name, target, environment.get(target.address_from))
        except ConfigError as error:
            wrong.append(f"notify.{name}: {error}")
    if wrong:
        raise ConfigError("; ".join(wrong))
    return found


def _of_target(
    client: SyncPrefectClient, name: str, target: NotifySettings, address: str | None
) -> list[Change]:
    address = address or kept_address(client, name, target.to)
    if address is None:
        raise ConfigError(
            f"its address must be in {target.address_from} the first time; that is not set: "
            "export it, and run this again"
        )
    check_address(target.to, address)
    blocks: list[Kept] = [webhook_block(address)]
    if target.to == "mail":
        blocks = [*mail_blocks(address, apprise_address(target, address))]
    return [_change(client, name, each) for each in blocks]


def _change(client: SyncPrefectClient, name: str, block: Kept) -> Change:
    known = read_block(client, name, type(block))
    title = f"{block.get_block_type_slug()}/{block_name(name)}"
    make = partial(block.save, block_name(name), overwrite=True)
    if known is None:
        return Change(Verb.CREATE, "block", title, make)
    if known.address == secret_of(block):
        return Change(Verb.KEEP, "block", title, id=known.id)
    return Change(Verb.UPDATE, "block", title, make, known.id, ("address",))


def silence_actions(settings: Settings, blocks: Mapping[str, UUID]) -> dict[str, list[ActionTypes]]:
    """Return product -> what Prefect's server does by itself when no night of it has run.

    Args:
        settings: the products, and who gets messages.
        blocks: target -> id of the block that the server uses.
    """
    deploy = settings.deploy
    return {
        product: [
            _action(night_missing(product, deploy.silent_after_h, deploy.work_pool), target, block)
            for name, target in settings.notify.items()
            if target.wants((NOT_RUN,), product) and (block := blocks[name])
        ]
        for product in settings.products
    }


def _action(message: Message, target: NotifySettings, block: UUID) -> ActionTypes:
    if target.to == "mail":
        return SendNotification(
            block_document_id=block,
            subject=_literally(message.title),
            body=_literally(mail_text(message)),
        )
    content = json.dumps(FORMS[target.to](message))
    return CallWebhook(block_document_id=block, payload=_literally(content))


def _literally(text: str) -> str:
    """Keep Prefect's templates from reading a text."""
    return f"{{% raw %}}{text}{{% endraw %}}"
