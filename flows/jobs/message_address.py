"""Where messages go. An address is a secret: no error quotes it."""

from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

from reconad_plugin.config.notify import NotifySettings
from reconad_plugin.errors import ConfigError

_SMTP_PORTS: Final = {"smtp": 587, "smtps": 465}
_SCHEMES: Final = {"mail": ("smtp", "smtps")}  # all else takes http


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
    return f"{scheme}://{user}{parts.hostname}:{smtp_port(parts)}/?{query}"


def smtp_port(server: SplitResult) -> int:
    """Return the port of a mail server: the usual one where none is given."""
    return server.port or _SMTP_PORTS[server.scheme]
