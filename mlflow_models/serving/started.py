"""How this process came to serve: by which command line, and with how many workers."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psutil

_MOST_ANCESTORS: Final = (
    6  # mlflow > shell > uvicorn > worker, and what an environment puts between
)
_SERVER: Final = "mlflow.pyfunc.scoring_server.app"


@dataclass(frozen=True)
class Started:
    """What the processes above this one tell."""

    command_line: tuple[str, ...]  # of `mlflow models serve`; empty where another way led here
    workers: int
    supervisor: int  # id of the process that all workers share


def how_started() -> Started:
    """Read it off the command lines of this process and of those that started it."""
    try:
        own = psutil.Process()
        lines = [(each.pid, each.cmdline()) for each in (own, *own.parents()[:_MOST_ANCESTORS])]
    except psutil.Error:  # one ended meanwhile, or is another user's
        lines = []
    return read_command_lines(lines)


def read_command_lines(lines: Sequence[tuple[int, Sequence[str]]]) -> Started:
    """Read command lines, this process's own first, each with its process id.

    Example:
        >>> mlflow = "python mlflow models serve -m models:/reconad-gear@champion -w 2".split()
        >>> uvicorn = "python uvicorn --workers 2 mlflow.pyfunc.scoring_server.app:app".split()
        >>> started = read_command_lines([(12, ["python"]), (11, uvicorn), (10, mlflow)])
        >>> started.workers, started.supervisor, started.command_line[-3]
        (2, 11, 'models:/reconad-gear@champion')
    """
    workers, supervisor = 1, os.getpid()
    found: tuple[str, ...] = ()
    for process, line in lines:
        if any(text.startswith(_SERVER) for text in line):
            workers, supervisor = _workers_of(line), process
        if "serve" in line and "models" in line:
            found = tuple(line)
            break
    return Started(found, workers, supervisor)


def _workers_of(line: Sequence[str]) -> int:
    try:
        return int(line[line.index("--workers") + 1])
    except (ValueError, IndexError):
        return 1
