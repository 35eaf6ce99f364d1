"""The prediction log on a real bucket, and a night that is watched by what was served."""

import base64
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flows.ingest import make_manifest
from flows.jobs.ledger import open_ledger, read_history
from flows.jobs.night import ScoredNight, decide, score_night
from flows.jobs.product import Product, open_product
from flows.platform.servers import EmbeddedPlatform
from mlflow_models import registry
from mlflow_models.serving import process_log
from mlflow_models.serving.log_settings import LogSettings
from mlflow_models.serving.prediction_log import LogLimits, PredictionLog
from reconad_plugin.detector.prediction import Observed, Prediction
from reconad_plugin.images.features import FEATURES
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.ledger.night_record import NightRecord
from reconad_plugin.ledger.served import SERVED_SCHEMA, read_served, to_part
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import open_bucket
from tests.factory import BUCKET, Factory
from tests.served import NOON, served_row
from tests.world import EMPTY_AFTER, IMAGES, LEARNT

LAYOUT = ProductLayout("logged")
NIGHT = NOON.date()
LOOK_S = 0.2
SETTLED_S = 4.0  # rows that are older were written, also where the machine is busy
RUNS_S = 5.5
SAID = 0.123456


@pytest.fixture
def settings(platform: EmbeddedPlatform, tmp_path: Path) -> LogSettings:
    """Of a server's log, with a spool of the test's own."""
    variables = {"": f"s3://{BUCKET}/logged", "_SPOOL": str(tmp_path)}
    named = {f"RECONAD_PREDICTION_LOG{name}": value for name, value in variables.items()}
    found = LogSettings.from_environment(named)
    assert found is not None
    return found


class Away:
    """A bucket that cannot be reached."""

    def write(self, key: str, content: bytes, content_type: str) -> None:
        raise OSError("away")


def serve_until_killed(settings: LogSettings, said: Connection) -> None:
    """A server that logs a row each millisecond or so, and says when it had."""
    log = PredictionLog(settings, Away(), LogLimits(look_s=LOOK_S, part_s=0.5), lambda: NOON)  # type: ignore[arg-type]
    detector: Any = SimpleNamespace(
        limits=ImageLimits(), region=None, engine=SimpleNamespace(name="torch")
    )
    answer = Prediction(0.1, False, 0.3, 0.5, None, "3", None)
    shown = np.full((32, 32), 0.1, np.float32)
    for number in range(100_000):
        observe = log.observe(detector, [str(number)])
        observe([Observed(answer, b"no picture", shown)])
        said.send((number, monotonic()))
        sleep(0.001)


def test_killed_process_loses_its_last_moments_alone(settings: LogSettings) -> None:
    """SIGKILL of one whose bucket is away; the next process sends what it left, each row once,
    though another had begun to and was killed as well."""
    fork = multiprocessing.get_context("fork")  # another would import for ten seconds
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=serve_until_killed, args=(settings, theirs))
    process.start()
    sleep(RUNS_S)
    process.kill()
    process.join()
    killed_s, offered = monotonic(), dict[int, float]()
    while ours.poll():
        number, at_s = ours.recv()
        offered[number] = at_s
    store = open_bucket(BUCKET)
    folder = settings.spool / BUCKET / "logged"
    first = min(folder.glob("*/*.arrow"))
    batches = pa.ipc.open_stream(first.read_bytes()).read_all().to_batches()
    name = f"{first.parent.name}-{first.name.split('.')[1]}"
    store.write(LAYOUT.served_part(NIGHT, name), to_part(batches), "")

    PredictionLog(settings, store).close()

    found = [int(each) for each in read_served(store, LAYOUT, NIGHT)["reference"]]
    settled = [number for number, at_s in offered.items() if at_s < killed_s - SETTLED_S]
    assert len(settled) > 100
    assert sorted(found) == list(range(len(found)))
    assert len(found) > settled[-1]
    assert list(folder.iterdir()) == []


@pytest.fixture
def watched(forked: Callable[..., Factory]) -> Factory:
    """A product in the state at its end, which is watched by what is served."""
    return forked(LEARNT, watch_served=True)


@pytest.fixture
def serve(
    watched: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Product, pd.DataFrame], pd.DataFrame]]:
    """Serves images of a manifest with the champion, as a server with a log would; the answers."""
    monkeypatch.setenv("RECONAD_PREDICTION_LOG", f"s3://{BUCKET}/{watched.product}")
    monkeypatch.setenv("RECONAD_PREDICTION_LOG_SPOOL", str(tmp_path / "spool"))
    on_time = partial(PredictionLog, now=lambda: datetime.combine(LEARNT, time.min, UTC))
    monkeypatch.setattr(process_log, "PredictionLog", on_time)
    before = signal.getsignal(signal.SIGTERM)

    def ask(product: Product, rows: pd.DataFrame) -> pd.DataFrame:
        pyfunc = mlflow.pyfunc.load_model(registry.champion(product.name).uri)
        contents = [
            product.read_image(*each) for each in zip(rows["sha256"], rows["key"], strict=True)
        ]
        encoded = [base64.b64encode(content).decode() for content in contents]
        answers = pyfunc.predict(pd.DataFrame({"image": encoded}))
        chosen = LogSettings.from_environment(os.environ)
        assert chosen is not None
        process_log.open_log(chosen).close()
        return answers

    yield ask
    process_log.open_log.cache_clear()
    signal.signal(signal.SIGTERM, before)


def test_night_that_was_served_has_the_same_record(
    watched: Factory,
    serve: Callable[[Product, pd.DataFrame], pd.DataFrame],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was said of each image is what the night would have said."""
    caplog.set_level("INFO")
    product = open_product(watched.product)
    plain = product.settings.model_copy(update={"watch_served": False})
    _, before = watch(replace(product, settings=plain))
    manifest = product.manifest(LEARNT)
    assert manifest is not None

    answers = serve(product, manifest)
    scored, record = watch(product)

    assert f"{IMAGES} of {IMAGES} images: as served by {record.model_version}" in caplog.text
    assert scored.table["pred_score"].tolist() == answers["pred_score"].tolist()
    assert record == before
    log = read_served(product.store, product.layout, LEARNT)
    assert log["sha256"].tolist() == manifest["sha256"].tolist()
    assert log["pixels_sha256"].tolist() == manifest["pixels_sha256"].tolist()
    pd.testing.assert_frame_equal(log[list(FEATURES)], manifest[list(FEATURES)])


def watch(product: Product, night: date = LEARNT) -> tuple[ScoredNight, NightRecord]:
    """Score a night and decide on it."""
    ledger = open_ledger(product, read_history(product))
    scored = score_night(product, ledger, night)
    assert scored is not None
    return scored, decide(product, ledger, night, scored)


def test_night_of_two_versions_is_scored_by_one(watched: Factory) -> None:
    """By the one that answered for most of its images; those that the other saw are scored anew.
    Where neither did, by the champion."""
    product, night = open_product(watched.product), EMPTY_AFTER + timedelta(1)
    watched.deliver(night, IMAGES)
    make_manifest.__wrapped__(product, night)
    manifest = product.manifest(night)
    assert manifest is not None
    old, new = "1", registry.champion(product.name).number
    assert new != old
    hashes = manifest["sha256"].tolist()
    many, few = hashes[: IMAGES // 2 + 1], hashes[IMAGES // 2 + 1 :]
    log_rows(product, night, {old: many[:3], new: few})

    by_champion = score(product, night)
    log_rows(product, night, {old: many, new: few})
    by_most = score(product, night)

    assert by_champion.version.number == new
    assert by_most.version.number == old
    assert set(by_most.table["model_version"]) == {old}
    assert (by_most.table["pred_score"] == SAID).tolist() == [each in many for each in hashes]


def score(product: Product, night: date) -> ScoredNight:
    """Score a night that has no record yet."""
    scored = score_night(product, open_ledger(product, read_history(product)), night)
    assert scored is not None
    return scored


def log_rows(product: Product, night: date, hashes: dict[str, list[str]]) -> None:
    """Put a log of a night into the bucket: version -> the images that it answered for."""
    rows = [
        replace(served_row(1), model_version=version, sha256=each, pred_score=SAID)
        for version, own in hashes.items()
        for each in own
    ]
    batch = pa.RecordBatch.from_pylist([row.to_record() for row in rows], SERVED_SCHEMA)
    product.store.write(product.layout.served_part(night, "made-up"), to_part([batch]), "")
