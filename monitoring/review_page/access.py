"""Who may use the page: whoever has its token; and what a browser may do with it."""

import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

TOKEN_PARAMETER: Final = "token"  # noqa: S105  a name
OPEN_TO_ALL: Final = "/static/"  # the page's own files
_READING: Final = ("GET", "HEAD")
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_KEPT_S: Final = 12 * 3600  # a cookie: a shift

_logger = logging.getLogger(__name__)
Answer = Callable[[Request], Awaitable[Response]]
Refuse = Callable[[Request, int, str], Response]


@dataclass(frozen=True)
class Access:
    """Lets requests through that have the token, and come from a page of this server."""

    token: str
    refuse: Refuse  # answers with a status and one sentence

    async def __call__(self, request: Request, answer: Answer) -> Response:
        """Answer a request, or refuse it; every answer gets the headers that bind the browser."""
        response = await self._answer(request, answer)
        for name, value in _HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    async def _answer(self, request: Request, answer: Answer) -> Response:
        if request.scope["path"].startswith(OPEN_TO_ALL):  # as the router; a URL has the Host in it
            return await answer(request)
        given = request.query_params.get(TOKEN_PARAMETER)
        if given is not None and self._is_token(given) and request.method in _READING:
            return self._remember(request)
        if not self._is_token(request.cookies.get(self._cookie, "")):
            said = "This page needs its token: open the address that reconad review-page printed."
            return self.refuse(request, 401, said)
        if request.method not in _READING and not _is_from_here(request):
            said = "A decision must come from this page itself: reload it, and decide again."
            return self.refuse(request, 403, said)
        try:
            return await answer(request)
        except Exception as error:  # a bug: whoever looks at the page sees one sentence
            _logger.error("the review page failed", exc_info=error)
            return self.refuse(request, 500, "The page itself failed; its terminal says how.")

    @property
    def _cookie(self) -> str:
        """Name of the cookie: pages on other ports of this machine have others."""
        return f"reconad_review_{hashlib.sha256(self.token.encode()).hexdigest()[:8]}"

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.token.encode())

    def _remember(self, request: Request) -> Response:
        """Keep the token in a cookie, and out of the address."""
        response = RedirectResponse(f"/{quote(request.scope['path'].strip('/'))}", status_code=303)
        response.set_cookie(
            self._cookie, self.token, max_age=_KEPT_S, httponly=True, samesite="lax",
            secure=request.scope["scheme"] == "https",
        )  # fmt: skip
        return response


def _is_from_here(request: Request) -> bool:
    """Say whether a page of this server sent a request; a browser says where it comes from."""
    origin = request.headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc == request.headers.get("host")
