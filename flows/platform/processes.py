"""Processes and ports of this machine: find, ask, end."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
from typing import Final

LOOPBACK: Final = "127.0.0.1"
# S3 would wait longer for idle streams; nothing is lost
STOP_TIMEOUT_S: Final = 5


def free_ports(count: int) -> list[int]:
    """Find ports nobody listens on, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]


def answers(url: str) -> bool:
    """Tell whether an address answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  our own http address
            return bool(answer.status == 200)
    except OSError:
        return False


def end_processes(processes: list[subprocess.Popen[bytes]]) -> None:
    """Ask processes and their children to end, then make them."""
    for process in processes:
        _signal_group(process, signal.SIGTERM)
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline_s - time.monotonic()))
        _signal_group(process, signal.SIGKILL)  # it, or what it left behind
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
