"""Chromium for the tests of pages, and how long they wait."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from flows.platform.processes import answers

PATIENCE_S = 120

BROWSER_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1400,1000",
)


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """Chromium, which has to be here: a page is not tested without a browser.

    Selenium is told where it and its driver are, and not to ask for others over the net.
    """
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.fail("install what this test needs: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in BROWSER_OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SE_OFFLINE", "true")
        browser = webdriver.Chrome(options=options, service=Service(executable_path=driver))
        try:
            yield browser
        finally:
            browser.quit()


def until(
    browser: webdriver.Chrome, holds: Callable[[webdriver.Chrome], object], said: str = ""
) -> None:
    """Wait until something holds of the page; ``said`` says what must."""
    WebDriverWait(browser, PATIENCE_S, 0.05).until(holds, said)


def until_served(url: str, process: "subprocess.Popen[Any]") -> None:
    """Wait until the server of a process answers."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not answers(url):
        assert process.poll() is None, f"the server of {url} ended"
        assert time.monotonic() < deadline_s, f"{url} does not answer"
        time.sleep(0.2)
