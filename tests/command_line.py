"""Runs the command line as a user does, for the tests."""

import os
import subprocess
import sys
from pathlib import Path

RECONAD = str(Path(sys.executable).parent / "reconad")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command with its arguments, in this environment with some variables set."""
    return subprocess.run(
        [RECONAD, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
