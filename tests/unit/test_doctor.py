"""The doctor names each of ten things that were broken on purpose, and none hides another."""

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect.client.schemas.objects import WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.commands import doctor
from flows.deployment.changes import Change, Verb
from flows.doctor import bucket, checks, machine, platforms
from flows.doctor.findings import Check, Finding, run_checks
from reconad_plugin.config.settings import Settings
from reconad_plugin.errors import PlatformError
from reconad_plugin.store.arrivals import objects_beside
from reconad_plugin.store.layout import ProductLayout
from tests.command_line import run
from tests.fake_s3 import FakeS3, refusal, store_of
from tests.receivers import receivers

NOW = datetime(2026, 5, 9, 12, tzinfo=UTC)
DUE = date(2026, 5, 9)
NIGHTS = [f"gear/incoming/2026-05-0{day}/a.png" for day in (7, 8)]
TAKEN_IN = [f"gear/_reconad/manifests/2026-05-0{day}.parquet" for day in (7, 8)]


def settings_file(write_settings, monkeypatch, **_):
    """A setting that is not known."""
    monkeypatch.setenv(
        "RECONAD_CONFIG", str(write_settings("[storage]\nbucket = 'factory'\nx = 1"))
    )
    return checks._check_settings


def package(monkeypatch, **_):
    """FastAPI of the version with which every flow dies."""
    installed = machine.importlib.metadata.version
    monkeypatch.setattr(
        machine.importlib.metadata,
        "version",
        lambda name: "0.160.0" if name == "fastapi" else installed(name),
    )
    return machine.check_versions


def disk(monkeypatch, **_):
    """A full disk."""
    usage = SimpleNamespace(free=300_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    return lambda: machine.check_disk({"storage.cache_dir": Path("/nowhere/cache")})


def clock(monkeypatch, **_):
    """A server whose clock is five minutes ahead, and does not name its zone."""
    answer = SimpleNamespace(headers={"Date": "Sat, 09 May 2026 12:05:00 -0000"})
    monkeypatch.setattr(machine.requests, "get", lambda *_, **__: answer)
    monkeypatch.setattr(machine, "_now", lambda: NOW)
    return lambda: machine.check_clocks({"MLflow": "http://mlflow"})


def mlflow(monkeypatch, **_):
    """Nobody answers at MLflow's address."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    return platforms.check_mlflow


def prefect(**_):
    """Nobody answers at Prefect's address."""

    def look():
        changed = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
        with temporary_settings(changed):
            return platforms.check_prefect()

    return look


def rights(**_):
    """The bucket's policy allows reading alone."""

    class ReadOnly(FakeS3):
        def put_object(self, **_):
            raise refusal("AccessDenied", "Access Denied.", 403, "PutObject")

    store = store_of(ReadOnly(dict.fromkeys(NIGHTS, b"x")))
    return lambda: bucket.check_rights(store, "gear")


def worker(**_):
    """The worker went away."""
    gone = SimpleNamespace(name="w", status=WorkerStatus.OFFLINE)
    pool = SimpleNamespace(is_paused=False)
    client = SimpleNamespace(
        read_work_pool=lambda name: pool, read_workers_for_work_pool=lambda name: [gone]
    )
    return lambda: platforms.check_work_pool(client, "reconad")


def pool(**_):
    """Nobody made the work pool."""

    def read(name):
        raise ObjectNotFound(Exception())

    return lambda: platforms.check_work_pool(SimpleNamespace(read_work_pool=read), "reconad")


def deployment(monkeypatch, **_):
    """Somebody deleted a deployment."""
    changes = [
        Change(Verb.KEEP, "work pool", "reconad"),
        Change(Verb.CREATE, "deployment", "nightly/gear"),
    ]
    monkeypatch.setattr(platforms, "deploy", lambda settings, is_dry: changes)
    return lambda: platforms.check_deployments(None)


def night(**_):
    """A night lies in the bucket and was never run."""
    return lambda: bucket.check_nights(product(NIGHTS, TAKEN_IN[:1]), DUE)


def pictures(**_):
    """The factory writes elsewhere."""
    return lambda: bucket.check_nights(product(["gear/2026-05-08/a.png"], []), DUE)


def gone(**_):
    """A rule of the bucket removed all pictures, and no new ones came."""
    return lambda: bucket.check_nights(product([], TAKEN_IN), DUE)


def product(arrived, taken_in):
    """A product of a bucket in memory."""
    store = store_of(FakeS3(dict.fromkeys([*arrived, *taken_in], b"x")))
    layout = ProductLayout("gear")
    known = {key.rsplit("/", 1)[1].removesuffix(".parquet") for key in taken_in}

    def never_run(before):
        nights = {key.split("/")[2] for key in arrived}
        return [date.fromisoformat(night) for night in sorted(nights - known)]

    return SimpleNamespace(
        name="gear",
        store=store,
        layout=layout,
        nights_never_run=never_run,
        known_nights=lambda: sorted(known),
        objects_beside=lambda: objects_beside(store, layout),
        records=SimpleNamespace(record=lambda night: None),
    )


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (settings_file, "breaks 2 rule(s): storage.x: Extra inputs"),
        (package, "together; fastapi is 0.160.0, needed is <0.151: pip install"),
        (disk, "storage.cache_dir (/nowhere/cache) must have 5 GB free; it has 0.3: make room"),
        (clock, "MLflow's is 300 s ahead of this machine's: let NTP set both"),
        (mlflow, "MLflow must answer at 127.0.0.1; it does not: start it"),
        (prefect, "Prefect does not answer: start it"),
        (rights, "cannot write gear/_reconad/doctor.txt in bucket 'factory'"),
        (worker, "none is up: prefect worker start --pool reconad"),
        (pool, "there is none: reconad deploy"),
        (deployment, "it would create deployment nightly/gear: reconad deploy"),
        (night, "1 never were, 2026-05-08 to 2026-05-08: reconad nightly gear 2026-05-08"),
        (
            pictures,
            "must lie in gear/incoming/YYYY-MM-DD/; there are none, and gear/2026-05-08/ has 1:",
        ),
        (gone, "must lie in gear/incoming/YYYY-MM-DD/; there are none: let the factory"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_is_broken_is_named_with_what_to_do(break_it, said, write_settings, monkeypatch):
    """One finding, not good, on one line."""
    with monkeypatch.context() as patch:
        look = break_it(write_settings=write_settings, monkeypatch=patch)
        (found,) = run_checks([Check("it", look)], limit_s=60)

    assert not found.is_good
    assert said in found.said
    assert "\n" not in found.said


def test_what_is_well_is_said():
    """Each check has a good end too."""
    store = store_of(FakeS3(dict.fromkeys(NIGHTS, b"x")))

    assert machine.check_versions().endswith("packages are as reconad needs them")
    assert bucket.check_rights(store, "gear") == "list, read and write under gear/"
    assert bucket.check_nights(product(NIGHTS, TAKEN_IN), DUE) == "2026-05-08: taken in"
    assert bucket.check_nights(product([], []), DUE) == "nothing has come to gear/incoming/ yet"
    assert (
        bucket.check_nights(product(["gear/read.me", *NIGHTS], []), date(2026, 5, 7))
        == "the first night, 2026-05-07, is not due yet"
    )
    with receivers() as received:
        assert (
            machine.check_clocks({"S3": received.web, "gone": "http://127.0.0.1:9"})
            == "agree with S3"
        )


@pytest.mark.parametrize(
    ("change", "is_named"),
    [
        (Change(Verb.UPDATE, "deployment", "x", differing=("entrypoint", "pull_steps")), False),
        (
            Change(Verb.UPDATE, "deployment", "x", differing=("parameter_openapi_schema", "tags")),
            False,
        ),
        (Change(Verb.UPDATE, "automation", "x", differing=("tags", "actions")), False),
        (Change(Verb.UPDATE, "deployment", "x", differing=("tags", "schedule")), True),
        (Change(Verb.UPDATE, "deployment", "x", differing=("parameters",)), True),
        (Change(Verb.UPDATE, "deployment", "x", differing=("work_pool_name",)), True),
        (Change(Verb.UPDATE, "automation", "x", differing=("actions",)), True),
        (Change(Verb.UPDATE, "block", "x", differing=("address",)), True),
        (Change(Verb.REMOVE, "deployment", "x"), True),
    ],
    ids=str,
)
def test_what_changes_nothing_that_runs_is_no_finding(change, is_named, monkeypatch):
    """Who deploys by `prefect.yaml`, or looks from another folder, is told nothing wrong."""
    monkeypatch.setattr(platforms, "deploy", lambda settings, is_dry: [change])

    (found,) = run_checks([Check("it", lambda: platforms.check_deployments(None))])

    assert found.is_good is not is_named
    assert "tags" not in found.said


def test_one_that_hangs_and_one_that_fails_stop_no_other():
    """Each line comes, in order, within the time."""

    def fail():
        raise KeyError("odd")

    began = time.monotonic()
    looks = {"hangs": lambda: time.sleep(60), "fails": fail, "well": lambda: "yes"}
    found = list(run_checks([Check(*each) for each in looks.items()], limit_s=0.3))

    assert time.monotonic() - began < 5
    assert [each.is_good for each in found] == [False, False, True]
    assert "longer than 0.3 s" in found[0].said
    assert found[1].said == "KeyError: 'odd'"
    assert found[2] == Finding("well", True, "yes")


def test_the_command_ends_with_1_where_something_is_wrong(monkeypatch, tmp_path):
    """Each line says so, and the JSON has them all."""

    def fail():
        raise PlatformError("it must be so; it is not: do it")

    listed = [Check("this", lambda: "fine"), Check("that", fail)]
    monkeypatch.setattr("flows.commands.doctor.list_checks", lambda now: listed)

    ended = run("doctor", "--json", tmp_path / "found.json")
    listed.pop()
    well = run("doctor")

    assert ended.returncode == 1
    assert ended.stdout.splitlines() == [
        "good   this  fine",
        "WRONG  that  it must be so; it is not: do it",
    ]
    assert ended.stderr == "reconad: 1 of 2 are wrong: that\n"
    findings = json.loads((tmp_path / "found.json").read_text())["findings"]
    assert [each["is_good"] for each in findings] == [True, False]
    assert well.returncode == 0


def test_without_settings_the_rest_is_still_looked_at(monkeypatch, tmp_path):
    """A broken file is one finding, and the machine and the servers are looked at all the same."""
    monkeypatch.setenv("RECONAD_CONFIG", str(tmp_path / "none.toml"))

    assert [each.about for each in doctor.list_checks(NOW)] == [
        "settings",
        "packages",
        "disk",
        "clocks",
        "MLflow",
        "Prefect",
    ]


def test_each_product_of_a_refusing_bucket_is_looked_at(write_settings, monkeypatch):
    """One that is refused has a line of its own, and the other ones have theirs."""
    file = write_settings("[storage]\nbucket = 'factory'\n[products.gear]\n[products.bolt]")
    monkeypatch.setenv("RECONAD_CONFIG", str(file))

    listed = [each.about for each in doctor.list_checks(NOW)]

    assert [about for about in listed if about.endswith(": bucket")] == [
        "gear: bucket",
        "bolt: bucket",
    ]


def test_the_rights_are_tried_on_a_small_object_of_the_newest_night():
    """Old ones may be archived, and large ones take long."""
    newest = {"gear/incoming/2026-05-08/b.png": b"xx", "gear/incoming/2026-05-08/c.png": b"x"}
    archived = {NIGHTS[0]: refusal("InvalidObjectState", "It is archived.", 403)}
    fake = FakeS3({NIGHTS[0]: b"", **newest, "gear/incoming/2026-05-09/": b""}, archived)

    bucket.check_rights(store_of(fake), "gear")

    assert fake.read == ["gear/incoming/2026-05-08/c.png"]


@pytest.mark.parametrize("package", ["prefect", "mlflow"])
def test_a_package_that_does_not_import_is_named(package, tmp_path):
    """The settings and the versions are looked at all the same."""
    (tmp_path / f"{package}.py").write_text("raise TypeError('odd\\none')")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])

    ended = subprocess.run(
        [sys.executable, "-m", "flows.commands.cli", "doctor"],
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
    )

    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["settings", "packages", "imports"]
    assert f"all packages must import; {package} does not, TypeError: odd one: pip" in lines[2]


@pytest.mark.parametrize(
    ("product", "now", "due"),
    [
        pytest.param(
            "gear", "2026-05-09T04:59+02:00", date(2026, 5, 8), id="tonight's may still run"
        ),
        pytest.param("gear", "2026-05-09T05:01+02:00", date(2026, 5, 9), id="it should have ended"),
        pytest.param(
            "bolt", "2026-05-09T23:29+09:00", date(2026, 5, 8), id="the shared night may still run"
        ),
        pytest.param(
            "bolt", "2026-05-09T23:31+09:00", date(2026, 5, 9), id="the shared night has ended"
        ),
    ],
)
def test_a_night_is_due_by_the_clock_of_its_product(product, now, due):
    """Three hours after it was to begin; where many products take turns, twenty."""
    settings = Settings.model_validate(
        {
            "storage": {"bucket": "factory"},
            "night": {"nightly_at": "03:30", "timezone": "Asia/Tokyo"},
            "products": {"gear": {"timezone": "Europe/Berlin"}, "bolt": {}},
        }
    )

    assert bucket.nights_due(settings, product, datetime.fromisoformat(now)) == due
