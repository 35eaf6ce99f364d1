"""The demo itself, in its short form, as a person runs it."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from flows.platform.processes import free_ports
from tests.command_line import RECONAD

README = Path(__file__).parents[2] / "README.md"


def processes_under(state: Path) -> list[str]:
    """Command lines of running processes that mention a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(state) in line and "pytest" not in line:
            found.append(line)
    return found


@pytest.mark.timeout(2100)  # trainings of 450 steps, on a processor without bfloat16 too
def test_the_short_demo_tells_the_story(tmp_path: Path) -> None:
    """Train, quiet, light and fine-tuning by the event, defects held; a report; a server as the
    README starts it; nothing left."""
    state, report, log = tmp_path / "state", tmp_path / "report", tmp_path / "demo.log"
    command = [RECONAD, "demo", "--short", "--keep", "--state", str(state), "--report", str(report)]
    with log.open("wb") as file:
        demo = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        deadline_s = time.monotonic() + 1900
        while "Ctrl-C stops them." not in log.read_text():
            assert demo.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(1)
        answers = ask_as_in_the_readme(state)
    finally:
        demo.send_signal(signal.SIGINT)
        code = demo.wait(60)

    output = log.read_text()
    assert code == 0, output
    assert "Traceback" not in output
    rows = {line[:10]: line.rstrip() for line in output.splitlines() if re.match(r"20\d\d-", line)}
    assert "trained, promoted 1" in rows["2020-08-30"]
    assert "3 +1 dup" in rows["2020-08-31"]
    for quiet in ("2020-08-31", "2020-09-01", "2020-09-02", "2020-09-04"):
        assert " yes " not in rows[quiet]
    assert re.search(r"yes +light", rows["2020-09-03"])
    assert "fine-tuned, promoted 2" in rows["2020-09-03"]
    assert rows["2020-09-02"].endswith("v1       v1")
    assert rows["2020-09-03"].endswith("v2       v2")  # the server that runs follows
    held = rows["2020-09-07"]  # of another crop, and pitted
    assert re.search(r"yes +camera, defects +30 +30 +hold for review +v2", held)
    page = (report / "index.html").read_text()
    assert page.count("data:image/png;base64,") >= 4
    table = {
        night: re.findall(r"<td[^>]*>(v\d)</td>", row)
        for row in re.findall(r"<tr>.*?</tr>", page, re.S)
        for night in re.findall(r"<td[^>]*>(20\d\d-\d\d-\d\d)</td>", row)
    }
    assert table["2020-09-02"] == ["v1", "v1"]  # the champion, and what served
    assert table["2020-09-03"] == ["v2", "v2"]
    assert [row["model_version"] for row in answers] == ["2", "2"]
    assert [row["pred_label"] for row in answers] == [False, True]
    assert all(row["anomaly_map"].startswith("iVBOR") for row in answers)
    assert "cut-off.jpg" in page
    assert processes_under(state) == []


def ask_as_in_the_readme(state: Path) -> list[dict[str, Any]]:
    """What the commands of its section Serve print: a prediction of a good and a pitted part."""
    section = README.read_text(encoding="utf-8").partition("\n## Serve\n")[2]
    commands = section.split("```\n")[1]
    (port,) = free_ports(1)
    for written, meant in ((".reconad/demo", str(state)), ("5055", str(port))):
        assert written in commands
        commands = commands.replace(written, meant)
    shell = subprocess.Popen(
        ["bash", "-euc", commands],
        cwd=README.parent,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert shell.stdout is not None
    try:
        answers = (line for line in shell.stdout if line.startswith("{"))  # between the server's
        printed = list(islice(answers, 2))
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(30)
    return [row for line in printed for row in json.loads(line)["predictions"]]


@pytest.fixture
def in_the_background() -> Iterator[None]:
    """A process started from here has Ctrl-C ignored at first, as a shell's in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("in_the_background")
def test_ctrl_c_stops_every_server(tmp_path: Path) -> None:
    """Interrupted in the middle, the demo ends without a traceback and leaves no process."""
    state = tmp_path / "state"
    demo = subprocess.Popen(
        [RECONAD, "demo", "--short", "--state", str(state), "--report", str(tmp_path / "report")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    deadline_s = time.monotonic() + 120
    while not (state / "env.sh").exists() and time.monotonic() < deadline_s:
        time.sleep(0.2)

    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=60)

    assert demo.returncode == 130
    assert "Traceback" not in errors
    assert processes_under(state) == []
