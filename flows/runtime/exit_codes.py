"""How commands end: 0 done, 2 wrong input with one clear line, 1 our own failure."""

import logging
import os
import sys
from collections.abc import Callable

from reconad_plugin.errors import (
    PlatformError,
    ReconadError,
    StorageUnreachableError,
    TrainingDivergedError,
)

OUR_OWN = (PlatformError, StorageUnreachableError, TrainingDivergedError)


def run_command(command: Callable[[], object]) -> int:
    """Run a command and turn its end into an exit code."""
    logging.getLogger("prefect.task_runs").setLevel(logging.CRITICAL)  # we say it once, below
    try:
        command()
    except ReconadError as error:
        print(f"reconad: {error}", file=sys.stderr)
        return 1 if isinstance(error, OUR_OWN) else 2
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("reconad: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        if (said := _outage(error)) is None:
            raise
        print(f"reconad: {said}", file=sys.stderr)
        return 1
    return 0


def _outage(error: Exception) -> str | None:
    """Say what to do about a server that stopped answering; None for anything else."""
    message = str(error)
    if "Failed to reach API" in message:
        return f"Prefect does not answer: {message}: check PREFECT_API_URL"
    if message.startswith("API request to "):  # MLflow's; it is slow to import, so not before
        from mlflow_models.server import outage

        down = outage(error)
        return None if down is None else str(down)
    return None
