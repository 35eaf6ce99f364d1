"""Thresholds to try on the page, and the one that a person lets hold."""

import io

import pytest
from PIL import Image

from reconad_plugin.ledger.night_record import DEFECT
from tests.reviewed import CALIBRATED, HELD, NOW, VERSION

ADDRESS = "/products/bolt/threshold"
FORM = {"version": VERSION, "threshold": "0.9", "by": "Ana", "why": "glare", "seen": "0"}


def test_what_a_threshold_would_do_is_told_of_each_image(browser, bucket):
    """Those of the last nights and the known defects, with a picture of each."""
    review = bucket.records.review(HELD)
    defect = review["sha256"].iloc[0]
    bucket.records.change_review(
        HELD, lambda table: table.assign(decision=table["decision"].mask(table.index == 0, DEFECT))
    )

    trial = browser.get(f"{ADDRESS}/trial").json()

    assert (trial["version"], trial["calibrated"], trial["in_force"]) == ("1", 0.75, CALIBRATED)
    assert len(trial["images"]) == 20
    assert [each["ref"] for each in trial["images"] if each["defect"]] == [defect[:16]]
    for each in trial["images"][:2]:
        picture = browser.get(f"{ADDRESS}/pictures/{each['ref']}.jpg")
        assert Image.open(io.BytesIO(picture.content)).format == "JPEG"
    assert [night for night, held in trial["nights"].items() if held > CALIBRATED] == [str(HELD)]
    for ref in ("", "0" * 16, trial["images"][0]["ref"][:3]):
        assert browser.get(f"{ADDRESS}/pictures/{ref}.jpg").status_code == 404


def test_a_threshold_holds_with_who_and_why(browser, bucket):
    """And the calibrated one again, with the same; the newest is told first."""
    first = browser.post(ADDRESS, data=FORM).json()
    back = browser.post(ADDRESS, data={**FORM, "threshold": "", "seen": "1"}).json()

    assert first == {"seen": 1, "settings": [f"0.9, by Ana on {NOW[:10]}: glare"]}
    assert back["seen"] == 2
    assert back["settings"][0].startswith("the calibrated one, by Ana")
    assert [each.threshold for each in bucket.settings] == [0.9, None]
    assert browser.get(f"{ADDRESS}/trial").json()["in_force"] == CALIBRATED


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"threshold": "high"}, "must be a number", id="no number"),
        pytest.param({"threshold": "nan"}, "above 0", id="not a number"),
        pytest.param({"threshold": "-1"}, "above 0", id="below 0"),
        pytest.param({"by": ""}, "the name of the person", id="nobody"),
        pytest.param({"why": " "}, "needs its reason", id="no reason"),
        pytest.param({"seen": "3"}, "somebody was faster", id="set meanwhile"),
        pytest.param({"seen": ""}, "must be a number", id="seen nothing"),
    ],
)
def test_what_breaks_a_rule_sets_nothing(browser, bucket, change, said):
    """One sentence says the rule."""
    answer = browser.post(ADDRESS, data={**FORM, **change})

    assert answer.status_code == 400
    assert said in answer.text.lower()
    assert bucket.settings == ()


def test_a_product_that_fails_says_why(browser):
    """Its bucket cannot be read."""
    assert browser.get("/products/nut/threshold").status_code == 200
    answer = browser.get("/products/nut/threshold/trial")

    assert answer.status_code == 502
    assert "access denied" in answer.text.lower()


def test_another_page_sets_nothing(browser, bucket):
    """A threshold comes from this page alone."""
    answer = browser.post(ADDRESS, data=FORM, headers={"origin": "http://elsewhere"})

    assert answer.status_code == 403
    assert bucket.settings == ()
