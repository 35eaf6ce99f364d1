"""Who gets messages, and about what."""

import re
from collections.abc import Collection
from typing import Annotated, Final, Literal, get_args

import pydantic
from pydantic import AfterValidator, Field, StringConstraints

from reconad_plugin.config.base import Frozen

MessageKind = Literal[
    "held", "alarm_opened", "alarm_ended", "promoted", "rejected", "rolled_back", "not_run"
]
MESSAGE_KINDS: Final[tuple[MessageKind, ...]] = get_args(MessageKind)
TargetName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
_MailAddress = Annotated[str, StringConstraints(pattern=r"^[^@\s<>]+@[^@\s<>]+$")]


def _name_of_a_variable(name: str) -> str:
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):  # it may be the secret: it is not quoted
        raise ValueError(
            "address_from must name the environment variable that holds the address, such as "
            "RECONAD_SHIFT_URL: an address is a secret and does not stand in the file"
        )
    return name


class NotifySettings(Frozen):
    """Somebody who gets messages. The address is a secret and never stands in the file."""

    to: Literal["webhook", "slack", "teams", "mail"]
    address_from: Annotated[str, AfterValidator(_name_of_a_variable)]
    mail_from: _MailAddress | None = None
    mail_to: tuple[_MailAddress, ...] = ()
    messages: Annotated[tuple[MessageKind, ...], Field(min_length=1)] = MESSAGE_KINDS
    products: Annotated[tuple[str, ...], Field(min_length=1)] | None = None  # None: all

    @pydantic.model_validator(mode="after")
    def _mail_has_addresses(self) -> "NotifySettings":
        is_mail, given = self.to == "mail", (self.mail_from is not None, bool(self.mail_to))
        if given != (is_mail, is_mail):
            raise ValueError(
                "mail_from and mail_to belong to a mail and are both needed for one; "
                f"got to = {self.to!r} with {sum(given)} of them"
            )
        return self

    def wants(self, kinds: Collection[str], product: str) -> bool:
        """Say whether a message of any of these kinds about a product goes there."""
        is_of_product = self.products is None or product in self.products
        return is_of_product and not set(kinds).isdisjoint(self.messages)
