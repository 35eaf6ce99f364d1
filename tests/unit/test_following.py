"""A server takes up the version that an alias points to, and keeps its own where it cannot."""

import base64
import logging
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from mlflow_models import flavor
from mlflow_models.serving import follow
from mlflow_models.serving.follow import (
    Alias,
    Follower,
    check_memory,
    followed_alias,
    free_memory_bytes,
)
from mlflow_models.serving.pyfunc import DetectorPyfunc
from mlflow_models.serving.shadow import Shadow
from mlflow_models.serving.version import ServedVersion
from mlflow_models.version_tags import THRESHOLD_TAG
from reconad_plugin.detector.persistence import load_detector
from reconad_plugin.errors import ModelFormatError, PlatformError
from reconad_plugin.ledger.threshold_setting import ThresholdSetting, write_settings

CHAMPION = Alias("reconad-gear", "champion")


class Registry:
    """An alias that a test moves, or that does not answer."""

    def __init__(self):
        self.number = "1"
        self.tags = {}
        self.error = None

    def get_model_version_by_alias(self, name, alias):
        assert (name, alias) == ("reconad-gear", "champion")
        if self.error is not None:
            raise self.error
        return SimpleNamespace(version=self.number, tags=self.tags)


@pytest.fixture
def registry(monkeypatch):
    """What the follower asks."""
    registry = Registry()
    monkeypatch.setattr(follow, "open_client", lambda: registry)
    return registry


@pytest.fixture
def clock():
    """Seconds that a test lets pass."""
    return SimpleNamespace(now_s=0.0)


@pytest.fixture
def follower(registry, clock, tiny_detector, make_normal, tmp_path, caplog):
    """A follower of versions that are folders; its server began with version 1."""
    caplog.set_level(logging.WARNING)
    tested = tiny_detector.with_self_test(make_normal(1, 5)[0].numpy())
    for number in ("1", "2", "3"):
        flavor.save_model(tested, str(tmp_path / number))
    pyfunc = DetectorPyfunc(ServedVersion(tested, "1"), columns=("image", "context", "reference"))

    def load(folder):
        return ServedVersion(load_detector(folder / flavor.DATA_FOLDER), folder.name)

    def download(uri, folder):
        assert uri.startswith("models:/reconad-gear/")
        return tmp_path / uri.rsplit("/", 1)[-1]

    made = Follower(CHAMPION, pyfunc, load, download, clock_s=lambda: clock.now_s)
    made.pyfunc, made.folder = pyfunc, tmp_path
    return made


def test_a_new_champion_and_a_rollback_are_taken_up(follower, registry, caplog):
    """Each check that finds the alias elsewhere exchanges the version, in either direction."""
    for number in ("2", "1"):
        registry.number = number

        follower.check()

        assert follower.pyfunc.served.number == number
        assert follower.is_up_to_date
    assert "version 1 is at models:/reconad-gear@champion in place of version 2" in caplog.text


def test_a_request_is_answered_by_one_version(follower, make_normal, encode, monkeypatch):
    """That which served when it came: its threshold and its number, though another one is put in
    while it is answered."""
    first = follower.pyfunc.served
    other = ServedVersion(first.loaded.held_against(1e-9), "2")

    def put_in_another(detector, asked):
        follower.pyfunc.take(other)
        return detector

    monkeypatch.setattr("mlflow_models.serving.pyfunc._with_threshold", put_in_another)
    picture = encode(make_normal(1, 5)[0].permute(1, 2, 0).numpy(), "PNG")
    rows = pd.DataFrame({"image": [base64.b64encode(picture).decode()]})

    before, after = (follower.pyfunc.predict(rows).iloc[0] for _ in range(2))

    assert before["model_version"] == "1"
    assert before["image_threshold"] == first.detector.calibration.image_threshold
    assert (after["model_version"], after["image_threshold"]) == ("2", 1e-9)


def test_an_alias_that_stays_is_left_alone(follower):
    """Nothing is loaded where nothing has changed."""
    before = follower.pyfunc.served

    follower.check()

    assert follower.pyfunc.served is before


def test_a_threshold_that_a_person_set_is_taken_up_without_loading(follower, registry, caplog):
    """It holds from the next request on, until the calibrated one does again, or another version
    serves; a tag that cannot be read changes nothing."""
    first = follower.pyfunc.served
    calibrated = first.detector.calibration.image_threshold

    def answers(tag, number="1"):
        registry.number, registry.tags = number, {} if tag is None else {THRESHOLD_TAG: tag}
        follower.check()
        assert follower.pyfunc.served.number == number
        return follower.pyfunc.served.detector.calibration.image_threshold

    raised = ThresholdSetting(2 * calibrated, "Ana", "glare", "2026-05-01")
    back = replace(raised, threshold=None)

    assert answers(write_settings([], raised)) == 2 * calibrated
    assert follower.pyfunc.served.loaded is first.loaded
    assert follower.is_up_to_date
    assert answers("damaged") == 2 * calibrated
    assert "must be as reconad wrote them" in caplog.text
    assert answers(write_settings([raised], back)) == calibrated
    assert answers(write_settings([], raised)) == 2 * calibrated
    assert answers(None, "2") == calibrated
    assert answers(write_settings([], raised), "3") == 2 * calibrated  # with the version, at once


def test_a_version_that_fails_its_self_test_does_not_serve(follower, registry, clock, caplog):
    """The old one answers on; why is said once; a version that is sound is taken at once."""
    broken = follower.folder / "2" / flavor.DATA_FOLDER / "detector.json"
    text = broken.read_text(encoding="utf-8")
    broken.write_text(text.replace('"self_test_score": ', '"self_test_score": 9'), "utf-8")
    registry.number = "2"

    for clock.now_s in (0.0, 1.0, 100.0, 1000.0):
        follower.check()

    assert follower.pyfunc.served.number == "1"
    assert not follower.is_up_to_date
    assert caplog.text.count("version 2 of reconad-gear cannot be taken up; version 1 stays") == 1
    registry.number = "3"
    follower.check()
    assert follower.pyfunc.served.number == "3"


def test_a_version_whose_scores_are_no_numbers_does_not_serve(
    follower, registry, tiny_detector, caplog
):
    """Also where it carries no self-test: a grey picture finds it out before anybody asks."""
    for weight in tiny_detector.engine.network.parameters():
        weight.data.fill_(float("nan"))
    shutil.rmtree(follower.folder / "2")
    flavor.save_model(tiny_detector, str(follower.folder / "2"))
    registry.number = "2"

    follower.check()

    assert follower.pyfunc.served.number == "1"
    assert "a score must be a number" in caplog.text


def test_what_could_not_be_loaded_is_tried_again_after_a_pause(follower, registry, clock):
    """Files that are not there yet are found later; meanwhile nothing is downloaded each second."""
    there, away = follower.folder / "2", follower.folder / "away"
    there.rename(away)
    registry.number = "2"
    follower.check()
    away.rename(there)

    follower.check()
    assert follower.pyfunc.served.number == "1"
    clock.now_s = 3.0
    follower.check()

    assert follower.pyfunc.served.number == "2"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(ConnectionError("no route"), "no route", id="no answer"),
        pytest.param(
            MlflowException("no alias", error_code=RESOURCE_DOES_NOT_EXIST),
            "it points to no version: ",
            id="no alias",
        ),
    ],
)
def test_a_registry_that_is_down_stops_nothing(follower, registry, caplog, error, reason):
    """The version that serves goes on, that is said once, and so is that all is well again."""
    registry.error = error
    for _ in range(3):
        follower.check()
    assert follower.pyfunc.served.number == "1"
    assert caplog.text.count("cannot be followed for now; version 1 stays: " + reason) == 1

    registry.error, registry.number = None, "2"
    follower.check()

    assert follower.pyfunc.served.number == "2"
    assert "models:/reconad-gear@champion is followed again" in caplog.text


def test_a_long_outage_delays_nothing_that_comes_after(follower, registry, clock):
    """Neither of a version that could not be loaded on any of a thousand days, nor of the registry
    afterwards: what is wanted is taken up at the first look at which all is well."""
    there, away = follower.folder / "2", follower.folder / "away"
    there.rename(away)
    registry.number = "2"
    for day in range(1_100):
        clock.now_s = 86_400.0 * day
        follower.check()
    registry.error = ConnectionError("no route")
    for _ in range(1_100):
        clock.now_s += 1
        follower.check()
    away.rename(there)
    registry.error = None
    follower.check()

    assert follower.pyfunc.served.number == "2"


def test_a_version_that_may_not_fit_is_not_loaded(follower, registry, clock, monkeypatch, caplog):
    """Where memory is short the old version serves on, and that is said once, however much is free
    at the next tries."""
    free = iter((1_000, 2_000_000, 3_400_000))
    monkeypatch.setattr(follow, "free_memory_bytes", lambda: next(free))
    monkeypatch.setattr(follow, "SIZES_NEEDED", 10**9)
    registry.number = "2"

    for hour in range(3):
        clock.now_s = 3600.0 * hour
        follower.check()

    assert next(free, None) is None
    assert follower.pyfunc.served.number == "1"
    assert caplog.text.count("MB are free") == 1
    with pytest.raises(PlatformError, match="give the server more memory"):
        check_memory(2000, 1000)


def test_a_version_that_needs_another_column_is_not_taken_up(follower, registry, caplog):
    """A server hands on the columns that it began with."""
    follower.pyfunc.columns = ("picture",)
    registry.number = "2"

    follower.check()

    assert follower.pyfunc.served.number == "1"
    assert "this one needs image too: start the server anew" in caplog.text


def test_a_containers_limit_counts(tmp_path):
    """What a container may still take, with what the system would give up, bounds what is free."""
    for name, text in {
        "memory.max": "5000\n",
        "memory.current": "4000\n",
        "memory.stat": "anon 1\ninactive_file 500\n",
    }.items():
        (tmp_path / name).write_text(text)

    assert free_memory_bytes(tmp_path) == 1500
    assert free_memory_bytes(tmp_path / "none") > 1500


def test_a_shadow_goes_when_its_alias_does(follower, registry, caplog):
    """A challenger that was promoted or withdrawn is no fault, and its successor comes."""
    shadow = Shadow(1.0, ("image",))
    made = Follower(CHAMPION, shadow, follower._load, follower._download, shadow.drop)
    absent = MlflowException("no alias", error_code=RESOURCE_DOES_NOT_EXIST)

    for error, number in ((absent, None), (None, "2"), (absent, None), (None, "3")):
        registry.error, registry.number = error, number
        made.check()
        assert (shadow.served and shadow.served.number) == number

    assert "cannot be followed" not in caplog.text


SERVE = ("python", "mlflow", "models", "serve", "-m")


@pytest.mark.parametrize(
    ("setting", "name", "line", "followed"),
    [
        pytest.param(None, "reconad-gear", (*SERVE, str(CHAMPION)), CHAMPION, id="by its address"),
        pytest.param(None, "reconad-gear", (*SERVE, "models:/reconad-gear/3"), None, id="a number"),
        pytest.param("champion", "reconad-gear", (), CHAMPION, id="by the setting"),
        pytest.param("off", "reconad-gear", (*SERVE, str(CHAMPION)), None, id="off"),
        pytest.param(None, None, (*SERVE, "/models/gear"), None, id="a folder"),
    ],
)
def test_what_is_followed(setting, name, line, followed):
    """The setting counts, else the alias in the address that the server was given."""
    assert followed_alias(setting, name, line) == followed


def test_a_mere_folder_cannot_follow():
    """It comes from no registry."""
    with pytest.raises(ModelFormatError, match="the alias champion can be followed"):
        followed_alias("champion", None, ())
