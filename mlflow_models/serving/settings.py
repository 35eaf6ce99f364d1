"""What a server is told by its environment: nothing else reaches it under ``mlflow models serve``.

Every variable is optional.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from reconad_plugin.errors import ConfigError

PREFIX: Final = "RECONAD_"
_ALIAS: Final = r"^[A-Za-z0-9_.-]+$"
LEAST_TOKEN: Final = 8  # characters
FOLLOW_NOTHING: Final = "off"


def _check_token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if len(text) < LEAST_TOKEN or not all("!" <= each <= "~" for each in text):
        raise ValueError(f"it must be {LEAST_TOKEN} or more visible characters of ASCII")
    return token


class ServingSettings(BaseModel):
    """Fields by the names of their variables, in lower case and without ``RECONAD_``."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    # an alias of the registered model, such as ``champion``; ``off`` follows none. Left out, the
    # alias of the address that `mlflow models serve -m` was given, if it has one
    follow: Annotated[str, Field(pattern=_ALIAS)] | None = None
    poll_s: float = Field(1.0, ge=0.1, le=3600)  # between two looks at the alias
    # another alias, such as ``challenger``: its version sees some pictures too, for the log alone
    shadow: Annotated[str, Field(pattern=_ALIAS)] | None = None
    shadow_share: float = Field(0.1, gt=0, le=1)  # of the pictures
    # asked of every request as `Authorization: Bearer <token>`; left out, nothing is asked
    token: Annotated[SecretStr, AfterValidator(_check_token)] | None = None
    max_rows: int = Field(256, ge=1, le=100_000)  # of a request
    max_body_mb: float = Field(64, gt=0, le=4096)  # of a request, 10^6 bytes
    max_image_pixels: int | None = Field(None, ge=1)  # of a picture, in place of the version's own


def read_settings(environment: Mapping[str, str]) -> ServingSettings:
    """Read the variables that serving knows; an empty one counts as left out.

    Raises:
        ConfigError: one breaks its rule.
    """
    names = ServingSettings.model_fields
    asked = {name: environment.get(variable(name), "").strip() for name in names}
    try:
        return ServingSettings.model_validate({name: text for name, text in asked.items() if text})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ConfigError(f"{variable(str(first['loc'][0]))} is wrong: {first['msg']}") from None


def variable(name: str) -> str:
    """Return the name of a setting's variable.

    Example:
        >>> variable("max_rows")
        'RECONAD_MAX_ROWS'
    """
    return PREFIX + name.upper()
