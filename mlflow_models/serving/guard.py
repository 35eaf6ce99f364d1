"""What stands between the network and MLflow's scoring server: a token, a limit of size, one clear
sentence in place of MLflow's errors, and what is asked about the server itself.

MLflow builds its application with ``fastapi.FastAPI`` right after it has loaded the model and has
no place for a middleware. So the class is exchanged until then, see ``guard_next_application``.
"""

import asyncio
import hmac
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import fastapi

from mlflow_models.serving.figures import Figures
from mlflow_models.serving.pyfunc import NOTES, RequestNotes
from mlflow_models.serving.request import (
    FORMAT,
    JSON,
    explain,
    explain_kind,
    explain_names,
    has_too_many_values,
)
from mlflow_models.serving.settings import ServingSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Coroutine[Any, Any, None]]

INVOCATIONS: Final = "/invocations"
METRICS: Final = "/metrics"
READY: Final = "/ready"
_OPEN: Final = (READY, "/ping", "/health", "/version")  # asked by those who have no token
MEGABYTE: Final = 1_000_000
READERS: Final = 2  # threads that look for what is wrong with requests
_UNKNOWN: Final = (
    "a request needs the header Authorization: Bearer <token>, with the token of this server's "
    "RECONAD_TOKEN"
)
_WRONG: Final = "INVALID_PARAMETER_VALUE"
_TOO_LONG: Final = (
    "answering took longer than the server allows: send fewer pictures at once, or start it with a "
    "longer --timeout"
)
_OWN_FAULT: Final = "the server could not answer this request: its log says why"

_logger = logging.getLogger(__name__)


class TooLargeError(Exception):
    """A request's body is larger than it may be."""


class ClientGoneError(Exception):
    """Who asked is gone before the request was whole."""


class Guard:
    """An ASGI application around MLflow's."""

    def __init__(self, app: Application, settings: ServingSettings, figures: Figures) -> None:
        self._app, self._figures = app, figures
        self._token = settings.token.get_secret_value().encode() if settings.token else None
        self._most_bytes = int(settings.max_body_mb * MEGABYTE)
        self._max_rows = settings.max_rows
        self._working: set[asyncio.Task[None]] = set()  # on requests, also when nobody waits
        self._readers = ThreadPoolExecutor(READERS)  # MLflow's threads may all be busy

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if scope["path"] not in _OPEN and not self._may_ask(headers):
            self._figures.count(401, RequestNotes())
            await _answer(send, 401, "UNAUTHENTICATED", _UNKNOWN)
        elif scope["path"] in (METRICS, READY) and scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, "BAD_REQUEST", "this is asked for by GET")
        elif scope["path"] == METRICS:
            await _send(send, 200, b"text/plain; version=0.0.4", self._figures.text())
        elif scope["path"] == READY:
            state = self._figures.state()
            content = json.dumps(state).encode()
            await _send(send, 200 if state["ready"] else 503, b"application/json", content)
        elif scope["path"] == INVOCATIONS and scope["method"] == "POST":
            await self._invoke(scope, headers, receive, send)
        else:
            await self._app(scope, receive, send)

    def _may_ask(self, headers: MutableMapping[bytes, bytes]) -> bool:
        if self._token is None:
            return True
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(given.strip(), self._token)

    async def _invoke(
        self,
        scope: MutableMapping[str, Any],
        headers: MutableMapping[bytes, bytes],
        receive: Receive,
        send: Send,
    ) -> None:
        began_s, notes = time.perf_counter(), RequestNotes()
        try:
            body = await self._read(headers, receive)
        except TooLargeError as error:
            self._figures.count(413, notes, time.perf_counter() - began_s)
            await _answer(send, 413, _WRONG, str(error))
            return
        except ClientGoneError:
            return
        status, content = await self._ask(_plain_kind(scope, headers), body, notes)
        notes.is_over = True
        self._figures.count(status, notes, time.perf_counter() - began_s)
        await _send(send, status, b"application/json", content)

    async def _ask(
        self, scope: MutableMapping[str, Any], body: bytes, notes: RequestNotes
    ) -> tuple[int, bytes]:
        """Return status and content of MLflow's answer, or what is wrong in place of its errors."""
        kind = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
        if kind != JSON:
            return 400, _content(_WRONG, explain_kind(kind))
        if has_too_many_values(body, self._max_rows):
            return 400, _content(_WRONG, self._too_many)
        if said := await self._read_by(explain_names, body):
            return 400, _content(_WRONG, said)
        NOTES.set(notes)
        answer, failure = _Answer(), None
        try:
            await self._take(answer, self._app(scope, _once(body), answer.take))
        except Exception as error:  # such as a text that cannot be sent back
            answer.status, failure = 500, error
        if answer.status < 400:
            return answer.status, bytes(answer.content)
        if answer.status == 504:
            return 504, _content("DEADLINE_EXCEEDED", _TOO_LONG)
        said = notes.refused or await self._read_by(explain, body)
        if said is None and answer.status < 500 and not notes.has_failed:
            said = f"the request could not be read as a table of texts: send {FORMAT}"
        if said is not None:
            return 400, _content(_WRONG, said)
        if failure is not None:
            _logger.error("a request failed", exc_info=failure)
        return 500, _content("INTERNAL_ERROR", _OWN_FAULT)

    async def _take(self, answer: "_Answer", work: Coroutine[Any, Any, None]) -> None:
        """Return once an answer is whole: where it took too long MLflow has answered so, and works
        on."""
        working = asyncio.create_task(work)
        whole = asyncio.create_task(answer.is_whole.wait())
        self._working.add(working)
        working.add_done_callback(self._forget)
        try:
            await asyncio.wait((working, whole), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            working.cancel()
            raise
        finally:
            whole.cancel()
        if working.done():
            working.result()

    def _forget(self, working: asyncio.Task[None]) -> None:
        self._working.discard(working)
        if not working.cancelled():
            working.exception()  # is seen by who waits, if somebody does

    async def _read_by(self, read: Callable[[bytes], str | None], body: bytes) -> str | None:
        return await asyncio.get_running_loop().run_in_executor(self._readers, read, body)

    async def _read(self, headers: MutableMapping[bytes, bytes], receive: Receive) -> bytes:
        """Read the body, and no more of it than it may have."""
        told = headers.get(b"content-length", b"0")
        if told.isdigit() and int(told) > self._most_bytes:
            raise TooLargeError(self._too_large)
        body, goes_on = bytearray(), True
        while goes_on:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            body += message.get("body", b"")
            goes_on = message.get("more_body", False)
            if len(body) > self._most_bytes:
                raise TooLargeError(self._too_large)
        return bytes(body)

    @property
    def _too_many(self) -> str:
        return (
            f"a request must have at most {self._max_rows} rows, and little beside their texts; it "
            f"has far more values: send {FORMAT}"
        )

    @property
    def _too_large(self) -> str:
        return (
            f"a request must have at most {self._most_bytes / MEGABYTE:g} MB: send fewer pictures "
            "at once, or raise RECONAD_MAX_BODY_MB of the server"
        )


class _Answer:
    """Collects what an application answers."""

    def __init__(self) -> None:
        self.status = 500
        self.content = bytearray()
        self.is_whole = asyncio.Event()

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.content += message.get("body", b"")
            if not message.get("more_body", False):
                self.is_whole.set()


def guard_next_application(settings: ServingSettings, figures: Figures) -> None:
    """Put a guard around the next ``fastapi.FastAPI`` of this process, which is MLflow's."""
    original = fastapi.FastAPI

    class GuardedFastAPI(original):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **options: Any) -> None:
            fastapi.FastAPI = original  # type: ignore[misc]
            super().__init__(*args, **options)
            self._guard = Guard(super().__call__, settings, figures)

        async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
            await self._guard(scope, receive, send)

    fastapi.FastAPI = GuardedFastAPI  # type: ignore[misc]


def _plain_kind(
    scope: MutableMapping[str, Any], headers: MutableMapping[bytes, bytes]
) -> MutableMapping[str, Any]:
    """Write the kind of JSON in UTF-8 as MLflow compares it, however the client does."""
    kind, _, options = headers.get(b"content-type", b"").decode("latin-1").lower().partition(";")
    charset = re.search(r'charset\s*=\s*"?([^";\s]+)', options)
    if kind.strip() != JSON or (charset is not None and charset[1] not in ("utf-8", "utf8")):
        return scope
    others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    return {**scope, "headers": [*others, (b"content-type", JSON.encode())]}


def _once(body: bytes) -> Receive:
    """Hand a body on that was read already."""
    is_read = False

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            return {"type": "http.disconnect"}
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _answer(send: Send, status: int, code: str, message: str) -> None:
    await _send(send, status, b"application/json", _content(code, message))


def _content(code: str, message: str) -> bytes:
    return json.dumps({"error_code": code, "message": message}).encode()


async def _send(send: Send, status: int, kind: bytes, content: bytes) -> None:
    length = str(len(content)).encode()
    headers = [(b"content-type", kind), (b"content-length", length)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
