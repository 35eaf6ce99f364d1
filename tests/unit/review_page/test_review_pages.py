"""The review page as a browser asks for it, over a bucket in memory."""

import io
import re
from dataclasses import replace
from datetime import date

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.datastructures import URL

from monitoring.review_page.app import build_app
from monitoring.review_page.bounded import Bounded
from monitoring.review_page.ordinary import find_ordinary
from reconad_plugin.images.region import Region
from reconad_plugin.ledger.glance import Glance, write_glance
from reconad_plugin.ledger.history import History, VersionFacts
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.watch.cause import LIGHT
from tests.factory import to_png
from tests.fake_s3 import FakeS3, store_of
from tests.reviewed import HELD, NOW, PAGE, QUIET, TOKEN, ReviewBucket, served


@pytest.mark.parametrize("path", ["/", "/products/bolt", PAGE, f"{PAGE}/pictures/a/thumb.jpg"])
def test_without_the_token_nothing_is_shown(url, path):
    """Nor with another one."""
    for address in (path, f"{path}?token=other"):
        answer = httpx.get(f"{url}{address}", trust_env=False)

        assert answer.status_code == 401
        assert "bolt" not in answer.text
        assert "open the address that reconad review-page printed" in answer.text


def test_a_host_is_no_path(url, monkeypatch):
    """A page needs the token whatever the Host says, also where a URL is made of it."""
    monkeypatch.setattr("starlette.requests.HTTPConnection.url", URL("http://x/static//"))

    answer = httpx.get(f"{url}/", headers={"host": "x/static/"}, trust_env=False)

    assert answer.status_code == 401
    assert "bolt" not in answer.text


def test_the_token_leaves_the_address(url):
    """It is kept in a cookie that no script reads and no other site sends along."""
    answer = httpx.get(f"{url}/?token={TOKEN}", trust_env=False)

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=lax" in answer.headers["set-cookie"]


def test_every_answer_binds_the_browser(browser):
    """No script but the page's own, no other address, and no page is kept."""
    for path in ("/", PAGE, "/nowhere"):
        headers = browser.get(path).headers

        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
    page = browser.get(PAGE).text
    assert re.findall(r"https?://|<script>|style=|onclick", page) == []


def test_what_needs_a_person_comes_first(browser):
    """Each night says its cause and its sentence; a product that fails stops no other."""
    text = browser.get("/").text

    assert "access denied (AccessDenied: Not you)" in text
    assert text.index("nut") < text.index("bolt") < text.index("2026-05-04")
    assert "<b>10</b> of 10 wait" in text
    assert 'cause held">defects' in text
    assert "Many images show what normal images do not: 25 of 30 are suspects" in text
    assert "<b>1</b> of 1 waits" in text


def test_many_products_take_one_small_object_each(bucket, tmp_path):
    """But those that need a person: the page knows how all stand, and of whom to say more."""
    fake, reviewed = FakeS3({}), []
    for number in range(30):
        other = ReviewBucket(store_of(fake), fake.objects.__setitem__, tmp_path, f"p{number:02}")
        seen = Glance(other.product, "2026-05-04", champion="3", champion_since="2026-05-01")
        write_glance(other.store, other.layout, replace(seen, scores=(0.0, 1.0)))
        reviewed.append(other.reviewed)
    alarm = Glance("p07", "2026-05-04", LIGHT, "2026-05-02", "It is darker. Look at the lamp.")
    write_glance(store_of(fake), ProductLayout("p07"), alarm)

    options = {"follow_redirects": True, "trust_env": False}
    with (
        served(build_app([*reviewed, bucket.reviewed], TOKEN, lambda: NOW)) as url,
        httpx.Client(base_url=url, **options) as client,
    ):
        text = client.get(f"/?token={TOKEN}").text

    assert sorted(set(fake.read)) == sorted(each.layout.glance for each in reviewed)
    assert len(fake.read) == 30
    assert "since 2026-05-02: It is darker." in text
    rows = re.findall(r'<th><a href="/products/(\w+)">', text)
    assert rows == ["bolt", "p07", *(f"p{n:02}" for n in range(30) if n != 7)]
    assert text.count('<td>v3<span class="quiet">, 3 nights</span></td>') == 29
    assert text.count("<rect ") == 29 * 2


def test_images_come_worst_first_and_nothing_is_chosen(browser, images, bucket):
    """By the score with the light matched, as the command lists them."""
    review = bucket.records.review(HELD).sort_values("matched_score", ascending=False)

    assert list(images) == [sha256[:16] for sha256 in review["sha256"]]
    text = browser.get(PAGE).text
    assert 'aria-pressed="true"' not in text
    assert text.count('aria-pressed="false"') == len(images)
    assert 'id="person" maxlength="60" autocomplete="off" placeholder' in text


def test_an_overlay_is_made_by_the_version_that_judged(browser, bucket, images, tiny_detector):
    """Of the size of the picture that is shown, so that one lies on the other."""
    asked = []
    bucket.load_detector = lambda number: asked.append(number) or tiny_detector
    ref = next(iter(images))

    words = browser.get(f"{PAGE}/images/{ref}/seen").text
    overlay = browser.get(f"{PAGE}/pictures/{ref}/overlay.jpg")
    shown = browser.get(f"{PAGE}/pictures/{ref}/shown.jpg")

    threshold = tiny_detector.matched_calibration.image_threshold
    assert f"The threshold of version 1 is {threshold:.3g}." in words
    assert asked == ["1"]
    sizes = [Image.open(io.BytesIO(each.content)).size for each in (overlay, shown)]
    assert sizes == [(64, 48), (64, 48)]
    assert overlay.content != shown.content


def test_where_nothing_counts_the_overlay_is_dark(browser, bucket, images, tiny_detector):
    """The region of the image's own camera position, and one sentence says so."""
    left, right = np.zeros((2, *tiny_detector.image_size_px.shape), bool)
    left[:, :16], right[:, 16:] = True, True
    region = Region({"": left | right, "left": left, "right": right})
    bucket.load_detector = lambda number: replace(tiny_detector, region=region)
    positions = bucket.records.scores(HELD).set_index("sha256")["position"]

    for ref in list(images)[:4]:
        words = browser.get(f"{PAGE}/images/{ref}/seen").text
        drawn, shown = (
            np.asarray(Image.open(io.BytesIO(answer.content)).convert("L"), float)
            for name in ("overlay", "shown")
            for answer in [browser.get(f"{PAGE}/pictures/{ref}/{name}.jpg")]
        )
        dark = (drawn < 0.6 * shown).mean(0)  # (W,) by column

        assert "What is dark does not count." in words
        is_left = positions[positions.index.str.startswith(ref)].item() == "left"
        outside, inside = (dark[40:], dark[:24]) if is_left else (dark[:24], dark[40:])
        assert outside.mean() > 0.9
        assert inside.mean() < 0.1


def test_without_the_version_the_page_works(browser, bucket, images):
    """It says why there is no overlay, and asks for the version once until it is reloaded."""
    asked, load = [], bucket.load_detector
    bucket.load_detector = lambda number: asked.append(number) or load(number)

    for ref in list(images)[:3]:
        words = browser.get(f"{PAGE}/images/{ref}/seen").text
        assert "There is no overlay: a version must be one of reconad-bolt; got 1." in words
        assert browser.get(f"{PAGE}/pictures/{ref}/shown.jpg").status_code == 200
    assert asked == ["1"]
    browser.get(PAGE)
    browser.get(f"{PAGE}/images/{ref}/seen")
    assert asked == ["1", "1"]


def test_an_image_is_held_against_its_position(browser, bucket):
    """On the newest ordinary night; neither a suspect nor what a person called a defect."""
    found = find_ordinary(bucket.reviewed, HELD)
    scores = bucket.records.scores(QUIET)
    names = scores.set_index("sha256")["key"]

    assert set(found) == {"left", "right"}
    assert all(image.night == QUIET for image in found.values())
    assert all(f"/{position}/" in names[image.sha256] for position, image in found.items())
    suspects = set(scores.loc[scores["is_suspect"], "sha256"])
    assert not suspects & {image.sha256 for image in found.values()}
    text = browser.get(f"{PAGE}/ordinary?position=left").text
    assert f"/products/bolt/nights/{QUIET}/pictures/{found['left'].sha256[:16]}/shown.jpg" in text
    other = browser.get(f"{PAGE}/ordinary?position=top").text
    assert "No ordinary night before has this position." in other


def test_a_night_that_a_rolled_back_version_judged_is_not_ordinary(bucket):
    """Nor is one before which nothing was taken in."""
    bad = VersionFacts("1", "run", "", rolled_back_night=HELD.isoformat())
    bucket.records.write_history(History((bad,), founding_until=""))

    assert find_ordinary(bucket.reviewed, HELD) == {}
    assert find_ordinary(bucket.reviewed, QUIET) == {}


def test_pictures_are_bounded(browser, bucket, images):
    """A thumbnail is small whatever the picture; the full one is as large as it is."""
    night = date(2026, 5, 6)
    source = np.random.default_rng(1)
    large = to_png(source.integers(0, 255, (1500, 2000, 3), dtype=np.uint8))
    bucket.watch(night, bucket.ingest(night, {"large.png": large}), "defects")
    page = f"/products/bolt/nights/{night}"
    (ref,) = re.findall(r'data-ref="(\w+)"', browser.get(page).text)

    answers = {
        size: browser.get(f"{page}/pictures/{ref}/{size}.jpg")
        for size in ("thumb", "shown", "full")
    }

    sizes = {size: Image.open(io.BytesIO(each.content)).size for size, each in answers.items()}
    assert sizes == {"thumb": (240, 180), "shown": (1280, 960), "full": (2000, 1500)}
    assert all(each.headers["content-type"] == "image/jpeg" for each in answers.values())


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/products/other",
        "/products/bolt/nights/tomorrow",
        "/products/bolt/nights/2026-05-09",
        "/static/app.py",
        "/static/..%2fapp.py",
        f"{PAGE}/images/0000000000000000",
        f"{PAGE}/pictures/..%2f..%2fbolt%2fincoming/thumb.jpg",
        f"{PAGE}/pictures/0000000000000000/thumb.jpg",
        f"{PAGE}/pictures/0000000000000000/huge.jpg",
    ],
)
def test_what_is_not_there_is_one_sentence(browser, path):
    """No path leads out of the page."""
    answer = browser.get(path)

    assert answer.status_code == 404
    assert re.search(
        r"(go back to what needs you|reload the page|see the other nights)\.", answer.text
    )


def test_a_damaged_review_is_one_sentence(browser, bucket):
    """It is never passed over, and hides nothing: a person finds the other nights beside it."""
    bucket.put(bucket.layout.review(HELD), b"?")

    for path in ("/", "/products/bolt"):
        shown = browser.get(path).text
        nights = re.findall(r'href="(/products/bolt/nights/[\d-]+)"', shown)
        assert nights == [PAGE, PAGE.replace(str(HELD), str(QUIET))]
        assert "cannot be read" in shown
        assert "put it back from a copy: it holds what persons decided" in shown
        assert "<b>1</b> of 1 waits" in shown
    assert "1 image of 1 night<" in browser.get("/").text
    damaged, other = (browser.get(night) for night in nights)

    assert damaged.status_code == 502
    assert "put it back from a copy: it holds what persons decided." in damaged.text
    assert other.status_code == 200


def test_a_night_whose_review_is_damaged_is_not_held_against(browser, bucket):
    """Nobody knows which of its images persons called defects; the page works on."""
    bucket.put(bucket.layout.review(QUIET), b"?")

    answer = browser.get(f"{PAGE}/ordinary?position=left")

    assert answer.status_code == 200
    assert "No ordinary night before has this position." in answer.text


def test_a_bug_is_one_sentence_too(browser, bucket, images, monkeypatch, caplog):
    """Its traceback is in the terminal."""
    monkeypatch.setattr("monitoring.review_page.app.shrink_picture", lambda *_: 1 / 0)

    answer = browser.get(f"{PAGE}/pictures/{next(iter(images))}/thumb.jpg")

    assert answer.status_code == 500
    assert "The page itself failed; its terminal says how." in answer.text
    assert "ZeroDivisionError" in caplog.text


def test_what_is_kept_is_bounded():
    """Those asked for longest ago go first, and one that is dropped is made anew."""
    made, kept = [], Bounded[str](most=6, size_of=len)

    def get(name):
        return kept.get(name, lambda: made.append(name) or name * 3)

    for name in ("a", "b", "a", "c", "a", "b"):
        assert get(name) == name * 3
    kept.drop("b")
    get("b")

    assert made == ["a", "b", "c", "b", "b"]
