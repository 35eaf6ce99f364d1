"""Names of products and of nights."""

import re
from datetime import date, datetime
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from reconad_plugin.errors import ConfigError

_NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
FOUNDATION_PREFIX = "vq-"  # of the names that foundations are registered by


def _name_of_no_foundation(name: str) -> str:
    if name.startswith(FOUNDATION_PREFIX):
        raise ConfigError(
            f"a name must not begin with {FOUNDATION_PREFIX}, which marks the autoencoders that "
            f"dsr stands on; got {name!r}: choose another"
        )
    return name


ProductName = Annotated[
    str, StringConstraints(pattern=_NAME_PATTERN), AfterValidator(_name_of_no_foundation)
]


def check_product_name(name: str) -> str:
    """Check a product's name, and return it.

    Raises:
        ConfigError: it cannot name a product.
    """
    if not re.fullmatch(_NAME_PATTERN, name):
        raise ConfigError(
            "a product's name has 1 to 63 lower-case letters, digits, - and _, and begins with a "
            f"letter or digit; got {name!r}"
        )
    return _name_of_no_foundation(name)


def parse_night(text: str | date) -> date:
    """Read the date, ``YYYY-MM-DD``, that names a night.

    Raises:
        ConfigError: the text is no such date.

    Example:
        >>> parse_night("2026-01-31")
        datetime.date(2026, 1, 31)
    """
    if isinstance(text, datetime):
        return text.date()
    if isinstance(text, date):
        return text
    try:
        night = date.fromisoformat(text)
    except ValueError:
        night = None
    if night is None or night.isoformat() != text:
        raise ConfigError(f"a night is a date as YYYY-MM-DD; got {text!r}")
    return night
