"""A training by hand that is killed."""

import signal
import subprocess
import time
from pathlib import Path

from tests.command_line import RECONAD, run
from tests.integration.test_by_hand import picture, read, save


def wait_for_checkpoint(desk: Path) -> Path:
    """The file that holds the state of the training, as soon as it is there."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        for file in (desk / ".reconad" / "checkpoints").glob("*/*/training.safetensors"):
            return file
        time.sleep(0.05)
    raise AssertionError("no checkpoint was written")


def test_a_killed_training_goes_on_where_it_was(desk: Path) -> None:
    """kill -9 in mid-training, the same command again: it takes up the checkpoint's step."""
    for seed in range(20):
        save(desk / "parts" / "train" / "good" / f"{seed:02}.png", picture(seed))
    arguments = ["train", "--data", "parts", "--model", "ae", "--image-size", "32"]
    arguments += ["--product", "killed", "--budget", "9s", "--json", "killed.json"]
    with subprocess.Popen([RECONAD, *arguments], cwd=desk) as process:
        checkpoint = wait_for_checkpoint(desk)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL

    ended = run(*arguments)

    assert ended.returncode == 0, ended.stderr
    report = read(desk, "killed.json")
    assert 0 < report["resumed_step"] < report["steps"]
    assert not checkpoint.exists()  # nothing is left of a training whose version is registered
