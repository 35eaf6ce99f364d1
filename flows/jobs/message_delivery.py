"""Hands a message over once, by HTTP or SMTP. The address is a secret: no error quotes it."""

import smtplib
import ssl
from email.message import EmailMessage
from typing import Any, Final
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

import requests

from flows.jobs.message import Message
from flows.jobs.message_forms import FORMS, mail_form
from reconad_plugin.config import NotifySettings
from reconad_plugin.errors import ConfigError, PlatformError

WAIT_S: Final = 20
_SMTP_PORTS: Final = {"smtp": 587, "smtps": 465}
_SCHEMES: Final = {"mail": ("smtp", "smtps")}  # all else takes http


def deliver(message: Message, target: NotifySettings, address: str) -> None:
    """Hand a message over.

    Raises:
        ConfigError: the address can be none.
        PlatformError: nobody answers there, or the message is refused.
    """
    check_address(target.to, address)
    if target.to == "mail":
        mail = mail_form(message, target.mail_from or "", target.mail_to)
        _mail(mail, urlsplit(address))
    else:
        _post(FORMS[target.to](message), address)


def check_address(to: str, address: str) -> None:
    """Check that an address is one, as far as it can be seen.

    Raises:
        ConfigError: it is none; it is not quoted.
    """
    schemes = _SCHEMES.get(to, ("http", "https"))
    try:
        parts = urlsplit(address)
        is_one = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        form = " or ".join(f"{scheme}://HOST..." for scheme in schemes)
        raise ConfigError(f"an address for {to} must be {form}; what came is none: correct it")


def apprise_address(target: NotifySettings, address: str) -> str:
    """Write a mail server's address as Apprise takes it, with which Prefect's server sends."""
    parts = urlsplit(address)
    user = ""
    if parts.username is not None:
        user = f"{quote(unquote(parts.username), '')}:{quote(unquote(parts.password or ''), '')}@"
    mode = "ssl" if parts.scheme == "smtps" else "starttls" if user else "insecure"
    scheme = "mailto" if mode == "insecure" else "mailtos"
    sent = {"from": target.mail_from or "", "to": ",".join(target.mail_to)}
    query = urlencode({**sent, "mode": mode, "format": "text", "smtp": parts.hostname or ""})
    return f"{scheme}://{user}{parts.hostname}:{_port(parts)}/?{query}"


def _post(content: dict[str, Any], address: str) -> None:
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
    host, port = server.hostname or "", _port(server)
    try:
        with _connect(server.scheme, host, port) as connection:
            if server.username is not None:
                _check_secrecy(connection, host)
                connection.login(unquote(server.username), unquote(server.password or ""))
            connection.send_message(mail)
    except (OSError, smtplib.SMTPException) as error:  # its words may quote the user
        raise PlatformError(
            f"a mail must be taken by {host}:{port}; {type(error).__name__}: are the server's "
            "address, the user and the receivers right?"
        ) from None


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


def _port(server: SplitResult) -> int:
    return server.port or _SMTP_PORTS[server.scheme]
