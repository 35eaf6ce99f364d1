"""A camera that hangs, and one of two positions that is silent, on real servers."""

import io
from collections.abc import Callable
from datetime import timedelta

import numpy as np
from PIL import Image

from flows.jobs.product import open_product
from flows.nightly import nightly
from tests.command_line import run
from tests.factory import Factory, normal_picture
from tests.world import LAST_QUIET

HUNG, AGAIN, AFTER = (LAST_QUIET + timedelta(day) for day in (1, 2, 3))


def test_a_camera_that_hangs_is_an_alarm_and_no_night_without_images(
    forked: Callable[..., Factory],
) -> None:
    """Also where it hangs at a frame of the night before; the alarm ends with the next pictures."""
    factory = forked(LAST_QUIET)
    product, records = factory.product, open_product(factory.product).records
    picture = normal_picture(np.random.default_rng(1)).clip(0, 1)
    frame = Image.fromarray((picture * 255).astype(np.uint8))
    for night, minutes in ((HUNG, range(20)), (AGAIN, range(20, 40))):
        for minute in minutes:
            file, exif = io.BytesIO(), Image.Exif()
            exif[306] = f"2026:05:07 22:{minute:02}:00"
            frame.save(file, "PNG", exif=exif)
            factory.put(night, f"{minute}.png", file.getvalue())

    first, second = nightly(product, HUNG), nightly(product, AGAIN)

    for outcome, accepted, repeated in ((first, 1, 19), (second, 0, 20)):
        assert (outcome.accepted, outcome.duplicate) == (accepted, repeated)
        assert str(outcome.action) == "hold for review"
        assert outcome.record is not None
        assert outcome.record.cause == "camera"
        said = f"{repeated} of 20 pictures show the same frame as another one: the camera hangs"
        assert outcome.record.explanation.startswith(said)
        assert records.record(outcome.night) == outcome.record
    assert second.record.since == HUNG.isoformat()
    assert len(records.review(HUNG)) == 1
    assert records.review(AGAIN).empty  # that picture is of the night before
    assert f"ALARM since {HUNG}, camera" in run("status", product, COLUMNS="200").stdout
    assert run("backfill", product).returncode == 0
    factory.deliver(AFTER, 20)
    assert nightly(product, AFTER).record.cause == "none"
