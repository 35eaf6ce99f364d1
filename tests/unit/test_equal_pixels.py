"""Pictures of equal pixels are one picture, whatever their files hold besides."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.features import hash_pixels
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.ledger.manifest import (
    IntakeRules,
    build_manifest,
    read_manifest,
    to_parquet,
    write_manifest,
)
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.layout import ProductLayout
from tests.unit.test_manifest import Bucket

NIGHT, EARLIER = date(2024, 5, 1), date(2024, 4, 30)
LAYOUT = ProductLayout("bolt")


def picture(seed=4):
    """A made-up picture of noise."""
    return np.random.default_rng(seed).integers(0, 255, (20, 24, 3), dtype=np.uint8)


def stamped(time):
    """The text of a file that a camera wrote at a time."""
    info = PngInfo()
    info.add_text("Creation Time", time)
    return info


def exposed(time):
    """The EXIF of a file that a camera wrote at a time."""
    exif = Image.Exif()
    exif[306] = time  # DateTime
    return exif


@pytest.fixture
def ingest(tmp_path):
    """Takes in a night of files and keeps its manifest."""
    bucket = Bucket()

    def run(night=NIGHT, previous=None, **files):
        prefix = LAYOUT.incoming(night)
        bucket.update({f"{prefix}{name}": content for name, content in files.items()})
        cache, rules = ContentCache(tmp_path), IntakeRules(ImageLimits())
        table = build_manifest(bucket, cache, LAYOUT, night, rules, previous)
        write_manifest(bucket, LAYOUT, night, table)
        return table.set_index(table["key"].str.removeprefix(prefix))

    run.bucket = bucket
    return run


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(
            ("PNG", {"pnginfo": stamped("08:00")}),
            ("PNG", {"pnginfo": stamped("08:01")}),
            id="text",
        ),
        pytest.param(
            ("JPEG", {"exif": exposed("08:00")}), ("JPEG", {"exif": exposed("08:01")}), id="EXIF"
        ),
        pytest.param(
            ("PNG", {"compress_level": 1}), ("PNG", {"compress_level": 9}), id="compression"
        ),
        pytest.param(("PNG", {}), ("BMP", {}), id="format"),
        pytest.param(("TIFF", {}), ("WEBP", {"lossless": True}), id="another format"),
    ],
)
def test_the_same_frame_in_another_file_is_a_duplicate(ingest, encode, first, second):
    """It neither trains nor counts again, and its row says what it repeats."""
    (kind, options), (other, others) = first, second
    frame = picture()
    content, again = encode(frame, kind, **options), encode(frame, other, **others)
    assert content != again

    rows = ingest(a=content, b=again, c=encode(picture(5), "PNG"), d=content)

    assert rows["verdict"].tolist() == ["accepted", "duplicate", "accepted", "duplicate"]
    key = f"{LAYOUT.incoming(NIGHT)}a"
    assert rows["reason"]["b"] == f"same pixels as {key}"
    assert rows["reason"]["d"] == f"same bytes as {key}"
    assert rows["split"]["b"] == ""
    assert rows["pixels_sha256"]["a"] == rows["pixels_sha256"]["b"] != rows["pixels_sha256"]["c"]


def test_a_file_again_is_named_after_the_picture_that_was_accepted(ingest, encode):
    """Not after one that was itself a duplicate."""
    again = encode(picture(), "BMP")

    rows = ingest(a=encode(picture(), "PNG"), b=again, c=again)

    assert rows["reason"].iloc[1:].unique().tolist() == [f"same pixels as {rows['key'].iloc[0]}"]


def test_the_frame_of_an_earlier_night_is_a_duplicate(ingest, encode):
    """A camera that hangs since yesterday brings nothing new."""
    yesterday = ingest(EARLIER, a=encode(picture(), "PNG"))

    rows = ingest(a=encode(picture(), "BMP"), b=encode(picture(5), "BMP"))

    assert rows["reason"].tolist() == [f"same pixels as {yesterday['key'].iloc[0]}", ""]


def test_pictures_of_an_older_manifest_are_not_compared_by_their_pixels(ingest, encode):
    """It has no hashes of pixels; equal bytes are found as ever."""
    kept = ingest(EARLIER, a=encode(picture(), "PNG")).reset_index(drop=True)
    file = LAYOUT.manifest(EARLIER)
    ingest.bucket[file] = to_parquet(kept.drop(columns="pixels_sha256"))

    rows = ingest(
        a=encode(picture(), "BMP"), b=encode(picture(), "PNG"), c=encode(picture(), "BMP")
    )

    assert rows["reason"].tolist() == [
        "", f"same bytes as {kept['key'].iloc[0]}", f"same bytes as {rows['key'].iloc[0]}",
    ]  # fmt: skip


def test_an_older_manifest_keeps_its_rows(ingest, encode):
    """Run again with a late picture, its night keeps what it has, with empty hashes of pixels."""
    before = ingest(a=encode(picture(), "PNG"), b=encode(picture(5), "PNG"))
    older = to_parquet(before.drop(columns="pixels_sha256"))
    ingest.bucket[LAYOUT.manifest(NIGHT)] = older
    previous = read_manifest(ingest.bucket, LAYOUT, NIGHT)

    after = ingest(previous=previous, c=encode(picture(6), "PNG"))

    assert after["verdict"].tolist() == ["accepted"] * 3
    assert after["pixels_sha256"].tolist()[:2] == ["", ""]
    pd.testing.assert_series_equal(after["split"][:2], before["split"])


def test_a_hash_is_of_the_shape_too():
    """The same bytes in another shape are another picture."""
    frame = picture()

    assert hash_pixels(frame) != hash_pixels(frame.reshape(24, 20, 3))
    assert hash_pixels(frame) == hash_pixels(np.asfortranarray(frame))


def test_a_picture_of_grey_equals_itself_in_colours(encode):
    """What is compared is what a network would see."""
    grey = Image.fromarray(picture()[..., 0])

    one, other = (encode(image, "PNG") for image in (grey, grey.convert("RGB")))

    assert hash_pixels(decode_image(one)) == hash_pixels(decode_image(other))


@pytest.mark.parametrize(
    "name",
    ["crack/g.png", "normal/g", "crack/g.jp2", "2020.08.31T10.00.cam1", ".hidden/g.png", "g.png "],
)
@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_what_lies_among_golden_images_never_trains(ingest, encode, name, kind):
    """Whatever its file or its name, which may keep it from judging."""
    ingest.bucket[f"{LAYOUT.golden}{name}"] = encode(picture(), "PNG")

    rows = ingest(a=encode(picture(), kind), b=encode(picture(5), "PNG"))

    assert rows["verdict"].tolist() == ["quarantined", "accepted"]
    same = "bytes" if kind == "PNG" else "pixels"
    assert rows["reason"]["a"].startswith(f"golden: same {same} as {LAYOUT.golden}{name}, which")
