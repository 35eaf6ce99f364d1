"""Where people review, for the tests of the page: a bucket with real photographs and a version that
judged them, the command that serves the page, and what a person does there."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import torch
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from flows.demo.plan import DATA
from flows.platform.processes import end_processes, free_ports
from flows.platform.servers import EmbeddedPlatform, s3_client
from mlflow_models import flavor, registry
from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.config.settings import StorageSettings
from reconad_plugin.detector.score_table import score_table
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.store.images import load_images
from reconad_plugin.store.objects import ObjectStore
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from tests.command_line import RECONAD
from tests.factory import BUCKET
from tests.reviewed import ReviewBucket
from tests.world import NARROW

PRODUCT = "screws"
POSITION = r"_(\d+_\d+)\."
LEARNT = (date(2020, 8, 29), date(2020, 8, 30))
QUIET, HELD = date(2020, 9, 1), date(2020, 9, 8)
STEPS = 60
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
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


def judged_bucket(platform: EmbeddedPlatform, folder: Path) -> ReviewBucket:
    """A bucket with a quiet night and a held one, both judged by version 1."""
    client = s3_client(platform.environment)
    store = ObjectStore(StorageSettings(bucket=BUCKET))
    bucket = ReviewBucket(
        store,
        lambda key, content: client.put_object(Bucket=BUCKET, Key=key, Body=content),
        folder,
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


@contextmanager
def page_of(bucket: ReviewBucket) -> Iterator[str]:
    """What ``reconad review-page`` prints, while it serves."""
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


def is_drawn(browser: webdriver.Chrome) -> bool:
    """Whether the picture of the stage is there."""
    return bool(
        browser.execute_script(
            "const image = document.querySelector('.tonight .picture img');"
            "return Boolean(image && image.complete && image.naturalWidth)"
        )
    )


def are_drawn(browser: webdriver.Chrome, selector: str) -> bool:
    """Whether there are such pictures, and those in sight are there."""
    return bool(
        browser.execute_script(
            "const all = [...document.querySelectorAll(arguments[0])]"
            ".filter((each) => each.getBoundingClientRect().top < innerHeight);"
            "return all.length > 0 && all.every((each) => each.complete && each.naturalWidth)",
            selector,
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
