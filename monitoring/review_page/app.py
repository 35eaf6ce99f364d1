"""The review page: what it answers to which address."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from monitoring.review_page.access import Access
from monitoring.review_page.answers import (
    HERE,
    NOT_FOUND,
    STATIC,
    PageError,
    refuse,
    refuse_error,
    render,
)
from monitoring.review_page.bounded import Bounded
from monitoring.review_page.decisions import Form, choose_golden, take_decision
from monitoring.review_page.night import REF_CHARACTERS, ReviewedImage, ReviewedNight, read_night
from monitoring.review_page.ordinary import OrdinaryImage, find_ordinary
from monitoring.review_page.overlays import Overlays
from monitoring.review_page.overview import Overview
from monitoring.review_page.pictures import SIDES_PX, shrink_picture
from monitoring.review_page.product import ReviewedProduct
from monitoring.review_page.threshold import Trials, set_threshold
from reconad_plugin.config.names import parse_night
from reconad_plugin.errors import ConfigError, ReconadError
from reconad_plugin.images.names import printable
from reconad_plugin.ledger.glance import note_glance
from reconad_plugin.ledger.manifest import accepted_rows, read_manifest

MOST_PICTURES_BYTES: Final = 2**27  # of the pictures that are kept in memory
MOST_NIGHTS: Final = 64  # whose images, or ordinary counterparts, are known
MOST_BODY_BYTES: Final = 2**20  # of a form
_KEPT: Final = "private, max-age=43200, immutable"  # what never changes under its address
_WHY_UNSEEN: Final = "There is no overlay: no version has judged this image yet."

Images = Mapping[str, tuple[str, str]]  # name of an image -> its SHA-256 and key


@dataclass(frozen=True)
class ReviewPage:
    """What the page's addresses share."""

    products: Mapping[str, ReviewedProduct]
    now: Callable[[], str]  # the time, ISO 8601
    overview: Overview = field(default_factory=Overview)
    overlays: Overlays = field(default_factory=Overlays)
    trials: Trials = field(default_factory=Trials)
    # one after the other, beside the threads that answer: no picture waits for an overlay
    seer: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 1))
    # one after the other, so that the last note of how a product stands is the newest
    noter: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 1))
    pictures: Bounded[bytes] = field(default_factory=lambda: Bounded(MOST_PICTURES_BYTES, len))
    images: Bounded[Images] = field(default_factory=lambda: Bounded(MOST_NIGHTS))
    ordinary: Bounded[dict[str, OrdinaryImage]] = field(
        default_factory=lambda: Bounded(MOST_NIGHTS)
    )

    def product(self, name: str) -> ReviewedProduct:
        """Return a product by its name."""
        if name not in self.products:
            raise PageError(404, NOT_FOUND)
        return self.products[name]

    def night(self, product: str, night: str) -> ReviewedNight:
        """Read a night that has a review."""
        found = read_night(self.product(product), _parse_night(night))
        if not found.images:
            raise PageError(404, f"No image of {night} waits or waited: see the other nights.")
        return found

    def image(self, product: str, night: str, ref: str) -> ReviewedImage:
        """Read an image of a night's review."""
        found = self.night(product, night).find(ref)
        if found is None:
            raise PageError(404, f"The review of {night} has no such image: reload the page.")
        return found

    def picture(self, product: str, night: str, ref: str, size: str) -> bytes:
        """Make a JPEG of an accepted image of a night."""
        opened, day = self.product(product), _parse_night(night)
        known = self.images.get((product, night), partial(_known_images, opened, day))
        if ref not in known:  # it came since, or the night was run again
            raise PageError(404, f"{night} has no such image: reload the page.")
        sha256, key = known[ref]

        def make() -> bytes:
            return shrink_picture(opened.read_image(sha256, key), size, opened.limits)

        return self.pictures.get((product, sha256, size), make)


def build_app(products: Sequence[ReviewedProduct], token: str, now: Callable[[], str]) -> FastAPI:
    """Build the page of some products.

    Args:
        products: that may be reviewed.
        token: what a browser needs; see ``Access``.
        now: tells the time of a decision, ISO 8601.
    """
    page = ReviewPage({product.name: product for product in products}, now)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(Access(token, refuse))
    for error in (HTTPException, PageError, ReconadError):
        app.add_exception_handler(error, refuse_error)
    _add_pages(app, page)
    _add_fragments(app, page)
    _add_decisions(app, page)
    _add_threshold(app, page)
    _add_files(app, page)
    return app


def _add_pages(app: FastAPI, page: ReviewPage) -> None:
    @app.get("/")
    def products(request: Request) -> Response:
        return render(request, "products.html", products=page.overview.of(page.products.values()))

    @app.get("/products/{product}")
    def nights(request: Request, product: str) -> Response:
        found = page.overview.of_product(page.product(product))
        return render(request, "product.html", product=found)

    @app.get("/products/{product}/nights/{night}")
    def night(request: Request, product: str, night: str) -> Response:
        page.overlays.forgive(product)
        for known in (page.images, page.ordinary):  # the night may have been run again
            known.drop((product, night))
        found = page.night(product, night)
        return render(request, "night.html", night=found)


def _add_fragments(app: FastAPI, page: ReviewPage) -> None:
    @app.get("/products/{product}/nights/{night}/images/{ref}")
    def image(request: Request, product: str, night: str, ref: str) -> Response:
        found = page.image(product, night, ref)
        return render(request, "image.html", image=found, product=product, night=night)

    @app.get("/products/{product}/nights/{night}/ordinary")
    def ordinary(request: Request, product: str, night: str, position: str = "") -> Response:
        opened, day = page.product(product), _parse_night(night)
        found = page.ordinary.get((product, night), partial(find_ordinary, opened, day))
        return render(
            request, "ordinary.html", image=found.get(position), position=position, product=product
        )

    @app.get("/products/{product}/nights/{night}/images/{ref}/seen")
    async def seen(request: Request, product: str, night: str, ref: str) -> Response:
        found = await asyncio.to_thread(page.image, product, night, ref)
        context: dict[str, Any] = {"seen": None, "image": found, "why": _WHY_UNSEEN}
        if found.asked is not None:
            try:
                look = partial(page.overlays.see, page.product(product), found.asked)
                context["seen"] = await _in(page.seer, look)
            except ReconadError as error:
                context["why"] = f"There is no overlay: {printable(str(error))}."
        return render(request, "seen.html", product=product, night=night, **context)


def _add_decisions(app: FastAPI, page: ReviewPage) -> None:
    @app.post("/products/{product}/nights/{night}/decisions")
    def decisions(
        request: Request, product: str, night: str, body: Annotated[bytes, Depends(_read_body)]
    ) -> Response:
        opened, form = page.product(product), Form.parse(body)
        lost = take_decision(opened, page.night(product, night), form, page.now())
        changed = _changed(request, page, product, night, form, lost)
        note = partial(note_glance, opened.store, opened.layout)
        changed.background = BackgroundTask(_in, page.noter, note)
        return changed

    @app.post("/products/{product}/nights/{night}/golden")
    def golden(
        request: Request, product: str, night: str, body: Annotated[bytes, Depends(_read_body)]
    ) -> Response:
        opened, form = page.product(product), Form.parse(body)
        choose_golden(opened, page.night(product, night), form, page.now())
        return _changed(request, page, product, night, form, {})


def _add_threshold(app: FastAPI, page: ReviewPage) -> None:
    address = "/products/{product}/threshold"

    @app.get(address)
    def threshold(request: Request, product: str) -> Response:
        return render(request, "threshold.html", product=page.product(product).name)

    @app.get(f"{address}/trial")
    async def trial(product: str) -> Response:
        return JSONResponse(
            await _in(page.seer, partial(page.trials.gather, page.product(product)))
        )

    @app.post(address)
    def setting(product: str, body: Annotated[bytes, Depends(_read_body)]) -> Response:
        return JSONResponse(set_threshold(page.product(product), body, page.now()))

    @app.get(f"{address}/pictures/{{ref}}.jpg")
    def tried(product: str, ref: str) -> Response:
        content = page.trials.picture(page.product(product), ref)
        if content is None:
            raise PageError(404, NOT_FOUND)
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": _KEPT})


def _add_files(app: FastAPI, page: ReviewPage) -> None:
    @app.get("/products/{product}/nights/{night}/pictures/{ref}/{size}.jpg")
    async def picture(product: str, night: str, ref: str, size: str) -> Response:
        if size == "overlay":
            asked = (await asyncio.to_thread(page.image, product, night, ref)).asked
            if asked is None:
                raise PageError(404, _WHY_UNSEEN)
            look = partial(page.overlays.see, page.product(product), asked)
            content = (await _in(page.seer, look)).overlay
        elif size in SIDES_PX:
            content = await asyncio.to_thread(page.picture, product, night, ref, size)
        else:
            raise PageError(404, NOT_FOUND)
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": _KEPT})

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in STATIC:
            raise PageError(404, NOT_FOUND)
        headers = {"Cache-Control": _KEPT}
        return FileResponse(HERE / "static" / name, media_type=STATIC[name], headers=headers)


def _changed(
    request: Request,
    page: ReviewPage,
    product: str,
    night: str,
    form: Form,
    lost: Mapping[str, str],
) -> Response:
    """Answer with what a person changed, as it is now, and what was left."""
    found = page.night(product, night)
    images = [image for image in found.images if image.ref in form.marks]
    said = _in_one_sentence(list(lost.values()))
    return render(request, "changed.html", night=found, images=images, lost=lost, sentence=said)


def _in_one_sentence(lost: Sequence[str]) -> str:
    if not lost:
        return ""
    others = f", as {len(lost) - 1} more do" if len(lost) > 1 else ""
    return f"Somebody was faster, and {lost[0]}{others}: look again."


async def _in(threads: ThreadPoolExecutor, call: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(threads, call)


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY_BYTES:
            raise PageError(413, "A decision is on fewer images than this: choose fewer.")
    return bytes(body)


def _known_images(product: ReviewedProduct, night: date) -> Images:
    """Name the accepted images of a night: no key comes from a browser."""
    manifest = read_manifest(product.store, product.layout, night)
    rows = accepted_rows([] if manifest is None else [manifest])
    pairs = zip(rows["sha256"], rows["key"], strict=True)
    return {sha256[:REF_CHARACTERS]: (sha256, key) for sha256, key in pairs}


def _parse_night(text: str) -> date:
    try:
        return parse_night(text)
    except ConfigError:
        raise PageError(404, NOT_FOUND) from None
