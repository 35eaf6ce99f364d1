"""The prediction log as it lies in the bucket, and what a night takes from it."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from reconad_plugin.errors import ConfigError
from reconad_plugin.images.features import FEATURES
from reconad_plugin.ledger.served import (
    SERVED_SCHEMA,
    NightBorder,
    find_answers,
    read_served,
    said_by,
    said_most,
    to_part,
)
from reconad_plugin.store.layout import ProductLayout
from tests.fake_s3 import FakeS3, store_of
from tests.served import served_row

NIGHT = date(2026, 5, 3)
LAYOUT = ProductLayout("bolt")
BERLIN = NightBorder.parse("06:00 Europe/Berlin")


@pytest.mark.parametrize(
    ("border", "moment", "night"),
    [
        pytest.param("00:00", "2026-05-03T23:59:59", "2026-05-03", id="end of a day of UTC"),
        pytest.param("00:00", "2026-05-04T00:00:00", "2026-05-04", id="begin of one"),
        pytest.param("06:00 Europe/Berlin", "2026-05-04T03:59:59", "2026-05-03", id="in summer"),
        pytest.param(
            "06:00 Europe/Berlin", "2026-05-04T04:00:00", "2026-05-04", id="at the border"
        ),
        pytest.param("06:00 Europe/Berlin", "2026-01-04T04:59:59", "2026-01-03", id="in winter"),
        pytest.param(
            "06:00 Europe/Berlin", "2026-01-04T05:00:00", "2026-01-04", id="an hour later"
        ),
        pytest.param("22:30 Asia/Tokyo", "2026-05-03T13:29:00", "2026-05-02", id="late and east"),
        pytest.param("22:30 Asia/Tokyo", "2026-05-03T13:30:00", "2026-05-03", id="begins there"),
        # the clock goes from 02:00 to 03:00, and in autumn back
        pytest.param("02:30 Europe/Berlin", "2026-03-29T01:00:00", "2026-03-29", id="skipped time"),
        pytest.param("02:30 Europe/Berlin", "2026-10-25T00:29:00", "2026-10-24", id="first 02:29"),
        pytest.param("02:30 Europe/Berlin", "2026-10-25T01:31:00", "2026-10-25", id="second 02:31"),
    ],
)
def test_night_begins_at_the_border(border, moment, night):
    """By the clock on the wall where the product is made, whatever the zone of the moment."""
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    elsewhere = at.astimezone(tz=None)

    found = {NightBorder.parse(border).night_of(each) for each in (at, elsewhere)}

    assert found == {date.fromisoformat(night)}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("6", id="an hour"),
        pytest.param("25:00", id="no such hour"),
        pytest.param("06:00 Berlin/Europe", id="no such zone"),
        pytest.param("06:00 ../secret", id="a path"),
        pytest.param("", id="nothing"),
    ],
)
def test_border_that_is_none_is_refused(text):
    """With what came, and what it looks like."""
    with pytest.raises(ConfigError, match=r"a night starts at HH:MM and a time zone.*got"):
        NightBorder.parse(text)


def part_of(*rows):
    """A part with these rows."""
    return to_part([pa.RecordBatch.from_pylist([row.to_record() for row in rows], SERVED_SCHEMA)])


def put(objects, night, *rows, name="w-000001"):
    objects[LAYOUT.served_part(night, name)] = part_of(*rows)


def manifest(*hashes):
    """Accepted rows of a night with these hashes of bytes and pixels, and an odd index."""
    table = pd.DataFrame(hashes, columns=["sha256", "pixels_sha256"])
    return table.set_index(pd.Index(range(10, 10 + len(hashes))))


def test_a_row_is_read_as_it_was_written():
    """All of it but the picture, which nobody needs to decide on a night; nothing is null."""
    row = served_row(1, features=dict.fromkeys(FEATURES, 0.25), picture=b"jpeg")
    refused = replace(
        served_row(2, features={}), pred_score=None, pred_label=None, p_value=None,
        map_cells=None, map_extent=None, error="empty: an image must have bytes",
    )  # fmt: skip
    objects = {}
    put(objects, NIGHT, refused, row)

    table = read_served(store_of(FakeS3(objects)), LAYOUT, NIGHT)

    assert table.columns.tolist() == [name for name in SERVED_SCHEMA.names if name != "picture"]
    first, second = (table.iloc[index] for index in range(2))  # in order of time
    for name in ("time", "reference", "model_version", "pred_score", "pred_label", "sha256"):
        assert first[name] == getattr(row, name), name
    assert first["luminance"] == 0.25
    np.testing.assert_array_equal(first["map_cells"], row.map_cells)
    assert second["error"].startswith("empty")
    assert pd.isna(second["pred_score"])
    assert pd.isna(second["luminance"])


def test_equal_rows_are_an_equal_part():
    """So a part that is sent again changes nothing."""
    assert part_of(served_row(1), served_row(2)) == part_of(served_row(1), served_row(2))


def test_a_damaged_part_stops_no_other(caplog):
    """It is left out, and said."""
    objects = {LAYOUT.served_part(NIGHT, "x-000001"): b"PAR1 but torn"}
    put(objects, NIGHT, served_row(1))

    table = read_served(store_of(FakeS3(objects)), LAYOUT, NIGHT)

    assert len(table) == 1
    assert "x-000001.parquet is not" in caplog.text


def answers_in(rows, **nights):
    """What is found of a manifest's rows in logs by the day of the month."""
    objects = {}
    for day, served in nights.items():
        put(objects, NIGHT.replace(day=int(day[1:])), *served)
    return find_answers(store_of(FakeS3(objects)), LAYOUT, NIGHT, rows)


def test_an_image_is_known_by_its_bytes_or_its_pixels():
    """What is in no manifest, or was not read, answers for nothing."""
    rows = manifest(("bytes1", "pixels1"), ("bytes2", "pixels2"), ("bytes3", ""))
    log = [
        replace(served_row(1), sha256="bytes1", pixels_sha256=""),
        replace(served_row(2), sha256="other", pixels_sha256="pixels2"),
        replace(served_row(3), sha256="strange", pixels_sha256=""),
        replace(served_row(4), sha256="bytes3", pred_score=None, error="truncated: x"),
        replace(served_row(5), sha256="", pixels_sha256=""),
    ]

    found = answers_in(rows, n3=log)

    assert found["image"].tolist() == [10, 11]
    assert found["pred_score"].tolist() == [log[0].pred_score, log[1].pred_score]


def test_what_was_said_first_counts():
    """Of each version, though the picture came again."""
    rows = manifest(("a", ""))
    log = [replace(served_row(number), sha256="a") for number in (3, 1, 2)]
    log.append(replace(served_row(9), sha256="a", model_version="4"))

    found = answers_in(rows, n3=log)

    assert found["model_version"].tolist() == ["3", "4"]
    assert found["pred_score"].tolist() == [served_row(1).pred_score, served_row(9).pred_score]


def test_scores_of_another_engine_are_not_taken():
    """They were held against thresholds of their own."""
    log = [replace(served_row(1), sha256="a", engine="openvino-int8")]

    assert answers_in(manifest(("a", "")), n3=log).empty


def test_days_end_at_other_hours_elsewhere():
    """An image that the night's log lacks is looked for in the days beside it, and no farther."""
    rows = manifest(*[(f"on {day}", "") for day in (1, 2, 3, 4, 5)])
    logs = {f"n{day}": [replace(served_row(day), sha256=f"on {day}")] for day in range(1, 6)}

    found = answers_in(rows, **logs)

    assert sorted(found["image"]) == [11, 12, 13]


def test_no_other_day_is_read_where_all_is_found():
    """A night whose days end where its folders do reads one log."""
    objects = {}
    put(objects, NIGHT, replace(served_row(1), sha256="a"))
    fake = FakeS3(objects)
    other = NIGHT - timedelta(days=1)
    put(objects, other, replace(served_row(1), sha256="b"))

    find_answers(store_of(fake), LAYOUT, NIGHT, manifest(("a", "")))

    assert fake.read == [LAYOUT.served_part(NIGHT, "w-000001")]


def test_a_version_that_said_most_is_named():
    """Of more than half of the night's images; half is not enough, and nothing is nobody."""
    table = pd.DataFrame({"model_version": ["4", "4", "3"]})

    assert said_most(table, 3) == "4"
    assert said_most(table[:2], 4) is None
    assert said_most(table[:0], 4) is None


def test_what_a_version_said_stands_beside_each_image():
    """Null where another said it, or nobody."""
    rows = manifest(("a", ""), ("b", ""), ("c", ""))
    log = [
        replace(served_row(1), sha256="c"),
        replace(served_row(2), sha256="b", model_version="4"),
    ]

    said = said_by(answers_in(rows, n3=log), "3", rows)

    assert said.index.tolist() == [10, 11, 12]
    assert said["pred_score"].isna().tolist() == [True, True, False]
    assert said.loc[12, "p_value"] == served_row(1).p_value
