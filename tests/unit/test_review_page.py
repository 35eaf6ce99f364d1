"""The review page as a browser asks for it, over a bucket in memory."""

import io
import re
from datetime import date

import httpx
import numpy as np
import pytest
from PIL import Image

from monitoring.review_page.app import MOST_BODY_BYTES, build_app
from monitoring.review_page.bounded import Bounded
from monitoring.review_page.ordinary import find_ordinary
from reconad_plugin.ledger.history import History, VersionFacts
from reconad_plugin.ledger.night_record import DEFECT, NORMAL, WAITING
from reconad_plugin.store.golden_notes import read_golden_notes
from tests.factory import normal_picture, to_png
from tests.fake_s3 import FakeS3, refusal, store_of
from tests.reviewed import ReviewBucket, served

QUIET, HELD = date(2026, 5, 3), date(2026, 5, 4)
TOKEN = "token-of-the-tests"
NOW = "2026-05-05T06:12:00+00:00"
PAGE = f"/products/bolt/nights/{HELD}"


def pictures(night, count, positions=("",)):
    """A night of small pictures by name, of camera positions in turn."""
    source = np.random.default_rng(night.toordinal())
    return {
        f"{positions[number % len(positions)]}{number:03}.png": to_png(
            (normal_picture(source).clip(0, 1) * 255).astype(np.uint8)
        )
        for number in range(count)
    }


def refuse(call):
    raise refusal("AccessDenied", "Not you.", 403, "ListObjectsV2")


@pytest.fixture(scope="module")
def taken_in(tmp_path_factory):
    """A quiet night of two positions and a held one, with what is written of them."""
    fake = FakeS3({})
    folder = tmp_path_factory.mktemp("cache")
    bucket = ReviewBucket(store_of(fake), fake.objects.__setitem__, folder)
    for night, cause in ((QUIET, "none"), (HELD, "defects")):
        rows = bucket.ingest(night, pictures(night, 10, ("left/", "right/")))
        bucket.watch(night, rows, cause)
    return fake.objects, folder


@pytest.fixture
def bucket(taken_in):
    """The same, to change."""
    objects, folder = taken_in
    fake = FakeS3(dict(objects))
    return ReviewBucket(store_of(fake), fake.objects.__setitem__, folder)


@pytest.fixture
def url(bucket):
    """The page of it, and of a product whose bucket cannot be read."""
    broken = FakeS3({})
    broken.get_paginator = refuse
    other = ReviewBucket(store_of(broken), broken.objects.__setitem__, bucket.folder, "nut")
    with served(build_app([bucket.reviewed, other.reviewed], TOKEN, lambda: NOW)) as address:
        yield address


@pytest.fixture
def browser(url):
    """A browser that has opened the address with the token."""
    with httpx.Client(base_url=url, follow_redirects=True, trust_env=False) as client:
        client.get(f"/?token={TOKEN}")
        client.headers.update({"origin": url, "hx-request": "true"})
        yield client


@pytest.fixture
def images(browser):
    """Names and marks of the held night's images, as the page shows them: worst first."""
    return dict(re.findall(r'data-ref="(\w+)" data-mark="(\w+)"', browser.get(PAGE).text))


def say(browser, where, images, **fields):
    """Send what a person decides."""
    form = {"by": "Ana", **fields, "image": [f"{ref}.{mark}" for ref, mark in images.items()]}
    return browser.post(f"{PAGE}/{where}", data=form)


def said_of(bucket, ref):
    """What the ledger says of an image."""
    review = bucket.records.review(HELD)
    (row,) = review[review["sha256"].str.startswith(ref)].to_dict("records")
    return row["decision"], row["defect"], row["by"], row["at"]


@pytest.mark.parametrize("path", ["/", "/products/bolt", PAGE, f"{PAGE}/pictures/a/thumb.jpg"])
def test_without_the_token_nothing_is_shown(url, path):
    """Nor with another one."""
    for address in (path, f"{path}?token=other"):
        answer = httpx.get(f"{url}{address}", trust_env=False)

        assert answer.status_code == 401
        assert "bolt" not in answer.text
        assert "open the address that reconad review-page printed" in answer.text


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


@pytest.mark.parametrize("origin", [None, "http://elsewhere", "null"])
def test_another_sites_decision_is_refused(browser, bucket, images, origin):
    """Nothing is written."""
    del browser.headers["origin"]
    if origin:
        browser.headers["origin"] = origin

    answer = say(browser, "decisions", images, decision="normal")

    assert answer.status_code == 403
    assert set(bucket.records.review(HELD)["decision"]) == {WAITING}


def test_what_needs_a_person_comes_first(browser):
    """Each night says its cause and its sentence; a product that fails stops no other."""
    text = browser.get("/").text

    assert "access denied (AccessDenied: Not you)" in text
    assert text.index("nut") < text.index("bolt") < text.index("2026-05-04")
    assert "<b>10</b> of 10 wait" in text
    assert 'cause held">defects' in text
    assert "Many images show what normal images do not: 25 of 30 are suspects" in text
    assert "<b>1</b> of 1 waits" in text


def test_images_come_worst_first_and_nothing_is_chosen(browser, images, bucket):
    """By the score with the light matched, as the command lists them."""
    review = bucket.records.review(HELD).sort_values("matched_score", ascending=False)

    assert list(images) == [sha256[:16] for sha256 in review["sha256"]]
    text = browser.get(PAGE).text
    assert 'aria-pressed="true"' not in text
    assert "checked" not in text
    assert 'id="person" maxlength="60" autocomplete="off" placeholder' in text


def test_a_decision_stands_in_the_ledger(browser, bucket, images):
    """Of several images at once, with person, time and name, and of no other image."""
    first, second, *others = images

    answer = say(
        browser, "decisions", {first: images[first], second: images[second]},
        decision="defect", defect="deep  pit",
    )  # fmt: skip

    assert answer.status_code == 200
    assert said_of(bucket, first) == (DEFECT, "deep pit", "Ana", NOW)
    assert said_of(bucket, second) == (DEFECT, "deep pit", "Ana", NOW)
    assert said_of(bucket, others[0]) == (WAITING, "", "", "")
    assert "<b>8</b> of 10 wait" in answer.text
    assert set(re.findall(r'data-ref="(\w+)"', answer.text)) == {first, second}


def test_two_reviewers_do_not_overwrite_one_another(browser, bucket, images):
    """Ben has the page open since before Ana decided: one sentence says so, and hers stays."""
    first, second, *_ = images
    say(browser, "decisions", {first: images[first]}, decision="defect", defect="pit")

    both = {first: images[first], second: images[second]}
    answer = say(browser, "decisions", both, decision="normal", by="Ben")

    assert said_of(bucket, first)[:3] == (DEFECT, "pit", "Ana")
    assert said_of(bucket, second)[:3] == (NORMAL, "", "Ben")
    assert "stays as it is (defect, pit, by Ana): look again." in answer.text


def test_undo_makes_an_image_wait_again(browser, bucket, images):
    """It says who took it back."""
    ref = next(iter(images))
    answer = say(browser, "decisions", {ref: images[ref]}, decision="normal")
    (mark,) = re.findall(r'data-mark="(\w+)"', answer.text)

    say(browser, "decisions", {ref: mark}, decision="waiting", by="Ben")

    assert said_of(bucket, ref) == (WAITING, "", "Ben", NOW)
    assert "waits again, taken back by Ben" in browser.get(f"{PAGE}/images/{ref}").text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"by": " "}, "A decision needs the name of the person", id="nobody"),
        pytest.param({"decision": "maybe"}, "A decision is one of waiting, normal", id="unknown"),
        pytest.param({"decision": "defect", "defect": "../a"}, "no slash", id="folder"),
        pytest.param({"defect": "a" * 99}, "at most 60 characters", id="long"),
    ],
)
def test_a_wrong_decision_is_one_sentence(browser, bucket, images, fields, said):
    """It stands where the page says things, and nothing is written."""
    answer = say(browser, "decisions", images, **{"decision": "normal", **fields})

    assert answer.status_code == 400
    assert said in answer.text
    assert answer.headers["hx-retarget"] == "#message"
    assert set(bucket.records.review(HELD)["decision"]) == {WAITING}


def test_only_images_of_the_review_can_be_decided_on(browser, images):
    """A key never comes from a browser; too much at once is refused."""
    unknown = say(browser, "decisions", {**images, "0" * 16: "0"}, decision="normal")
    none = say(browser, "decisions", {}, decision="normal")
    large = browser.post(f"{PAGE}/decisions", content=b"a" * (MOST_BODY_BYTES + 1))

    assert (unknown.status_code, none.status_code, large.status_code) == (400, 400, 413)
    assert "none: reload the page" in unknown.text.replace("is none", "none")
    assert "none was chosen" in none.text
    assert "choose fewer" in large.text


def test_names_are_shown_as_they_are_written(browser, images):
    """Whatever they look like to a browser."""
    ref = next(iter(images))
    name = "<script>alert(1)</script>"

    say(browser, "decisions", {ref: images[ref]}, decision="defect", defect="<u>&", by="A <i>")
    text = browser.get(PAGE).text + browser.get(f"{PAGE}/images/{ref}").text
    forged = say(browser, "decisions", {name: "1"}, decision="normal").text

    assert "<u>" not in text
    assert "&lt;u&gt;&amp;" in text
    assert "A &lt;i&gt;" in text
    assert "<script>" not in forged


def test_a_confirmed_defect_joins_the_golden_set(browser, bucket, images):
    """And nothing else does; it is called as the defect is, and leaves when it is normal."""
    first, second, *_ = images
    refused = say(browser, "golden", {second: images[second]}, golden="put")
    answer = say(browser, "decisions", {first: images[first]}, decision="defect", defect="pit")
    (mark,) = re.findall(r'data-mark="(\w+)"', answer.text)

    put = say(browser, "golden", {first: mark}, golden="put", by="Ben")
    (inside,) = read_golden_notes(bucket.store, bucket.layout)
    answer = say(browser, "decisions", {first: mark}, decision="defect", defect="dent")
    (renamed,) = read_golden_notes(bucket.store, bucket.layout)
    say(browser, "decisions", {first: mark}, decision="normal", by="Late")
    (still,) = read_golden_notes(bucket.store, bucket.layout)
    (mark,) = re.findall(r'data-mark="(\w+)"', answer.text)
    say(browser, "decisions", {first: mark}, decision="normal")
    (outside,) = read_golden_notes(bucket.store, bucket.layout)

    assert refused.status_code == 400
    assert "Only a confirmed defect can judge versions" in refused.text
    assert "in the golden set" in put.text
    assert (inside.defect, inside.by, inside.at, inside.is_golden) == ("pit", "Ben", NOW, True)
    assert (renamed.defect, renamed.by, renamed.is_golden) == ("dent", "Ana", True)
    assert still == renamed  # whoever is late decides nothing
    assert (outside.by, outside.is_golden) == ("Ana", False)
    copy = bucket.store.read(bucket.layout.golden_copy(inside.sha256)).content
    assert copy == bucket.store.read(inside.key).content


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
    """It is never passed over; other nights can be reviewed."""
    bucket.put(bucket.layout.review(HELD), b"?")

    answer = browser.get(PAGE)

    assert answer.status_code == 502
    assert "put it back from a copy: it holds what persons decided." in answer.text
    assert browser.get(PAGE.replace(str(HELD), str(QUIET))).status_code == 200


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
