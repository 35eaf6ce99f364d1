"""MLflow's server: its address, and what to say when it does not answer."""

import re
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)
from mlflow.utils.rest_utils import MlflowHostCreds, http_request
from requests.exceptions import RequestException, RetryError

from reconad_plugin.errors import PlatformError

Found = TypeVar("Found")

MOST_SAID: Final = 300  # characters of what a server says, which may be a page
_OF_THE_CALLER: Final = tuple(
    map(ErrorCode.Name, (INVALID_PARAMETER_VALUE, RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST))
)
_ADVICE: Final = {  # by status
    401: "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    403: "ask for the right; let the server's MLFLOW_SERVER_ALLOWED_HOSTS name this host",
    404: "no MLflow is at this address: correct MLFLOW_TRACKING_URI",
}


def open_client() -> MlflowClient:
    """Open MLflow as its address says; a server is asked nothing yet.

    Raises:
        PlatformError: the address can be none, or leads to no database of MLflow's.
    """
    try:
        return MlflowClient()
    except Exception as error:  # addresses, drivers and databases raise almost anything
        raise outage(error) or _refusal(
            error, "correct MLFLOW_TRACKING_URI, or install what it needs"
        ) from None


def unless_absent(call: Callable[[], Found]) -> Found | None:
    """Return what a call to MLflow finds; None where MLflow says that there is no such thing.

    Raises:
        PlatformError: MLflow does not answer, or refuses.
    """
    try:
        return call()
    except MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return None
        raise outage(error) or error from None


def web_address() -> str | None:
    """Return where MLflow's pages are; None where it has none, in a file or a database."""
    address = mlflow.get_tracking_uri()
    return address.rstrip("/") if address.startswith(("http://", "https://")) else None


def server_version() -> tuple[str | None, str]:
    """Return which MLflow is at the address, None where that is a file or a database, and which is
    here.

    Raises:
        PlatformError: it does not answer, or refuses.
    """
    address = web_address()
    if address is None:
        open_client().search_experiments(max_results=1)
        return None, mlflow.__version__
    try:
        answer = http_request(
            MlflowHostCreds(address), "/version", "GET", timeout=10, max_retries=0
        )
        answer.raise_for_status()
        open_client().search_experiments(max_results=1)  # with the rights that a night has
    except Exception as error:
        raise outage(error) or _refusal(error, "is MLflow at this address?") from None
    return str(answer.text), mlflow.__version__


def said_by(error: Exception) -> str:
    """Return an error's words on one line, without passwords in addresses."""
    words = re.sub(r"//[^/@\s]*@", "//", " ".join(str(error).split()))
    return words[:MOST_SAID] or type(error).__name__


def outage(error: Exception) -> PlatformError | None:
    """Return what to raise where MLflow did not answer, or refused; None where it answered what
    only the caller can judge: there is no such thing, it is there already, an argument is wrong."""
    cause = error if isinstance(error, RequestException) else error.__cause__ or error.__context__
    is_silent = isinstance(cause, RequestException) and cause.response is None
    if is_silent and not isinstance(cause, RetryError):  # which is a server that keeps failing
        return PlatformError(
            f"MLflow must answer at {_host()}; it does not: start it, or correct "
            "MLFLOW_TRACKING_URI, and run this again"
        )
    is_ours = isinstance(error, MlflowException) and error.error_code in _OF_THE_CALLER
    if is_ours or not isinstance(error, MlflowException | RequestException):
        return None
    advice = _ADVICE.get(_status_of(error), "see the server's log, and after an upgrade of MLflow "
                         "run `mlflow db upgrade` with the address of its database")  # fmt: skip
    return _refusal(error, advice)


def _refusal(error: Exception, advice: str) -> PlatformError:
    return PlatformError(f"MLflow at {_host()} refuses: {said_by(error)}: {advice}")


def _status_of(error: Exception) -> int:
    if isinstance(error, RequestException) and error.response is not None:
        return error.response.status_code
    return error.get_http_status_code() if isinstance(error, MlflowException) else 500


def _host() -> str:
    """Return where MLflow is, without what else its address may hold, such as a password."""
    address = mlflow.get_tracking_uri()
    try:
        parts = urlsplit(address)
        return str(parts.hostname or parts.scheme or address)
    except ValueError:
        return "MLFLOW_TRACKING_URI"
