"""What the tests of pages share, and those of long trainings with the unit tests."""

from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.acceptance.browser import chromium
from tests.unit.conftest import (  # noqa: F401  fixtures
    encode,
    few_validations,
    make_normal,
    plant_defect,
    tiny_detector,
    tiny_models,
)


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """A real browser; a fresh one for each file."""
    with chromium() as browser:
        yield browser
