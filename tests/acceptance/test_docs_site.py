"""The documentation as a site: `make docs` without a warning, and as a reader sees it."""

import functools
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from flows.platform.processes import LOOPBACK
from tests.acceptance.browser import until

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("mkdocs.yml", "docs", "reconad_plugin", "mlflow_models")
ADDRESS = re.compile(
    r"<(?:script|img|link rel=\"?stylesheet)[^>]+(?:src|href)=\"?(https?:[^\" >]+)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a copy of what it is made of."""
    folder = tmp_path_factory.mktemp("docs")
    for name in SOURCES:
        source, copy = ROOT / name, folder / name
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    zensical = Path(sys.executable).parent / "zensical"
    built = subprocess.run(
        [zensical, "build", "--strict"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    """A server of it."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=site)
    with ThreadingHTTPServer((LOOPBACK, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{LOOPBACK}:{server.server_port}"
        server.shutdown()


def test_nothing_is_asked_of_any_other_address(site: Path) -> None:
    pages = list(site.rglob("*.html"))

    assert len(pages) > 60
    assert [ADDRESS.findall(page.read_text(encoding="utf-8")) for page in pages] == [[]] * len(
        pages
    )


def test_a_reader_finds_the_story_a_command_and_a_function(
    browser: webdriver.Chrome, url: str
) -> None:
    """The picture is drawn, tables are tables, and docstrings have become a reference."""
    browser.get(f"{url}/night.html")
    picture = browser.find_element(By.CSS_SELECTOR, "img[src$='night.svg']")
    until(browser, lambda page: picture.get_property("naturalWidth") > 0, "the picture is drawn")
    browser.get(f"{url}/reference/commands.html")
    options = browser.find_element(By.XPATH, "//h3[@id='reconad-rollback']/following::table[1]")
    assert "--reason TEXT" in options.text
    browser.get(f"{url}/reference/scores.html")
    name = "reconad_plugin.metrics.intervals.clopper_pearson"
    assert browser.find_elements(By.CSS_SELECTOR, f"[id='{name}']")
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []
