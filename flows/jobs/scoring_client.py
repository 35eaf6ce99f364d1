"""Asks a running ``mlflow models serve``: it waits for a busy one, and gives no secret away."""

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import SplitResult, urljoin, urlsplit

import numpy as np
import requests
from pydantic import BaseModel, ConfigDict, ValidationError
from requests.auth import AuthBase
from requests.exceptions import ChunkedEncodingError, RequestException, SSLError, Timeout
from requests.exceptions import ConnectionError as NoConnectionError

from flows.jobs.progress import warn
from reconad_plugin.detector.answer import MAP_COLUMN, REGIONS_COLUMN, Prediction
from reconad_plugin.errors import ConfigError, PlatformError

TOKEN_VARIABLE: Final = "RECONAD_TOKEN"  # noqa: S105  its name
MOST_TRIES: Final = 6  # of one request
FIRST_WAIT_S: Final = (
    1.0  # at most before the second try, and twice as long before each further one
)
CONNECT_S: Final = 5
ANSWER_S: Final = 120
MOST_SAID: Final = 300  # characters of what a server says, which may be a page
_PATH: Final = "/invocations"
_BUSY: Final = (429, 502, 503, 504)
_ADVICE: Final = {  # by status
    401: f"set {TOKEN_VARIABLE} to a token that it knows",
    403: f"set {TOKEN_VARIABLE} to a token that may ask it",
    404: "no `mlflow models serve` is at this address: correct --url",
    413: "let what stands before the server take larger requests, or send smaller pictures",
}


class _Answer(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)
    predictions: list[Prediction]


class _Bearer(AuthBase):
    """Sends a token, if there is one, and nothing that stands in a ``.netrc``."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class ScoringClient:
    """Asks one server, one request at a time.

    Args:
        url: of the server, http or https.
        token: that it asks for; never shown.
        wait: for so many seconds.
        seed: of how long a wait is.

    Raises:
        ConfigError: the address can be none, or holds a password; or the token can be none.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        wait: Callable[[float], None] = time.sleep,
        seed: int | None = None,
    ) -> None:
        parts = check_url(url)
        self.url = parts.geturl().rstrip("/").removesuffix(_PATH)
        self._token = _check_token(token)
        self._wait, self._random = wait, np.random.default_rng(seed)
        self._session = requests.Session()
        self._session.auth = _Bearer(self._token)
        host = parts.hostname or ""
        self._proxies = {"no_proxy": host} if is_loopback(host) else {}
        self._has_warned = False
        if self._token is not None and parts.scheme == "http" and not is_loopback(host):
            warn(f"{TOKEN_VARIABLE} goes to {host} unencrypted, for all on the way to read: ask "
                 "for https")  # fmt: skip

    def ask(self, pictures: Sequence[bytes], with_map: bool = False) -> list[Prediction]:
        """Ask what is said of picture files, in their order, each with its row.

        Raises:
            PlatformError: the server does not answer after some tries, refuses, or answers
                something else.
            ConfigError: it cannot take such a request, or sends us to another address.
        """
        records = [{"image": base64.b64encode(each).decode("ascii")} for each in pictures]
        params = {REGIONS_COLUMN: True, MAP_COLUMN: with_map}
        content = self._answer_to({"dataframe_records": records, "params": params})
        try:
            rows = _Answer.model_validate_json(content).predictions
        except ValidationError:
            raise self._other_answer("other fields") from None
        if not all(_is_whole(row) for row in rows):
            raise self._other_answer("rows with neither score nor error")
        if len(rows) != len(pictures):
            raise self._other_answer(f"{len(rows)} rows to {len(pictures)} pictures")
        return rows

    def _answer_to(self, body: Mapping[str, Any]) -> bytes:
        answer = self._post(body)
        status = answer.status_code
        if answer.ok and not answer.is_redirect:
            return answer.content
        if answer.is_redirect:
            to = urlsplit(urljoin(self.url, answer.headers["Location"]))
            raise ConfigError(
                f"a server must answer itself; {self.url} sends on to {to.scheme}://{to.hostname}, "
                "which is not followed: give that address as --url if you trust it"
            )
        if status == 400:
            raise ConfigError(
                f"a server must take pictures as a version of reconad does; {self.url} refuses: "
                f"{self._said(answer)}"
            )
        advice = _ADVICE.get(status, "see the server's log")
        raise PlatformError(f"{self.url} refuses with {status}: {self._said(answer)}: {advice}")

    def _post(self, body: Mapping[str, Any]) -> requests.Response:
        """Ask until the server is neither silent nor busy, and a few times at most."""
        for tries in range(MOST_TRIES):
            try:
                answer = self._session.post(
                    self.url + _PATH,
                    json=body,
                    timeout=(CONNECT_S, ANSWER_S),
                    allow_redirects=False,
                    proxies=self._proxies,
                )
                if answer.status_code not in _BUSY:
                    return answer
                why = f"busy: {answer.status_code}"
            except SSLError:
                raise PlatformError(
                    f"{self.url} must have a certificate that this machine trusts; it has none: "
                    "point REQUESTS_CA_BUNDLE at the one that signs it"
                ) from None
            except Timeout:
                why = f"no answer within {ANSWER_S} s"
            except (NoConnectionError, ChunkedEncodingError):
                why = "no connection, or one that is cut off"
            except (RequestException, ValueError):  # a host, or a redirect, that no name can be
                raise ConfigError(f"--url must be an address that can be asked; got {self.url}"
                                  ) from None  # fmt: skip
            if tries + 1 < MOST_TRIES:
                self._wait_for_it(tries, why)
        raise PlatformError(
            f"a model must be served at {self.url}; after {MOST_TRIES} tries it is not ({why}): "
            "start `mlflow models serve`, or correct --url, and run this again"
        )

    def _wait_for_it(self, tries: int, why: str) -> None:
        if not self._has_warned:
            warn(f"{self.url} does not answer yet ({why}); it is asked {MOST_TRIES} times at most")
            self._has_warned = True
        self._wait(FIRST_WAIT_S * 2**tries * self._random.uniform(0.5, 1))

    def _said(self, answer: requests.Response) -> str:
        """Return what a refusal says, on one line, without the token."""
        try:
            said = str(answer.json()["message"])
        except (ValueError, KeyError, TypeError):
            said = answer.text
        if self._token is not None:
            said = said.replace(self._token, "...")
        return " ".join(said.split())[:MOST_SAID] or str(answer.reason)

    def _other_answer(self, got: str) -> PlatformError:
        return PlatformError(
            f"a server must answer as a version of reconad does; {self.url} gives {got}: serve a "
            "reconad-<product>"
        )


def check_url(url: str) -> SplitResult:
    """Check the address of a server, and return its parts.

    Raises:
        ConfigError: it is none of http or https, or holds a password or a query.
    """
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_address = is_address and parts.port != 0
    except ValueError:
        raise ConfigError("--url must be an address; got one that can be none") from None
    if "@" in parts.netloc:
        raise ConfigError(
            "--url must hold no user and no password, which messages would show: leave them out, "
            f"and set {TOKEN_VARIABLE} where the server asks for a token"
        )
    if parts.query or parts.fragment:
        raise ConfigError("--url must end with its path; got one with ? or #: leave that out")
    if not is_address:
        raise ConfigError(
            f"--url must be an http or https address, such as http://127.0.0.1:5055; got {url!r}"
        )
    return parts


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("scores.factory")
        (True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_whole(row: Prediction) -> bool:
    return row.error is not None or not (row.pred_score is None or row.p_value is None)


def _check_token(token: str | None) -> str | None:
    if not token:
        return None
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigError(f"{TOKEN_VARIABLE} must be one word of ASCII; it has other characters")
    return token
