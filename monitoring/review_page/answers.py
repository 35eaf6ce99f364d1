"""How the page answers: templates, refusals of one sentence, and its own files."""

import gzip
import hashlib
from pathlib import Path
from typing import Final

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from monitoring.review_page.overview import first_sentence
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.names import printable

HERE: Final = Path(__file__).parent
STATIC: Final = {
    "htmx.min.js": "text/javascript",
    "review.js": "text/javascript",
    "threshold.js": "text/javascript",
    "review.css": "text/css",
    "icon.svg": "image/svg+xml",
}
NOT_FOUND: Final = "There is no such page: go back to what needs you."
_WORTH_PACKING_BYTES: Final = 1000


class PageError(Exception):
    """Something that the page has not, or does not take."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def render(request: Request, template: str, **context: object) -> Response:
    """Answer with a page, or a part of one, packed where the browser takes it."""
    content = _TEMPLATES.get_template(template).render(context).encode()
    headers = {"Vary": "Accept-Encoding"}
    packs = "gzip" in request.headers.get("accept-encoding", "")
    if packs and len(content) > _WORTH_PACKING_BYTES:
        content = gzip.compress(content, 5)
        headers["Content-Encoding"] = "gzip"
    return Response(content, media_type="text/html", headers=headers)


def refuse(request: Request, status: int, sentence: str) -> Response:
    """Answer with one sentence: where a part of a page was asked for, in the page's own place."""
    is_part = request.headers.get("hx-request") == "true"
    name = "message.html" if is_part else "refused.html"
    response = render(request, name, sentence=sentence)
    response.status_code = status
    if is_part:
        response.headers.update({"HX-Retarget": "#message", "HX-Reswap": "innerHTML"})
    return response


def refuse_error(request: Request, error: Exception) -> Response:
    """Answer with what an error says."""
    if isinstance(error, PageError):
        return refuse(request, error.status, error.sentence)
    if isinstance(error, HTTPException):
        return refuse(request, error.status_code, NOT_FOUND)
    sentence = printable(str(error))
    status = 400 if isinstance(error, ConfigError) else 502
    return refuse(request, status, f"{sentence[:1].upper()}{sentence[1:]}.")


def _static_address(name: str) -> str:
    """Address a file of the page, another one for each content."""
    digest = hashlib.sha256((HERE / "static" / name).read_bytes()).hexdigest()
    return f"/static/{name}?{digest[:8]}"


_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["first_sentence"] = first_sentence
_TEMPLATES.filters["score"] = lambda value: "-" if value is None else f"{value:.3g}"
_TEMPLATES.globals["static"] = {name: _static_address(name) for name in STATIC}
