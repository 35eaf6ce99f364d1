"""The review page as people use it: the real command over real servers, in a real browser.

``RECONAD_SCREENSHOTS`` names a folder that is to have the pictures of the documentation.
"""

import re
from collections.abc import Iterator

import httpx
import pytest
from mlflow import MlflowClient
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from flows.platform.servers import SETTINGS_FILE, EmbeddedPlatform
from mlflow_models import flavor, registry
from reconad_plugin.ledger.history import History
from reconad_plugin.ledger.ledger import read_ledger
from reconad_plugin.ledger.night_record import DEFECT, NORMAL, WAITING
from reconad_plugin.store.golden_notes import read_golden_notes
from reconad_plugin.training import loop
from tests.acceptance.browser import until
from tests.acceptance.review_desk import (
    HELD,
    LEARNT,
    PRODUCT,
    are_drawn,
    is_drawn,
    is_error,
    is_laid_over,
    judged_bucket,
    page_of,
    phone,
    picture,
    press,
    ranked,
    requested,
    says,
    sign,
    text_of,
)
from tests.reviewed import ReviewBucket


@pytest.fixture(scope="module")
def bucket(
    narrow_widths: None, platform: EmbeddedPlatform, tmp_path_factory: pytest.TempPathFactory
) -> ReviewBucket:
    """A quiet night and a held one; two validations a training, since no claim here is about how
    well a model sees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "VALIDATIONS", 2)
        return judged_bucket(platform, tmp_path_factory.mktemp("review-cache"))


@pytest.fixture(scope="module")
def address(bucket: ReviewBucket) -> Iterator[str]:
    """What ``reconad review-page`` prints."""
    with page_of(bucket) as printed:
        yield printed


@pytest.fixture
def night(browser: webdriver.Chrome, address: str, bucket: ReviewBucket) -> Iterator[str]:
    """The held night's page, opened as on a new morning; all its images wait."""
    bucket.records.change_review(
        HELD, lambda table: table.assign(decision=WAITING, defect="", by="", at="")
    )
    browser.set_window_size(1400, 900)
    browser.get(address)
    browser.execute_script("sessionStorage.clear()")
    browser.find_element(By.PARTIAL_LINK_TEXT, str(HELD)).click()
    until(browser, is_drawn)
    yield browser.current_url.partition("#")[0]
    assert [entry for entry in browser.get_log("browser") if is_error(entry)] == []
    hosts = {re.sub(r"https?://([^/:]+).*", r"\1", url) for url in requested(browser)}
    assert hosts <= {"127.0.0.1"}


def test_the_demos_platform_serves_the_page(
    platform: EmbeddedPlatform, address: str, bucket: ReviewBucket
) -> None:
    """It prints an address that opens it."""
    settings = bucket.folder / "reconad.toml"  # `address` has written it
    (platform.state / SETTINGS_FILE).write_text(settings.read_text(), encoding="utf-8")

    url = platform.serve_review_page()

    with httpx.Client(follow_redirects=True, trust_env=False) as client:
        assert PRODUCT in client.get(url).text


def test_a_night_is_decided_with_the_keyboard(
    browser: webdriver.Chrome, night: str, bucket: ReviewBucket
) -> None:
    """The worst two are pits, the third is normal, the fourth was a slip; the ledger then says
    exactly that, and who said it, and the next training learns of the night what was released."""
    press(browser, "n")
    until(browser, lambda page: "Write your name first" in page.page_source)
    assert set(bucket.records.review(HELD)["decision"]) == {WAITING}
    sign(browser, "Ana")
    press(browser, "o")
    until(browser, is_laid_over)
    until(browser, lambda page: "The threshold of version 1 is" in page.page_source)
    until(browser, lambda page: "same position" in text_of(page, ".ordinary"))
    browser.find_element(By.ID, "defect").send_keys("pits" + Keys.ENTER)
    until(browser, says("29 of 30 wait"))
    press(browser, "1")
    until(browser, says("28 of 30 wait"))
    press(browser, "n")
    until(browser, says("27 of 30 wait"))
    until(browser, is_laid_over)
    picture(browser, "review-page")
    press(browser, "n")
    until(browser, says("26 of 30 wait"))
    press(browser, "u")
    until(browser, says("27 of 30 wait"))

    review = ranked(bucket)
    assert review["decision"].tolist() == [DEFECT, DEFECT, NORMAL, *27 * [WAITING]]
    assert review["defect"].tolist() == ["pits", "pits", *28 * [""]]
    assert review["by"].tolist() == [*4 * ["Ana"], *26 * [""]]
    history = History(founding_until=str(LEARNT[-1]))
    ledger = read_ledger(bucket.store, bucket.layout, bucket.records, history)
    learnt = ledger.training_images(target_fpr=0.02)
    assert learnt.loc[learnt["night"] == str(HELD), "key"].tolist() == [review["key"][2]]
    browser.find_element(By.LINK_TEXT, PRODUCT).click()
    until(browser, lambda page: "27 of 30 wait" in text_of(page, "main"))
    picture(browser, "review-page-product")


def test_several_are_decided_at_once(
    browser: webdriver.Chrome, night: str, bucket: ReviewBucket
) -> None:
    """A row of them by Shift, and then all that still wait; one key undoes it for all."""
    sign(browser, "Ana")
    cards = browser.find_elements(By.CSS_SELECTOR, ".card .pick")
    cards[1].click()
    shift = webdriver.ActionChains(browser).key_down(Keys.SHIFT).click(cards[4])
    shift.key_up(Keys.SHIFT).perform()
    assert "4 images chosen" in text_of(browser, "#chosen")
    press(browser, "d")
    until(browser, says("26 of 30 wait"))
    press(browser, "a", "n")
    until(browser, says("All 30 are decided"))

    assert ranked(bucket)["decision"].tolist() == [NORMAL, *4 * [DEFECT], *25 * [NORMAL]]
    press(browser, "u")
    until(browser, says("26 of 30 wait"))
    assert ranked(bucket)["decision"].tolist() == [WAITING, *4 * [DEFECT], *25 * [WAITING]]


def test_two_reviewers_at_once(browser: webdriver.Chrome, night: str, bucket: ReviewBucket) -> None:
    """Ben's page is older than Ana's decisions: hers stay, one sentence tells him, and what he
    undoes is none of them, not even where he had decided before her."""
    names = [key.rpartition("/")[2] for key in ranked(bucket)["key"]]
    first = browser.current_window_handle
    sign(browser, "Ben")
    press(browser, "n")
    until(browser, says("29 of 30 wait"))
    browser.switch_to.new_window("tab")
    browser.get(night)
    until(browser, is_drawn)
    sign(browser, "Ana")
    press(browser, Keys.ARROW_LEFT)
    for count in (29, 28):
        browser.find_element(By.ID, "defect").send_keys("pits" + Keys.ENTER)
        until(browser, says(f"{count} of 30 wait"))
    browser.close()
    browser.switch_to.window(first)

    press(browser, "n")
    until(browser, lambda page: f"faster, and {names[1]}" in text_of(page, "#message"))
    assert "(defect, pits, by Ana)" in text_of(browser, "#message")
    press(browser, "u")
    until(browser, lambda page: f"faster, and {names[0]}" in text_of(page, "#message"))
    press(browser, "u")
    until(browser, lambda page: "nothing of yours to undo" in text_of(page, "#message"))

    assert ranked(bucket)["decision"].tolist() == [DEFECT, DEFECT, *28 * [WAITING]]
    assert ranked(bucket)["by"].tolist() == ["Ana", "Ana", *28 * [""]]


def test_a_server_that_is_away_is_said(
    browser: webdriver.Chrome, night: str, bucket: ReviewBucket
) -> None:
    """What was chosen stays chosen, and is decided once the server is back."""
    sign(browser, "Ana")
    press(browser, "x", Keys.ARROW_RIGHT, "x")
    until(browser, is_drawn)
    browser.set_network_conditions(offline=True, latency=0, throughput=0)
    try:
        press(browser, "n")
        until(browser, lambda page: "The page does not answer" in text_of(page, "#message"))
        assert "2 images chosen" in text_of(browser, "#chosen")
        assert set(ranked(bucket)["decision"]) == {WAITING}
    finally:
        browser.delete_network_conditions()
    away = [entry["message"] for entry in browser.get_log("browser") if is_error(entry)]
    assert all("ERR_INTERNET_DISCONNECTED" in message for message in away)

    press(browser, "n")
    until(browser, says("28 of 30 wait"))
    assert ranked(bucket)["decision"].tolist() == [NORMAL, NORMAL, *28 * [WAITING]]


def test_one_key_makes_a_defect_golden(
    browser: webdriver.Chrome, night: str, bucket: ReviewBucket
) -> None:
    """A confirmed one; the page shows its star."""
    sign(browser, "Ana")
    press(browser, "g")
    until(browser, lambda page: "Only a confirmed defect" in page.page_source)
    browser.find_element(By.ID, "defect").send_keys("pits" + Keys.ENTER)
    until(browser, says("29 of 30 wait"))
    press(browser, Keys.ARROW_LEFT, "g")
    until(browser, lambda page: "★ in the golden set" in text_of(page, "#stage"))

    (note,) = read_golden_notes(bucket.store, bucket.layout)
    assert (note.defect, note.by, note.is_golden) == ("pits", "Ana", True)
    assert note.sha256 == ranked(bucket)["sha256"][0]
    press(browser, "g")
    until(browser, lambda page: "golden set" not in text_of(page, "#stage"))
    assert not read_golden_notes(bucket.store, bucket.layout)[0].is_golden


def test_a_threshold_is_moved_and_holds(
    browser: webdriver.Chrome, night: str, bucket: ReviewBucket
) -> None:
    """The worst two are pits; a threshold above them misses both, one far below none, and that one
    holds, in Ana's name and for her reason."""
    name = registry.model_name(PRODUCT)
    MlflowClient().set_registered_model_alias(name, registry.CHAMPION, "1")
    sign(browser, "Ana")
    for count in (29, 28):
        browser.find_element(By.ID, "defect").send_keys("pits" + Keys.ENTER)
        until(browser, says(f"{count} of 30 wait"))
    scores = bucket.records.scores(HELD).set_index("key")["pred_score"]
    high, low = 2 * scores.max(), float(scores.median())

    browser.find_element(By.LINK_TEXT, PRODUCT).click()
    browser.find_element(By.PARTIAL_LINK_TEXT, "score is too high").click()
    until(browser, lambda page: page.find_element(By.ID, "trial").is_displayed())
    field = browser.find_element(By.ID, "number")
    field.clear()
    field.send_keys("0")
    assert not browser.find_element(By.ID, "set").is_enabled()
    for threshold, missed in ((high, "2 of 2"), (low, "0 of 2")):
        field.clear()
        field.send_keys(f"{threshold:.6g}")
        assert f"{missed} known defects missed" in text_of(browser, "#said")
    until(browser, lambda page: are_drawn(page, "#rejected img"))
    picture(browser, "review-page-threshold")
    browser.find_element(By.ID, "why").send_keys("pits below the glare")
    browser.find_element(By.ID, "set").click()
    until(browser, lambda page: "holds now" in text_of(page, "#message"))

    (setting,) = registry.champion(PRODUCT).thresholds
    assert setting.threshold == pytest.approx(low, rel=1e-5)
    assert (setting.by, setting.why) == ("Ana", "pits below the glare")
    assert flavor.load_model(f"models:/{name}@champion").set_threshold == setting.threshold
    with phone(browser):
        widths = browser.execute_script(
            "return [document.documentElement.scrollWidth, window.innerWidth]"
        )
        assert widths == [390, 390]
    browser.find_element(By.ID, "why").send_keys("the lamp is old again")
    browser.find_element(By.ID, "back").click()
    until(browser, lambda page: "and it holds" in text_of(page, "#version"))
    assert flavor.load_model(f"models:/{name}@champion").set_threshold is None


def test_a_phone_is_enough(browser: webdriver.Chrome, night: str, bucket: ReviewBucket) -> None:
    """Nothing runs off its width, fingers find what to press, and a tap decides."""
    with phone(browser):
        for url in (night, night.split("/products")[0] + "/"):
            browser.get(url)
            widths = browser.execute_script(
                "return [document.documentElement.scrollWidth, window.innerWidth]"
            )
            assert widths == [390, 390]
        picture(browser, "review-page-products")
        browser.get(night)
        until(browser, is_drawn)
        sign(browser, "Ana")
        buttons = browser.find_elements(By.CSS_SELECTOR, ".actions .row button")
        assert all(button.size["height"] >= 44 for button in buttons)
        shown = browser.find_element(By.CSS_SELECTOR, ".tonight .picture img").size
        assert shown["width"] > 350
        browser.find_element(By.ID, "defect").send_keys("pits")
        browser.find_element(By.CSS_SELECTOR, "[data-do=defect]").click()
        until(browser, says("29 of 30 wait"))
        until(browser, is_drawn)
        picture(browser, "review-page-phone")

    assert ranked(bucket).loc[0, ["decision", "defect", "by"]].tolist() == [DEFECT, "pits", "Ana"]
