"""How commands end: 0 done, 2 wrong input with one clear line, 1 our own failure."""

import logging
import os
import sys
from collections.abc import Callable

from reconad_plugin.errors import PlatformError, ReconadError, TrainingDivergedError

OUR_OWN = (PlatformError, TrainingDivergedError)


def run_command(command: Callable[[], object]) -> int:
    """Run a command and turn its end into an exit code."""
    logging.getLogger("prefect.task_runs").setLevel(logging.CRITICAL)  # we say it once, below
    try:
        command()
    except ReconadError as error:
        print(f"reconad: {error}", file=sys.stderr)
        return 1 if isinstance(error, OUR_OWN) else 2
    except RuntimeError as error:
        if "Failed to reach API" not in str(error):
            raise
        print(f"reconad: Prefect does not answer: {error}: check PREFECT_API_URL", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("reconad: stopped", file=sys.stderr)
        return 130
    return 0
