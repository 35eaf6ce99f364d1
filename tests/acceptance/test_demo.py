"""The demo itself, in its short form, as a person runs it."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import RECONAD


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
    """Train, quiet, light and fine-tuning by the event, defects held; a report; nothing left."""
    state, report = tmp_path / "state", tmp_path / "report"

    ended = subprocess.run(
        [RECONAD, "demo", "--short", "--state", str(state), "--report", str(report)],
        capture_output=True,
        text=True,
        check=False,
        timeout=2000,
    )

    output = ended.stdout + ended.stderr
    assert ended.returncode == 0, output
    assert "Traceback" not in output
    rows = {
        line[:10]: line.rstrip() for line in ended.stdout.splitlines() if re.match(r"20\d\d-", line)
    }
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
    assert "cut-off.jpg" in page
    assert processes_under(state) == []


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
