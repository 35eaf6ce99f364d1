"""MLflow's server: its address without a password, and what to say when it does not answer."""

from collections.abc import MutableMapping
from urllib.parse import unquote, urlsplit

import mlflow

from reconad_plugin.errors import PlatformError


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


def outage(error: Exception) -> PlatformError | None:
    """Return what to raise where MLflow did not answer; None where it did, and said something
    else."""
    message = str(error)
    is_cut_off = message.startswith("API request to ") and "exception" in message
    if not is_cut_off and "Max retries exceeded" not in message:
        return None
    host = urlsplit(mlflow.get_tracking_uri()).hostname  # of an address that may hold a password
    return PlatformError(
        f"MLflow must answer at {host}; it does not: start it, or correct MLFLOW_TRACKING_URI, and "
        "run this again"
    )
