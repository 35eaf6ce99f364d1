"""The commands of docs/quick-start.md as they stand there, on a fresh bucket of a new product."""

import os
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from flows.platform.servers import EmbeddedPlatform, running_platform, s3_client
from tests.doc_pages import blocks
from tests.factory import BUCKET, Factory
from tests.receivers import Received, receivers

NIGHTS = [date(2026, 5, day) for day in (1, 2, 3)]
SLACK = "https://hooks.slack.com/services/YOUR/OWN/ONE"
PATIENCE_S = 840


@pytest.fixture(scope="module")
def own_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPlatform]:
    """Servers that nobody has used."""
    with running_platform(tmp_path_factory.mktemp("fresh") / "state", BUCKET) as running:
        yield running


@pytest.fixture(scope="module")
def received() -> Iterator[Received]:
    with receivers() as running:
        yield running


def commands(received: Received) -> str:
    """The page's commands but the first block, which holds a reader's own addresses. Steps, not
    seconds: the gate refuses a first version by chance in 1% of cases, and those are not to differ
    from run to run."""
    text = "".join(blocks("quick-start.md")[1:])
    assert SLACK in text
    return text.replace(SLACK, f"{received.web}/shift").replace("budget_s = 60", "steps = 120")


def test_the_page_leads_to_a_version_and_a_message(
    own_platform: EmbeddedPlatform, received: Received, tmp_path: Path
) -> None:
    """Each command ends well, the doctor finds nothing wrong, version 1 serves, and the worker has
    sent the message about it."""
    factory = Factory("gear", s3_client(own_platform.environment), tmp_path)
    for night in NIGHTS:
        factory.deliver(night, 30)
    environment = {**os.environ, **own_platform.environment}
    for name in ("RECONAD_CONFIG", "RECONAD_HOME"):  # a reader has neither
        environment.pop(name, None)
    waiting = (
        "for attempt in $(seq 90); do prefect flow-run ls --flow-name send-messages --state-type "
        "COMPLETED 2>/dev/null | grep -q send-messages && break; sleep 2; done\n"
    )

    ended = subprocess.run(
        ["bash", "-euc", f"trap 'kill -KILL %1' EXIT\n{commands(received)}\n{waiting}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )

    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said[-4000:]
    assert "action       trained, promoted 1" in said
    assert "WRONG" not in said
    assert "reconad-gear: version 1 is the champion" in said
    (message,) = received.at("/shift")
    assert message["text"].startswith("*gear 2026-05-03: version 1 serves*")
    assert "|Look>" in message["text"]
    assert "|Picture>" in message["text"]
