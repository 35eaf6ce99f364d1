"""The review page as people use it: the real command over real servers, in a real browser.

``RECONAD_SCREENSHOTS`` names a folder that is to have the pictures of the documentation.
"""

import io
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from flows.demo.plan import DATA
from flows.platform.processes import end_processes, free_ports
from flows.platform.servers import EmbeddedPlatform, s3_client
from mlflow_models import flavor, registry
from monitoring.review_page.app import build_app
from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.config.settings import StorageSettings
from reconad_plugin.detector.score_table import score_table
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.ledger.night_record import DEFECT, NORMAL, WAITING
from reconad_plugin.store.golden_notes import read_golden_notes
from reconad_plugin.store.images import load_images
from reconad_plugin.store.objects import ObjectStore
from reconad_plugin.training import loop
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from tests.acceptance.browser import chromium
from tests.command_line import RECONAD
from tests.factory import BUCKET
from tests.fake_s3 import FakeS3, store_of
from tests.reviewed import ReviewBucket, served
from tests.world import NARROW

PRODUCT = "screws"
POSITION = r"_(\d+_\d+)\."
LEARNT = (date(2020, 8, 29), date(2020, 8, 30))
QUIET, HELD = date(2020, 9, 1), date(2020, 9, 8)
STEPS = 60
PATIENCE_S = 120
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
MANY = 500
MOST_FIRST_BYTES = 60_000  # of the page of a night of so many images
MOST_FIRST_PICTURE_S = 5.0  # on a busy machine; see docs/review-page.md for a quiet one
SETTINGS = f"""
[storage]
bucket = "{BUCKET}"
cache_dir = "{{cache}}"
[products.{PRODUCT}]
position_pattern = '{POSITION}'
"""


def photographs(night: date) -> dict[str, bytes]:
    """The demo's photographs of a day, by name."""
    files = sorted((DATA / "images" / night.isoformat()).glob("*.jpg"))
    return {file.name: file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def few_validations() -> Iterator[None]:
    """Two a training: no claim here is about how well a model sees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "VALIDATIONS", 2)
        yield


@pytest.fixture(scope="module")
def bucket(
    narrow_widths: None,
    few_validations: None,
    platform: EmbeddedPlatform,
    tmp_path_factory: pytest.TempPathFactory,
) -> ReviewBucket:
    """A bucket with a quiet night and a held one, both judged by version 1."""
    client = s3_client(platform.environment)
    store = ObjectStore(StorageSettings(bucket=BUCKET))
    bucket = ReviewBucket(
        store,
        lambda key, content: client.put_object(Bucket=BUCKET, Key=key, Body=content),
        tmp_path_factory.mktemp("review-cache"),
        PRODUCT,
        POSITION,
    )
    rows = {night: bucket.ingest(night, photographs(night)) for night in (*LEARNT, QUIET, HELD)}

    def load(of: pd.DataFrame) -> Any:
        return load_images(store, bucket.cache, of, model.image_size, ImageLimits())

    model = ProductSettings(model="ae", width=NARROW, image_size_px="64x160")
    images = torch.tensor(load(pd.concat([rows[night] for night in LEARNT])))
    learnt = NormalImages(images[:40], images[40:], images[:0])
    detector, _ = fit_detector(learnt, model, TrainingSettings(steps=STEPS))
    with mlflow.start_run():
        flavor.log_model(detector, registered_model_name=registry.model_name(PRODUCT))
    for night, cause in ((QUIET, "none"), (HELD, "defects")):
        scored = score_table(detector, rows[night], load(rows[night]), "1")
        bucket.watch(night, rows[night], cause, scored)
    return bucket


@pytest.fixture(scope="module")
def address(bucket: ReviewBucket) -> Iterator[str]:
    """What ``reconad review-page`` prints."""
    settings = bucket.folder / "reconad.toml"
    settings.write_text(SETTINGS.format(cache=bucket.folder), encoding="utf-8")
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [RECONAD, "review-page", "--port", str(port)],
        env={**os.environ, "RECONAD_CONFIG": str(settings)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        yield re.findall(r"http://\S+", process.stdout.readline())[0]
    finally:
        end_processes([process])


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with chromium() as browser:
        yield browser


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


def is_error(entry: dict[str, Any]) -> bool:
    """Whether the console says that the page is wrong; not that htmx aborts what is not wanted any
    more, nor that a decision was refused."""
    is_known = entry["source"] == "console-api" or "with a status of 400" in entry["message"]
    return entry["level"] == "SEVERE" and not is_known


def requested(browser: webdriver.Chrome) -> list[str]:
    """The addresses that the browser has asked since it was last said."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [each["params"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    return [url for each in sent if (url := each["request"]["url"]).startswith("http")]


def until(browser: webdriver.Chrome, holds: Callable[[webdriver.Chrome], object]) -> None:
    WebDriverWait(browser, PATIENCE_S, 0.05).until(holds)


def is_drawn(browser: webdriver.Chrome) -> bool:
    """Whether the picture of the stage is there."""
    return bool(
        browser.execute_script(
            "const image = document.querySelector('.tonight .picture img');"
            "return Boolean(image && image.complete && image.naturalWidth)"
        )
    )


def is_laid_over(browser: webdriver.Chrome) -> bool:
    """Whether the map lies over the picture."""
    return bool(
        browser.execute_script(
            "const image = document.querySelector('#over img.overlay');"
            "return Boolean(image && image.complete && image.naturalWidth)"
        )
    )


def press(browser: webdriver.Chrome, *keys: str) -> None:
    """Press keys, none of them in a field."""
    for key in keys:
        browser.find_element(By.TAG_NAME, "body").send_keys(key)


def says(text: str) -> Callable[[webdriver.Chrome], bool]:
    """Whether the page counts so, and takes the next key."""
    return lambda browser: (
        text_of(browser, "#progress") == text
        and not browser.execute_script("return document.body.classList.contains('busy')")
    )


def text_of(browser: webdriver.Chrome, selector: str) -> str:
    """What stands there now; parts of the page are replaced while it is looked at."""
    script = "return document.querySelector(arguments[0]).textContent"
    return " ".join(str(browser.execute_script(script, selector)).split())


def sign(browser: webdriver.Chrome, name: str) -> None:
    browser.find_element(By.ID, "person").send_keys(name + Keys.ENTER)


def picture(browser: webdriver.Chrome, name: str) -> None:
    """Take a picture for the documentation, where it is asked for."""
    if folder := os.environ.get("RECONAD_SCREENSHOTS"):
        file = Path(folder) / f"{name}.png"
        browser.save_screenshot(str(file))
        with Image.open(file) as taken:
            taken.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE).save(file, optimize=True)


def ranked(bucket: ReviewBucket) -> pd.DataFrame:
    """The held night's review in the order of the page."""
    review = bucket.records.review(HELD)
    order = {"by": ["matched_score", "key"], "ascending": [False, True], "ignore_index": True}
    return review.sort_values(**order)


def test_a_night_is_decided_with_the_keyboard(
    browser: webdriver.Chrome, night: str, bucket: ReviewBucket
) -> None:
    """The worst two are pits, the third is normal, the fourth was a slip; the ledger then says
    exactly that, and who said it."""
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
    """Ben's page is older than Ana's decision: hers stays, and one sentence tells him."""
    first = browser.current_window_handle
    sign(browser, "Ben")
    browser.switch_to.new_window("tab")
    browser.get(night)
    until(browser, is_drawn)
    sign(browser, "Ana")
    browser.find_element(By.ID, "defect").send_keys("pits" + Keys.ENTER)
    until(browser, says("29 of 30 wait"))
    browser.close()
    browser.switch_to.window(first)

    press(browser, "n")

    until(browser, lambda page: "Somebody was faster" in text_of(page, "#message"))
    assert "(defect, pits, by Ana)" in text_of(browser, "#message")
    assert ranked(bucket).loc[0, ["decision", "by"]].tolist() == [DEFECT, "Ana"]


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


@contextmanager
def phone(browser: webdriver.Chrome) -> Iterator[None]:
    """The browser as a phone in a dark hall."""
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


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


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of a night of 500 held images of 1.3 megapixels, over a bucket in memory."""
    fake, random = FakeS3({}), np.random.default_rng(0)
    bucket = ReviewBucket(store_of(fake), fake.objects.__setitem__, tmp_path_factory.mktemp("many"))
    photograph = Image.open(io.BytesIO(next(iter(photographs(HELD).values()))))
    pixels = np.asarray(photograph.resize((1800, 750)), np.int16)
    pictures = {}
    for number in range(MANY):
        changed = (pixels + random.integers(-40, 40)).clip(0, 255).astype(np.uint8)
        changed[:8, : number + 1] = 255
        buffer = io.BytesIO()
        Image.fromarray(changed).save(buffer, format="JPEG", quality=90)
        pictures[f"{number:03}.jpg"] = buffer.getvalue()
    bucket.watch(HELD, bucket.ingest(HELD, pictures), "defects")
    app = build_app([bucket.reviewed], "token-of-the-tests", lambda: "2020-09-09T06:00:00+00:00")
    with served(app) as url:
        yield url


def test_five_hundred_images_stay_quick(browser: webdriver.Chrome, many: str) -> None:
    """The page of such a night is small, its first picture comes soon, and not all are sent."""
    browser.set_window_size(1400, 900)
    browser.get(f"{many}/?token=token-of-the-tests")
    requested(browser)
    start_s = time.monotonic()
    browser.get(f"{many}/products/bolt/nights/{HELD}")
    until(browser, is_drawn)
    first_picture_s = time.monotonic() - start_s
    first_bytes = browser.execute_script(
        "return performance.getEntriesByType('navigation')[0].encodedBodySize"
    )
    asked = [url for url in requested(browser) if url.endswith("thumb.jpg")]
    sign(browser, "Ana")
    start_s = time.monotonic()
    press(browser, "a", "n")
    until(browser, says("All 500 are decided"))
    all_decided_s = time.monotonic() - start_s

    print(
        f"500 images: first response {first_bytes} bytes, first picture after "
        f"{first_picture_s:.2f} s, {len(asked)} thumbnails asked, all decided in "
        f"{all_decided_s:.2f} s"
    )
    assert first_bytes < MOST_FIRST_BYTES
    assert first_picture_s < MOST_FIRST_PICTURE_S
    assert len(asked) < MANY / 2
