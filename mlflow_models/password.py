"""MLflow's address without a password.

Imported before MLflow is whole, since MLflow loads our plugins while it is imported itself.
"""

from collections.abc import MutableMapping
from urllib.parse import unquote, urlsplit


def hide_password(environment: MutableMapping[str, str]) -> None:
    """Move user and password out of the tracking address, which messages, logs and links quote, to
    the variables that MLflow has for them."""
    try:
        parts = urlsplit(environment.get("MLFLOW_TRACKING_URI", ""))
    except ValueError:  # MLflow says what is wrong with it, once it is used
        return
    if parts.scheme in ("http", "https") and parts.username is not None:
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        environment["MLFLOW_TRACKING_URI"] = bare.geturl()
        environment["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
        environment["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password or "")
