"""Which position of the camera took an image, and manifests of an earlier time."""

from datetime import date
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from reconad_plugin.images.features import FEATURES
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.ledger.manifest import (
    COLUMNS,
    IntakeRules,
    accepted_rows,
    build_manifest,
    camera_position,
    is_current,
    part_of,
    read_manifest,
    to_parquet,
    write_manifest,
)
from reconad_plugin.ledger.splits import SplitRules
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.layout import ProductLayout

NIGHT = date(2024, 5, 1)
LAYOUT = ProductLayout("bolt")


class Bucket(dict):
    """Objects in memory, with the calls of a store that manifests make."""

    bucket = "factory"

    def list_objects(self, prefix):
        return [
            SimpleNamespace(key=key, etag=f"{hash(content):x}")
            for key, content in sorted(self.items())
            if key.startswith(prefix)
        ]

    def read(self, key):
        return SimpleNamespace(content=self[key], version_id="")

    def read_optional(self, key):
        return self.get(key)

    def change(self, key, content_type, change):
        after = change(self.get(key))
        if after is not None:
            self[key] = after
        return self.get(key)

    def write(self, key, content, content_type):
        self[key] = content

    def uri(self, key):
        return f"s3://parts/{key}"


@pytest.fixture
def bucket(encode):
    """Three pictures of a night, two of them in folders."""
    names = ("0001_left.png", "top/0002_right.png", "side/a/0003.png")
    generator = np.random.default_rng(4)
    return Bucket(
        {
            f"{LAYOUT.incoming(NIGHT)}{name}": encode(
                generator.integers(0, 255, (20, 24, 3), dtype=np.uint8), "PNG"
            )
            for name in names
        }
    )


def build(bucket, folder, previous=None, **rules):
    """The night's manifest by the names of its images."""
    cache = ContentCache(folder)
    table = build_manifest(
        bucket, cache, LAYOUT, NIGHT, IntakeRules(ImageLimits(), **rules), previous
    )
    return table.set_index(table["key"].str.removeprefix(LAYOUT.incoming(NIGHT)))


@pytest.mark.parametrize(
    ("name", "pattern", "position"),
    [
        pytest.param("0001.jpg", None, "", id="no folder"),
        pytest.param("left/0001.jpg", None, "left", id="folder"),
        pytest.param("left/top/0001.jpg", None, "left/top", id="folder in a folder"),
        pytest.param("0001_left.jpg", r"_(\w+)\.", "left", id="pattern"),
        pytest.param("0001.jpg", r"_(\w+)\.", "", id="pattern that is not in the name"),
        pytest.param("cam2/0001.jpg", r"cam(\d)", "2", id="pattern of the folder"),
        pytest.param("left/0001.jpg", r"_(\w+)\.", "", id="pattern in place of the folder"),
        pytest.param("0001_left.jpg", r"_(left|right)_", "", id="pattern that wants more"),
        pytest.param("0001.jpg", r"^\d+(?:_(\w+))?\.", "", id="group that need not be there"),
    ],
)
def test_position_by_the_name(name, pattern, position):
    """The folder is the position, or what the pattern's group finds."""
    assert camera_position(name, pattern) == position


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        pytest.param(None, ["", "side/a", "top"], id="by folder"),
        pytest.param(r"_(left|right)\.", ["left", "", "right"], id="by pattern"),
    ],
)
def test_manifest_has_every_images_position(bucket, tmp_path, pattern, expected):
    """The manifest tells positions by the names below the night."""
    found = build(bucket, tmp_path, position_pattern=pattern)

    assert found["position"].tolist() == expected
    assert found["verdict"].tolist() == ["accepted"] * 3


def test_a_new_pattern_holds_for_rows_that_are_kept(bucket, tmp_path):
    """When a night is looked at again its positions follow the settings as they are now."""
    before = build(bucket, tmp_path).reset_index(drop=True)

    after = build(bucket, tmp_path, previous=before, position_pattern=r"_(left|right)\.")

    assert after["position"].tolist() == ["left", "", "right"]
    assert after["split"].tolist() == before["split"].tolist()


def test_a_new_pattern_makes_a_manifest_old(bucket, tmp_path):
    """A night run again with another pattern is looked at again, and with the same it is not."""
    manifest = build(bucket, tmp_path).reset_index(drop=True)

    assert is_current(bucket, LAYOUT, manifest, NIGHT, None)
    assert not is_current(bucket, LAYOUT, manifest, NIGHT, r"_(left|right)\.")


def test_a_repeated_picture_is_accepted_once_the_first_is_gone(bucket, tmp_path):
    """A corrected picture takes the first one's key: the bytes it had are not lost with it."""
    names = [f"{LAYOUT.incoming(NIGHT)}{name}.png" for name in "abc"]
    corrected, repeated, other = (bucket.pop(key) for key in list(bucket))
    bucket |= dict(zip(names, (repeated, repeated, other), strict=True))
    before = build(bucket, tmp_path)
    assert before["verdict"].tolist() == ["accepted", "duplicate", "accepted"]
    bucket[names[0]] = corrected

    after = build(bucket, tmp_path, previous=before.reset_index(drop=True))

    assert after["verdict"].tolist() == ["accepted"] * 3
    assert after["reason"].tolist() == [""] * 3
    assert after["sha256"].iloc[1] == before["sha256"].iloc[0]
    assert after["split"].ne("").all()


def test_a_repeated_picture_is_accepted_once_another_nights_is_gone(bucket, tmp_path):
    """A night whose picture repeats one of another night is looked at again, though nothing of
    its own has changed."""
    earlier = date(2024, 4, 30)
    bucket[f"{LAYOUT.incoming(earlier)}a.png"] = next(iter(bucket.values()))
    cache = ContentCache(tmp_path)
    first = build_manifest(bucket, cache, LAYOUT, earlier, IntakeRules(ImageLimits()))
    write_manifest(bucket, LAYOUT, earlier, first)
    before = build(bucket, tmp_path).reset_index(drop=True)
    assert before["reason"].iloc[0] == f"same bytes as {first['key'].iloc[0]}"
    write_manifest(bucket, LAYOUT, earlier, first.iloc[:0])

    after = build(bucket, tmp_path, previous=before)

    assert not is_current(bucket, LAYOUT, before, NIGHT, None)
    assert after["verdict"].tolist() == ["accepted"] * 3


def test_an_unchanged_night_keeps_its_manifest(bucket, tmp_path):
    """Looking at the duplicates and the bad files anew changes nothing."""
    bucket[f"{LAYOUT.incoming(NIGHT)}z.png"] = next(iter(bucket.values()))
    bucket[f"{LAYOUT.incoming(NIGHT)}bad.png"] = b"no picture"
    before = build(bucket, tmp_path).reset_index(drop=True)

    after = build(bucket, tmp_path, previous=before).reset_index(drop=True)

    assert set(before["verdict"]) == {"accepted", "duplicate", "quarantined"}
    pd.testing.assert_frame_equal(after, before)


def test_a_part_that_is_seen_again_keeps_its_side(encode, tmp_path):
    """On a later night, and where it comes late; of the others each is dealt by itself."""
    noise, bucket = np.random.default_rng(1), Bucket()
    splits = SplitRules(part_pattern=r"part(\d+)_")

    def deliver(night, *names):
        for name in names:
            picture = noise.integers(0, 255, (20, 24, 3), dtype=np.uint8)
            bucket[f"{LAYOUT.incoming(night)}{name}"] = encode(picture, "PNG")
        rules = IntakeRules(ImageLimits(), splits=splits)
        before = read_manifest(bucket, LAYOUT, night)
        table = build_manifest(bucket, ContentCache(tmp_path), LAYOUT, night, rules, before)
        write_manifest(bucket, LAYOUT, night, table)
        return table

    deliver(date(2024, 4, 30), *(f"a/part{part}_{shot}.png" for part in range(5) for shot in "ab"))
    deliver(NIGHT, *(f"part{part}_c.png" for part in range(5)), "other.png")
    tonight = deliver(NIGHT, *(f"part{part}_late.png" for part in range(5)))

    rows = pd.concat([read_manifest(bucket, LAYOUT, date(2024, 4, 30)), tonight])
    parts = [part_of(key, LAYOUT, splits.part_pattern) for key in rows["key"]]
    sides = rows.groupby(parts)["split"].agg(set)
    assert sides.map(len).eq(1).all()
    assert sides[list("01234")].map(min).value_counts().to_dict() == {
        "train": 3, "calibration": 1, "judge": 1,
    }  # fmt: skip
    assert sides[f"{LAYOUT.incoming(NIGHT)}other.png"] <= {"train", "calibration", "judge"}


def test_no_manifests_have_no_accepted_rows():
    """A product that no night has reached yet is no error."""
    rows = accepted_rows([])

    assert (len(rows), list(rows)) == (0, list(COLUMNS))


def test_manifest_is_read_as_it_was_written(bucket, tmp_path):
    """Row by row and column by column."""
    written = build(bucket, tmp_path).reset_index(drop=True)
    write_manifest(bucket, LAYOUT, NIGHT, written)

    pd.testing.assert_frame_equal(read_manifest(bucket, LAYOUT, NIGHT), written)
    assert read_manifest(bucket, LAYOUT, date(2024, 5, 2)) is None


def test_manifest_of_an_earlier_time_is_read(bucket, tmp_path):
    """Columns that it lacks are empty, so that its images serve on without them."""
    written = build(bucket, tmp_path).reset_index(drop=True)
    lacking = ["position", "pixels_sha256", "light_slope_x", "noise", "framing_spread"]
    bucket[LAYOUT.manifest(NIGHT)] = to_parquet(written.drop(columns=lacking))

    found = read_manifest(bucket, LAYOUT, NIGHT)

    assert list(found) == list(COLUMNS)
    assert set(found["position"]) == set(found["pixels_sha256"]) == {""}
    assert found[lacking[2:]].isna().all(axis=None)
    kept = [name for name in COLUMNS if name not in lacking]
    pd.testing.assert_frame_equal(found[kept], written[kept])
    again = build(bucket, tmp_path, previous=found)
    assert again["position"].tolist() == ["", "side/a", "top"]
    assert again["sha256"].tolist() == written["sha256"].tolist()
    assert set(FEATURES) <= set(again)
