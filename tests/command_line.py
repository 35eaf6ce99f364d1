"""Runs the command line for the tests: in this process, or in one of its own as a user does."""

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from flows.commands.cli import main

RECONAD = str(Path(sys.executable).parent / "reconad")


@dataclass(frozen=True)
class Ended:
    """How a command ended in this process; the names are those of a process that has ended."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object, **environment: str) -> Ended:
    """A command with its arguments in this process, with some variables set.

    A process of its own would import for ten seconds each time.
    """
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(StringIO()) as out,
        redirect_stderr(StringIO()) as errors,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as ended:  # of the parser: help, or wrong arguments
            code = int(ended.code or 0)
    return Ended(code, out.getvalue(), errors.getvalue())


def run_process(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command with its arguments as a user types it, with some variables set."""
    return subprocess.run(
        [RECONAD, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
