"""Hands a message over once, by HTTP or SMTP. The address is a secret: no error quotes it."""

import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import requests

from flows.jobs.message import Message
from flows.jobs.message_address import check_address, smtp_port
from flows.jobs.message_forms import FORMS, mail_form
from reconad_plugin.config.notify import NotifySettings
from reconad_plugin.errors import ConfigError, PlatformError

WAIT_S: Final = 20


def deliver(message: Message, target: NotifySettings, address: str) -> None:
    """Hand a message over.

    Raises:
        ConfigError: the address can be none, or some receivers of a mail are refused and the
            others have it by now; a further try mends neither.
        PlatformError: nobody answers there, or the message is refused.
    """
    check_address(target.to, address)
    if target.to == "mail":
        mail = mail_form(message, target.mail_from or "", target.mail_to)
        _mail(mail, urlsplit(address))
    else:
        _post(FORMS[target.to](message), address)


def _post(content: Mapping[str, Any], address: str) -> None:
    host = urlsplit(address).hostname
    try:
        answer = requests.post(address, json=content, timeout=WAIT_S, allow_redirects=False)
    except requests.RequestException as error:  # its words quote the address
        raise PlatformError(
            f"a message must reach {host}; {type(error).__name__}: is the address right, and does "
            "a firewall let it through?"
        ) from None
    if not 200 <= answer.status_code < 300:
        raise PlatformError(
            f"{host} must take a message; it answers {answer.status_code}: is the address right?"
        )


def _mail(mail: EmailMessage, server: SplitResult) -> None:
    host, port = server.hostname or "", smtp_port(server)
    try:
        with _connect(server.scheme, host, port) as connection:
            if server.username is not None:
                _check_secrecy(connection, host)
                connection.login(unquote(server.username), unquote(server.password or ""))
            refused = connection.send_message(mail)
    except UnicodeError:  # its words quote the password
        raise ConfigError(
            "a mail server's name, user and password must be ASCII; those in the address are not: "
            "correct it"
        ) from None
    except (OSError, smtplib.SMTPException) as error:  # its words may quote the user
        raise PlatformError(
            f"a mail must be taken by {host}:{port}; {type(error).__name__}: are the server's "
            "address, the user and the receivers right?"
        ) from None
    if refused:
        raise ConfigError(
            f"a mail must be taken for all its receivers; {host}:{port} refuses "
            f"{', '.join(sorted(refused))}, and took it for the others: correct mail_to"
        )


def _check_secrecy(connection: smtplib.SMTP, host: str) -> None:
    if not isinstance(connection.sock, ssl.SSLSocket):
        raise PlatformError(
            f"a password is sent to a mail server with TLS alone; {host} offers none: use "
            "smtps://, or an address without a user"
        )


def _connect(scheme: str, host: str, port: int) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=WAIT_S, context=context)
    connection = smtplib.SMTP(host, port, timeout=WAIT_S)
    connection.ehlo()
    if connection.has_extn("starttls"):
        connection.starttls(context=context)
    return connection
