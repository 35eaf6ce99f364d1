"""The prediction log of a server, with a bucket in memory."""

import hashlib
import logging
import random
import signal
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from threading import Thread

import numpy as np
import pyarrow.parquet as pq
import pytest

from mlflow_models.serving import prediction_log as module
from mlflow_models.serving import process_log
from mlflow_models.serving.answered import describe
from mlflow_models.serving.log_settings import LogSettings
from mlflow_models.serving.prediction_log import LogLimits, PredictionLog
from reconad_plugin.detector.prediction import predict_contents
from reconad_plugin.detector.score_table import map_cells, map_extent
from reconad_plugin.errors import ConfigError, StorageUnreachableError
from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.features import describe_image, hash_pixels
from reconad_plugin.ledger.served import SERVED_SCHEMA, NightBorder, read_served
from reconad_plugin.store.layout import ProductLayout
from tests.fake_s3 import FakeS3, store_of

NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)
NIGHT = NOON.date()
LAYOUT = ProductLayout("bolt")
QUICK = LogLimits(look_s=0.01, part_s=0.02, retry_s=(0.01, 0.02))
NEVER = replace(QUICK, look_s=3600)  # the threads do nothing until the log is closed


@dataclass
class Bucket:
    """A bucket that can be away."""

    objects: dict
    is_away: bool = False
    tries: int = 0

    def write(self, key, content, content_type):
        self.tries += 1
        if self.is_away:
            raise StorageUnreachableError("no S3 service answers at http://s3")
        self.objects[key] = content

    @property
    def log(self):
        return read_served(store_of(FakeS3(self.objects)), LAYOUT, NIGHT)


@pytest.fixture
def bucket():
    return Bucket({})


@pytest.fixture
def open_log(tmp_path, bucket):
    """Opens a log at noon, and closes it."""

    @contextmanager
    def opened(limits=QUICK, **settings):
        chosen = LogSettings("factory", "bolt", NightBorder(), tmp_path, **settings)
        log = PredictionLog(chosen, bucket, limits, lambda: NOON, random.Random(0))  # noqa: S311
        try:
            yield log
        finally:
            log.close(timeout_s=0.2 if bucket.is_away else 5)

    return opened


@pytest.fixture
def contents(encode, make_normal, plant_defect):
    """Picture files: two normal ones, one that is none, a defect."""
    pictures = make_normal(3, 60).permute(0, 2, 3, 1).numpy()
    defect = plant_defect(make_normal(1, 61))[0].permute(1, 2, 0).numpy()
    good = [encode(picture, "PNG") for picture in (*pictures[:2], defect)]
    return [*good[:2], b"no picture", good[2]]


def answer(log, detector, contents, references=None):
    """What a server does with one request; what it answers."""
    observe = log.observe(detector, references)
    given = [lambda each=each: each for each in contents]
    return predict_contents(detector, given, "3", observe=observe)


def wait_until(is_so):
    """For what the threads do."""
    deadline_s = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_each_picture_has_a_row(open_log, bucket, tiny_detector, contents):
    """What was answered, what the manifest will have of it, and why one was not read."""
    with open_log() as log:
        rows = answer(log, tiny_detector, contents, ["a", "b", None, 7])
        wait_until(lambda: log.counts.get("sent") == 4)

    table = bucket.log
    assert table["reference"].fillna("").tolist() == ["a", "b", "", "7"]
    assert table["pred_score"].tolist()[:2] == [row.pred_score for row in rows[:2]]
    assert table["pred_label"].tolist() == [row.pred_label for row in rows]
    assert table["p_value"].tolist()[3] == rows[3].p_value
    assert set(table["time"]) == {NOON}
    assert set(table["model_version"]) == {"3"}
    assert (table["latency_ms"] > 0).all()
    hashes = [hashlib.sha256(content).hexdigest() for content in contents]
    assert table["sha256"].tolist() == hashes
    pixels = decode_image(contents[0])
    assert table["pixels_sha256"][0] == hash_pixels(pixels)
    assert {name: table[name][0] for name in describe_image(pixels)} == describe_image(pixels)
    assert table["error"].notna().tolist() == [False, False, True, False]
    assert table["error"][2].startswith("not_an_image")
    assert np.isnan(table["luminance"][2])


def test_map_is_reduced_as_in_the_table_of_scores(open_log, bucket, tiny_detector, contents):
    """Its extent and its cells, of the map as it was served."""
    seen = []
    with open_log() as log:
        observe = log.observe(tiny_detector)
        predict_contents(
            tiny_detector, [lambda: contents[0]], "3",
            observe=lambda rows: (seen.extend(rows), observe(rows)),
        )  # fmt: skip

    maps = seen[0].anomaly_map[None]
    row = bucket.log.iloc[0]
    threshold = tiny_detector.calibration.image_threshold
    assert row["map_extent"] == map_extent(maps)[0]
    np.testing.assert_array_equal(row["map_cells"], map_cells(maps, threshold)[0])


@pytest.mark.parametrize(("keeps", "kept"), [(False, []), (True, [3])])
def test_pictures_are_kept_where_it_is_asked(
    open_log, bucket, tiny_detector, contents, keeps, kept
):
    """Those above the threshold alone."""
    calibration = replace(tiny_detector.calibration, image_threshold=0.0)
    strict = replace(tiny_detector, calibration=calibration)
    with open_log(keeps_pictures=keeps) as log:
        answer(log, tiny_detector, contents[:3])
        answer(log, strict, contents[3:])

    tables = [pq.read_table(BytesIO(each)) for each in bucket.objects.values()]
    pictures = [each for table in tables for each in table["picture"].to_pylist() if each]
    assert pictures == [contents[index] for index in kept]


def test_full_queue_drops_and_counts(open_log, bucket, tiny_detector, contents, caplog):
    """The request has its answer, and what fits is logged."""
    with open_log(replace(NEVER, queue_rows=3)) as log:
        rows = answer(log, tiny_detector, contents)
        assert log.counts == {"offered": 4, "dropped": 1}
        told = Counter()
        log.count_by(lambda outcome, rows: told.update({outcome: rows}))
        answer(log, tiny_detector, contents)

    assert told == {"offered": 8, "dropped": 5, "undescribed": 0, "lost": 0, "sent": 3}
    assert [row.error is None for row in rows] == [True, True, False, True]
    assert len(bucket.log) == 3
    assert "dropped 5 rows: more were answered than it could write" in caplog.text


def test_queue_is_bounded_in_bytes_too(open_log, tiny_detector, contents):
    """Large pictures fill the memory before many rows do; what was taken out makes room."""
    bytes_of_two = 2 * (len(contents[0]) + 32 * 32 * 4)
    with open_log(replace(NEVER, queue_bytes=bytes_of_two + 10)) as log:
        answer(log, tiny_detector, contents[:1] * 3)
        assert log.counts == {"offered": 3, "dropped": 1}
        log._write_what_waits()
        answer(log, tiny_detector, contents[:1] * 2)
        assert log.counts["dropped"] == 1


def test_a_bug_of_the_log_fails_no_request(open_log, tiny_detector, contents, monkeypatch, caplog):
    """Nor does it end the log."""

    class Unspeakable:
        def __str__(self):
            raise RuntimeError("no name")

    with open_log() as log:
        rows = answer(log, tiny_detector, contents[:1], [Unspeakable()])
        with monkeypatch.context() as patch:
            patch.setattr(log, "_spool_rows", lambda rows: 1 / 0)
            answer(log, tiny_detector, contents[:1])
            wait_until(lambda: "cannot write rows" in caplog.text)
        answer(log, tiny_detector, contents[:1])
        wait_until(lambda: log.counts.get("sent") == 1)

    assert rows[0].error is None
    said = [each.message for each in caplog.records if "cannot" in each.message]
    assert said == [
        "the prediction log cannot take rows: RuntimeError('no name')",
        "the prediction log cannot write rows: ZeroDivisionError('division by zero')",
    ]


def test_row_that_waited_long_goes_without_features(open_log, bucket, tiny_detector, contents):
    """So that the log keeps up: its score, its hash and its map cost next to nothing."""
    with open_log(replace(NEVER, behind_s=0.0)) as log:
        answer(log, tiny_detector, contents[:1])
    assert log.counts["undescribed"] == 1

    row = bucket.log.iloc[0]
    assert row["sha256"] == hashlib.sha256(contents[0]).hexdigest()
    assert row["pixels_sha256"] == ""
    assert np.isnan(row["luminance"])
    assert row["map_extent"] > 0


def test_bucket_that_is_away_loses_nothing(open_log, bucket, tiny_detector, contents, caplog):
    """Rows wait on the disk; why is said once, and once that it goes on."""
    caplog.set_level(logging.WARNING)
    bucket.is_away = True
    with open_log() as log:
        for _ in range(3):
            answer(log, tiny_detector, contents[:1])
            tries = bucket.tries
            wait_until(lambda tries=tries: bucket.tries > tries + 1)
        assert bucket.objects == {}
        bucket.is_away = False
        wait_until(lambda: log.counts.get("sent") == 3)

    assert len(bucket.log) == 3
    said = [record.message for record in caplog.records]
    assert said == [
        "the prediction log keeps its rows on the disk: no S3 service answers at http://s3",
        "the prediction log reaches its bucket again",
    ]


def test_disk_is_bounded_while_the_bucket_is_away(open_log, bucket, tiny_detector, contents):
    """The oldest rows are lost, and counted."""
    bucket.is_away = True
    limits = replace(QUICK, spool_bytes=20_000, part_s=0.0)
    with open_log(limits) as log:
        for number in range(12):
            answer(log, tiny_detector, contents[:1], [number])
            wait_until(lambda: not log._queue)
            time.sleep(0.02)
        wait_until(lambda: log.counts.get("lost", 0) > 0)
        bucket.is_away = False
    lost = log.counts["lost"]

    sent = sorted(map(int, bucket.log["reference"]))
    assert 0 < lost < 12
    # what was being sent when its file was given up counts as lost, and may arrive all the same
    assert sent in (list(range(lost, 12)), list(range(lost - 1, 12)))


def test_what_is_left_on_the_disk_is_sent_by_the_next(
    open_log, bucket, tiny_detector, contents, tmp_path
):
    """A log that was closed while its bucket was away."""
    bucket.is_away = True
    with open_log() as log:
        answer(log, tiny_detector, contents)
    assert bucket.objects == {}
    for thread in log._threads:  # closing does not wait for them while the bucket is away
        thread.join(10)

    bucket.is_away = False
    with open_log():
        wait_until(lambda: bucket.objects)

    assert len(bucket.log) == 4
    assert list((tmp_path / "factory" / "bolt").iterdir()) == []


def test_closing_tries_again(open_log, bucket, tiny_detector, contents):
    """A bucket that fails once loses no time to the next start."""
    bucket.is_away = True
    with open_log(NEVER) as log:
        answer(log, tiny_detector, contents[:1])
        Thread(target=log.close).start()
        wait_until(lambda: bucket.tries > 1)
        bucket.is_away = False
        wait_until(lambda: log.counts.get("sent") == 1)


def test_parts_are_not_tiny(open_log, bucket, tiny_detector, contents):
    """Rows of a minute are one part; so many rows are one sooner."""
    with open_log(replace(QUICK, part_s=3600, part_rows=8)) as log:
        for rows in (3, 6, 9):
            answer(log, tiny_detector, contents[:1] * 3)
            wait_until(lambda rows=rows: log._spool.open_rows == rows or bucket.objects)
        wait_until(lambda: bucket.objects)
        assert len(bucket.objects) == 1
        assert len(bucket.log) in (8, 9)  # the last may be written by itself


def test_end_is_told_in_advance(open_log, bucket, tiny_detector, contents):
    """From then on all is sent at once, as a server needs that is asked to end."""
    with open_log(replace(QUICK, look_s=3600, part_s=3600)) as log:
        answer(log, tiny_detector, contents[:1])
        log.end_soon()
        answer(log, tiny_detector, contents[:1])
        wait_until(lambda: log.counts.get("sent") == 2)


def test_rows_go_to_their_night(tmp_path, bucket, tiny_detector, contents):
    """By the time that the request came and the border of the product."""
    border = NightBorder.parse("06:00 Europe/Berlin")
    times = iter([datetime(2026, 5, 4, 3, 59, tzinfo=UTC), datetime(2026, 5, 4, 4, tzinfo=UTC)])
    settings = LogSettings("factory", "bolt", border, tmp_path)
    log = PredictionLog(settings, bucket, NEVER, lambda: next(times))
    for _ in range(2):
        answer(log, tiny_detector, contents[:1])
    log.close()

    nights = sorted(key.split("/")[3] for key in bucket.objects)
    assert nights == ["2026-05-03", "2026-05-04"]


def test_every_field_of_a_row_has_its_column(open_log, tiny_detector, contents):
    """No more, and no fewer."""
    taken = []
    with open_log(NEVER) as log:
        log.offer = taken.extend
        answer(log, tiny_detector, contents[:1])

    record = describe(taken[0], False, True).to_record()

    assert set(record) == set(SERVED_SCHEMA.names)


def test_server_that_is_asked_to_end_does_so_after_the_log(
    open_log, bucket, tiny_detector, contents
):
    """Its own handler is called, and the signal that it repeats for itself then, as uvicorn does,
    ends nothing before the log is closed."""
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with open_log(replace(QUICK, look_s=3600, part_s=3600)) as log:
            process_log._flush_on_sigterm(log)
            answer(log, tiny_detector, contents[:1])
            signal.raise_signal(signal.SIGTERM)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)
            wait_until(lambda: log.counts.get("sent") == 1)
        assert heard == [signal.SIGTERM]
        assert signal.SIGTERM in signal.sigpending()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # takes the one that is pending
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        signal.signal(signal.SIGTERM, before)


def test_spool_that_cannot_be_written_is_refused(tmp_path):
    """When the server starts, in one line."""
    (tmp_path / "spool").write_text("no folder")
    settings = LogSettings("factory", "bolt", NightBorder(), tmp_path / "spool")

    with pytest.raises(ConfigError, match="_SPOOL must be a folder on a local disk that can be"):
        process_log.open_log(settings)


def test_a_row_that_cannot_be_described_costs_no_other(
    open_log, bucket, tiny_detector, contents, monkeypatch, caplog
):
    """It is counted, and the log says why once."""

    def fail_on_the_second(answered, *more):
        if answered.reference == "b":
            raise MemoryError("too large")
        return describe(answered, *more)

    monkeypatch.setattr(module, "describe", fail_on_the_second)
    with open_log() as log:
        answer(log, tiny_detector, contents, ["a", "b", "c", "d"])
        answer(log, tiny_detector, contents[:2], ["e", "b"])
        wait_until(lambda: log.counts.get("sent") == 4)

    assert sorted(bucket.log["reference"]) == ["a", "c", "d", "e"]
    assert log.counts == {"offered": 6, "lost": 2, "sent": 4}
    assert caplog.text.count("the prediction log loses rows: MemoryError('too large')") == 1
