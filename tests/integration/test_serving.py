"""``mlflow models serve`` as a person starts it: it answers, follows, and leaves a log."""

import base64
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from flows.platform.processes import free_ports
from mlflow_models import flavor, registry
from reconad_plugin.ledger.served import read_served
from reconad_plugin.ledger.threshold_setting import ThresholdSetting
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import open_bucket
from tests.command_line import run
from tests.doc_pages import blocks
from tests.factory import BUCKET, normal_picture, to_png, with_scratch
from tests.world import Story, copy_versions

PRODUCT = "served"
LAYOUT = ProductLayout(PRODUCT)
SERVE_PAGE, LOG_PAGE = "serve.md", "prediction-log.md"


def encoded(seed: int, is_scratched: bool = False) -> str:
    picture = normal_picture(np.random.default_rng(seed))
    picture = with_scratch(picture) if is_scratched else picture
    return base64.b64encode(to_png((picture.clip(0, 1) * 255).astype(np.uint8))).decode()


def first_uri(story: Story) -> str:
    return f"models:/{registry.model_name(story.product)}/1"


@dataclass(frozen=True)
class Server:
    """A scoring server."""

    url: str
    process: subprocess.Popen[bytes]

    def end(self) -> None:
        """Ask it to end, and wait for that."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(20)


@pytest.fixture(scope="module")
def served(told: Story) -> str:
    """A registered model with the story's versions, the first being champion; its name."""
    copy_versions(told.product, PRODUCT)
    name = registry.model_name(PRODUCT)
    MlflowClient().set_registered_model_alias(name, "champion", "1")
    return name


@pytest.fixture(scope="module")
def server(told: Story, served: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server as docs/serve.md starts it, with a prediction log."""
    (port,) = free_ports(1)
    (line,) = blocks(SERVE_PAGE)[0].splitlines()
    assert line in blocks(LOG_PAGE)[0].splitlines()
    for written, meant in (("reconad-ball_screw", served), ("5055", str(port))):
        assert written in line
        line = line.replace(written, meant)
    command, *arguments = shlex.split(line)
    spool = tmp_path_factory.mktemp("spool")
    logged = {"": f"s3://{BUCKET}/{PRODUCT}", "_SPOOL": str(spool)}
    log = told.platform.state / "logs" / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [Path(sys.executable).parent / command, *arguments],
            stdout=file,
            stderr=file,
            start_new_session=True,
            env=os.environ | {f"RECONAD_PREDICTION_LOG{name}": logged[name] for name in logged},
        )
    url = f"http://127.0.0.1:{port}"
    running = Server(url, process)
    try:
        deadline_s = time.monotonic() + 90
        while time.monotonic() < deadline_s:
            try:
                urllib.request.urlopen(f"{url}/ping", timeout=2)
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.3)
        yield running
    finally:
        running.end()


def ask(url: str, body: dict) -> dict:
    request = urllib.request.Request(
        f"{url}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read(), parse_constant=refuse_constant)


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def test_serving_answers_over_http(server: Server) -> None:
    """A good and a damaged part over HTTP: score, label and map; a wrong request is a clean 400."""
    records = [{"image": encoded(8)}, {"image": encoded(8, is_scratched=True)}, {"image": "?"}]

    answer = ask(server.url, {"dataframe_records": records, "params": {"anomaly_map": True}})[
        "predictions"
    ]

    assert [row["pred_label"] for row in answer] == [False, True, None]
    assert answer[2]["error"].startswith("not_base64")
    assert answer[1]["pred_score"] > answer[1]["image_threshold"] > answer[0]["pred_score"]
    assert base64.b64decode(answer[1]["anomaly_map"]).startswith(b"\x89PNG")
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(server.url, {"dataframe_records": [{"picture": "x"}]})
    text = refused.value.read().decode()
    assert refused.value.code == 400
    assert "Traceback" not in text


def test_the_request_of_the_page_has_the_answer_of_the_page(server: Server) -> None:
    """Its fields, in its order; the reference comes back as it stands there."""
    request, answer = (json.loads(block) for block in blocks(SERVE_PAGE)[1:3])
    request["dataframe_records"][0]["image"] = encoded(8)

    (row,) = ask(server.url, request)["predictions"]

    (shown,) = answer["predictions"]
    assert [*row] == [*shown]
    assert row["reference"] == shown["reference"]
    assert {name: type(value) for name, value in row.items()} == {
        name: type(value) for name, value in shown.items()
    }


def test_a_server_follows_the_champion(server: Server, served: str) -> None:
    """Its answers are the new version's soon after the alias has moved, and the old one's after a
    rollback; it is ready again then."""
    name, row = served, {"dataframe_records": [{"image": encoded(8)}]}

    for number in ("2", "1"):
        MlflowClient().set_registered_model_alias(name, "champion", number)
        deadline_s = time.monotonic() + 30  # five seconds on a machine that does nothing else
        while (answer := ask(server.url, row)["predictions"][0])["model_version"] != number:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        own = flavor.load_model(f"models:/{name}/{number}").calibration.image_threshold
        assert answer["image_threshold"] == own
        with urllib.request.urlopen(f"{server.url}/ready", timeout=5) as ready:
            assert json.loads(ready.read()) == {"ready": True, "model_version": number}


def test_a_server_follows_a_threshold_that_a_person_set(server: Server) -> None:
    """Its answers are held against it soon after, and against the calibrated one again when that is
    set."""
    row = {"dataframe_records": [{"image": encoded(8)}]}
    calibrated = ask(server.url, row)["predictions"][0]["image_threshold"]
    low = calibrated / 1e6

    for threshold, wanted, label in ((low, low, True), (None, calibrated, False)):
        setting = ThresholdSetting(threshold, "Ana", "to see", "2026-05-01")
        registry.set_threshold(PRODUCT, "1", setting)
        deadline_s = time.monotonic() + 30
        while (answer := ask(server.url, row)["predictions"][0])["image_threshold"] != wanted:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        assert (answer["pred_label"], answer["model_version"]) == (label, "1")


def test_a_folder_is_predicted_by_url_as_it_is_here(
    story: Story, server: Server, tmp_path: Path
) -> None:
    """The same scores, errors and maps as of the version loaded here, and its number."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for name, is_scratched in (("good", False), ("scratched", True)):
        (folder / f"{name}.png").write_bytes(base64.b64decode(encoded(8, is_scratched)))
    (folder / "torn.png").write_bytes(b"\x89PNG torn")
    sources = {"there": ("--url", server.url), "here": (first_uri(story),)}

    for place, source in sources.items():
        drawn = ("--maps", tmp_path / place, "--overlays", tmp_path / f"over-{place}")
        ended = run("predict", *source, folder, *drawn, "--json", tmp_path / f"{place}.json")
        assert ended.returncode == 0, ended.stderr

    there, here = (
        json.loads((tmp_path / f"{place}.json").read_text())["predictions"] for place in sources
    )
    assert {row.pop("model_version") for row in there} == {"1"}
    assert {row.pop("model_version") for row in here} == {first_uri(story)}
    scores = [[row.pop("pred_score") for row in rows] for rows in (there, here)]
    assert scores[0][:2] == pytest.approx(scores[1][:2], abs=1e-6)
    found = [[row.pop("regions_found") for row in rows] for rows in (there, here)]
    assert [each and each["count"] for each in found[0]] == [
        each and each["count"] for each in found[1]
    ]
    assert there == here
    assert [row["pred_label"] for row in there] == [False, True, None]
    for folders in (("there", "here"), ("over-there", "over-here")):
        names = [sorted(file.name for file in (tmp_path / each).iterdir()) for each in folders]
        assert names == [["good.png", "scratched.png"]] * 2


def test_what_was_said_stands_in_the_log_when_the_server_has_ended(server: Server) -> None:
    """Asked to end, it leaves in the bucket what it said, but not what was said for a trial. The
    last test: nothing answers after it."""
    records = [{"image": encoded(8), "reference": "lot 7"}, {"image": "?", "reference": "lot 7"}]
    answer = ask(server.url, {"dataframe_records": records})["predictions"]
    ask(server.url, {"dataframe_records": records, "params": {"threshold": 0.1}})

    server.end()

    deadline_s, mine = time.monotonic() + 30, pd.DataFrame()
    while len(mine) < 2 and time.monotonic() < deadline_s:  # mlflow ends before its child does
        time.sleep(0.2)
        nights = [datetime.now(UTC).date() - timedelta(day) for day in (1, 0)]  # at midnight, too
        log = pd.concat([read_served(open_bucket(BUCKET), LAYOUT, night) for night in nights])
        mine = log[log["reference"] == "lot 7"]
    night = nights[0] if mine.empty else mine["time"].iloc[0].date()
    read_as_on_the_page: dict = {}
    code = blocks(LOG_PAGE)[1].replace("factory/ball_screw", f"{BUCKET}/{PRODUCT}")
    exec(code.replace("2026-05-03", night.isoformat()), read_as_on_the_page)  # noqa: S102
    assert (read_as_on_the_page["log"]["reference"] == "lot 7").sum() == 2
    assert mine["pred_score"].tolist()[0] == answer[0]["pred_score"]
    assert mine["error"].notna().tolist() == [False, True]
    assert mine["model_version"].tolist() == [answer[0]["model_version"]] * 2
