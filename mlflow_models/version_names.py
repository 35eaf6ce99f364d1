"""Which version a number, an alias or an address names, and whether it can be loaded."""

import re
from typing import Final

from mlflow.exceptions import MlflowException

from mlflow_models import registry
from mlflow_models.registry import ALIASES, Version, model_name
from mlflow_models.server import open_client, outage
from reconad_plugin.errors import ConfigError, NoChampionError
from reconad_plugin.images.names import as_text

_OF_VERSION: Final = re.compile(r"models:/+([^/@]+)(?:/(\d+)|@([^/@]+))/?")


def named_version(product: str, text: str) -> Version:
    """Return a version that can be loaded, by its number or its alias.

    Raises:
        ConfigError: it is neither, there is no such version, or it has no weights any more.
        NoChampionError: no version has this alias.
    """
    return check_weights(find_named(product, text))


def find_named(product: str, text: str) -> Version:
    """Return a version by its number or its alias, also where it can no longer be loaded.

    Raises:
        ConfigError: it is neither, or there is no such version.
        NoChampionError: no version has this alias.
    """
    if text in ALIASES:
        found = registry.version_by_alias(product, text)
        if found is None:
            raise NoChampionError(f"{model_name(product)} has no version {text}: give a "
                                  f"number, see `reconad status {product}`")  # fmt: skip
        return found
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(
            f"a version must be a number, or one of {', '.join(ALIASES)}; got {text!r}: see "
            f"`reconad status {product}`"
        )
    return registry.version(product, str(int(text)))


def version_to_load(product: str, number: str) -> Version:
    """Return a version that can be loaded, by its number.

    Raises:
        ConfigError: there is no such version, or ``reconad clean`` removed its weights.
    """
    return check_weights(registry.version(product, number))


def check_weights(found: Version) -> Version:
    """Return a version that can be loaded.

    Raises:
        ConfigError: ``reconad clean`` removed its weights.
    """
    if found.has_weights:
        return found
    raise ConfigError(
        f"a version needs its weights to see pictures; `reconad clean` removed those of "
        f"{found.uri}, which was {found.state}: take another one, or delete it in MLflow and train "
        "it again"
    )


def version_at(model_uri: str) -> Version | None:
    """Return the version behind ``models:/<name>/<number>`` or ``..@<alias>``; None where the URI
    is another one, or leads to none.

    Raises:
        PlatformError: MLflow does not answer.
    """
    found = _OF_VERSION.fullmatch(model_uri)
    if found is None or as_text(model_uri) != model_uri:
        return None
    name, number, alias = found.groups()
    client = open_client()
    try:
        if alias is not None:
            return Version.of(client.get_model_version_by_alias(name, alias))
        return Version.of(client.get_model_version(name, number))
    except MlflowException as error:
        if (down := outage(error)) is not None:
            raise down from None
        return None


def number_of(model_uri: str) -> str:
    """Return the number of the version behind ``models:/<name>/<number>`` or ``..@<alias>``."""
    name, is_alias, which = re.split("([@/])", model_uri.removeprefix("models:/"), maxsplit=1)
    if is_alias == "/":
        return which
    return str(open_client().get_model_version_by_alias(name, which).version)
