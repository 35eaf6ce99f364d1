"""Where messages go, as blocks of Prefect, which keeps secrets encrypted.

A webhook's block is used by Prefect's server too, when no night has run and maybe no worker is up.
For mails the server has Apprise, behind any notification block; Slack's takes every address that
Apprise takes, and Prefect has no block for a mail server of one's own.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.blocks.notifications import SlackWebhook
from prefect.blocks.system import Secret
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.types import SecretDict
from pydantic import SecretStr

from reconad_plugin.errors import ConfigError

Kept = Webhook | Secret[Any] | SlackWebhook
JSON_HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class KeptBlock:
    """A block as Prefect has it."""

    id: UUID
    address: str


def block_name(target: str) -> str:
    """Return the name of a target's blocks."""
    return f"reconad-{target}"


def webhook_block(address: str) -> Webhook:
    """Make the block of a webhook."""
    return Webhook(url=SecretStr(address), headers=SecretDict(JSON_HEADERS))


def mail_blocks(address: str, for_the_server: str) -> tuple[Secret[Any], SlackWebhook]:
    """Make the blocks of a mail server: the address for workers, and as Apprise takes it."""
    return Secret(value=SecretStr(address)), SlackWebhook(url=SecretStr(for_the_server))


def secret_of(block: Kept) -> str:
    """Return the address that a block keeps."""
    secret = block.value if isinstance(block, Secret) else block.url
    return str(secret.get_secret_value())


def read_block(client: SyncPrefectClient, target: str, kind: type[Kept]) -> KeptBlock | None:
    """Read a target's block of some kind; None where there is none."""
    slug = kind.get_block_type_slug()
    try:
        document = client.read_block_document_by_name(
            block_name(target), slug, include_secrets=True
        )
    except ObjectNotFound:
        return None
    return KeptBlock(document.id, str(document.data.get("url") or document.data.get("value") or ""))


def kept_address(client: SyncPrefectClient, target: str, to: str) -> str | None:
    """Return the address of a target as it was given; None where none was kept."""
    kept = read_block(client, target, Secret if to == "mail" else Webhook)
    return None if kept is None else kept.address


def find_address(client: SyncPrefectClient, target: str, to: str) -> str:
    """Return the address of a target.

    Raises:
        ConfigError: `reconad deploy` has kept none.
    """
    address = kept_address(client, target, to)
    if address is None:
        raise ConfigError(
            f"the address of notify.{target} is kept by Prefect; it has none: set its variable and "
            "run `reconad deploy`"
        )
    return address
