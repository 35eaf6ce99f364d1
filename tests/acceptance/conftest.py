"""What the tests of pages share."""

from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.acceptance.browser import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """A real browser; a fresh one for each file."""
    with chromium() as browser:
        yield browser
