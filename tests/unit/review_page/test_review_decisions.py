"""What a person decides on the review page, over a bucket in memory."""

import re

import pytest

from monitoring.review_page.app import MOST_BODY_BYTES
from monitoring.review_page.decisions import Form, take_decision
from monitoring.review_page.night import read_night
from reconad_plugin.ledger.night_record import DEFECT, NORMAL, WAITING
from reconad_plugin.store.golden_notes import read_golden_notes
from tests.fake_s3 import refusal
from tests.reviewed import HELD, NOW, PAGE


def say(browser, where, images, **fields):
    """Send what a person decides."""
    form = {"by": "Ana", **fields, "image": [f"{ref}.{mark}" for ref, mark in images.items()]}
    return browser.post(f"{PAGE}/{where}", data=form)


def said_of(bucket, ref):
    """What the ledger says of an image."""
    review = bucket.records.review(HELD)
    (row,) = review[review["sha256"].str.startswith(ref)].to_dict("records")
    return row["decision"], row["defect"], row["by"], row["at"]


@pytest.mark.parametrize("origin", [None, "http://elsewhere", "null"])
def test_another_sites_decision_is_refused(browser, bucket, images, origin):
    """Nothing is written."""
    del browser.headers["origin"]
    if origin:
        browser.headers["origin"] = origin

    answer = say(browser, "decisions", images, decision="normal")

    assert answer.status_code == 403
    assert set(bucket.records.review(HELD)["decision"]) == {WAITING}


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
    assert re.findall(r'data-ref="(\w+)"[^>]* data-lost', answer.text) == [first]


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
    assert "is none: reload the page" in unknown.text
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


def test_the_golden_set_follows_what_stands(browser, bucket, images, monkeypatch):
    """Not what was not written: whoever is late by a moment changes no golden image, nor does a
    decision that the bucket does not take."""
    first = next(iter(images))
    answer = say(browser, "decisions", {first: images[first]}, decision="defect", defect="pit")
    (mark,) = re.findall(r'data-mark="(\w+)"', answer.text)
    say(browser, "golden", {first: mark}, golden="put")
    before = read_night(bucket.reviewed, HELD)
    answer = say(browser, "decisions", {first: mark}, decision="defect", defect="dent")
    (renamed,) = read_golden_notes(bucket.store, bucket.layout)
    late = {"decision": "normal", "by": "Late"}

    lost = take_decision(bucket.reviewed, before, Form(late, {first: mark}), NOW)

    assert list(lost) == [first]
    assert read_golden_notes(bucket.store, bucket.layout) == [renamed]
    (mark,) = re.findall(r'data-mark="(\w+)"', answer.text)
    calls = bucket.store._client.calls
    put = calls.put_object

    def refuse_reviews(**asked):
        if "/reviews/" in asked["Key"]:
            raise refusal("SlowDown", "Not now.", 503, "PutObject")
        put(**asked)

    monkeypatch.setattr(calls, "put_object", refuse_reviews)
    failed = say(browser, "decisions", {first: mark}, decision="normal")

    assert failed.status_code == 502
    assert read_golden_notes(bucket.store, bucket.layout) == [renamed]
