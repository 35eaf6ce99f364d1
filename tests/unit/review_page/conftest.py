"""A bucket with nights that wait for a person, and a browser that has opened their page."""

import re

import httpx
import numpy as np
import pytest

from monitoring.review_page.app import build_app
from tests.factory import normal_picture, to_png
from tests.fake_s3 import FakeS3, refusal, store_of
from tests.reviewed import HELD, NOW, PAGE, QUIET, TOKEN, ReviewBucket, served


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
