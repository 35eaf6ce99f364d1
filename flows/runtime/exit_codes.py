"""How commands end: 0 done, 2 wrong input with one clear line, 1 our own failure.

3 is the answer no, where that is what was asked: a version, trained again, is another one.
"""

import logging
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper

from reconad_plugin.errors import (
    DISK_ERRORS,
    NotReproducedError,
    PlatformError,
    ReconadError,
    StorageUnreachableError,
    TrainingDivergedError,
)
from reconad_plugin.images.names import printable

_AUTHORISE = "set PREFECT_API_KEY, or PREFECT_API_AUTH_STRING as the server has it"
_PREFECT_ADVICE = {
    401: _AUTHORISE,
    403: _AUTHORISE,
    404: "no Prefect is at this address: correct PREFECT_API_URL, which ends with /api",
}
# what the extra `night` brings and serving does without
OF_THE_NIGHT = {
    "evidently", "matplotlib", "prefect", "sklearn", "sqlalchemy", "torch", "torchvision",
}  # fmt: skip
OUR_OWN = (PlatformError, StorageUnreachableError, TrainingDivergedError)


def run_command(command: Callable[[], object]) -> int:
    """Run a command and turn its end into an exit code."""
    logging.getLogger("prefect.task_runs").setLevel(logging.CRITICAL)  # we say it once, below
    if logging.lastResort is not None:  # what is logged where nobody has set up any logging
        logging.lastResort.setFormatter(logging.Formatter("reconad: %(message)s"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # any name can be shown, whatever the terminal knows
            stream.reconfigure(errors="backslashreplace")
    try:
        command()
    except ReconadError as error:
        print(f"reconad: {printable(str(error))}", file=sys.stderr)
        if isinstance(error, NotReproducedError):
            return 3
        return 1 if isinstance(error, OUR_OWN) else 2
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.filename is None and error.errno not in DISK_ERRORS:
            raise
        where = "the disk" if error.filename is None else printable(os.fsdecode(error.filename))
        why = f"{where}: {error.strerror}"
        print(f"reconad: files must be there, and folders open to reconad; {why}", file=sys.stderr)
        return 1 if error.errno in DISK_ERRORS else 2
    except KeyboardInterrupt:
        print("reconad: stopped", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        if (package := (error.name or "").partition(".")[0]) not in OF_THE_NIGHT:
            raise
        print(
            f"reconad: this command needs {package}, which serving does without and so is not "
            "installed: pip install 'reconad[night]'",
            file=sys.stderr,
        )
        return 2
    except Exception as error:
        if (said := explain_outage(error)) is None:
            raise
        print(f"reconad: {said}", file=sys.stderr)
        return 1
    return 0


def explain_outage(error: Exception) -> str | None:
    """Say what to do about a server that does not answer or refuses; None for anything else."""
    if type(error).__module__.startswith("mlflow."):  # it is slow to import, so not before
        from mlflow_models.server import outage

        if (down := outage(error)) is not None:
            return str(down)
    return _prefect_outage(error) if "prefect" in sys.modules else None


def _prefect_outage(error: BaseException | None) -> str | None:
    """Say the same of Prefect, whose client raises errors of httpx or others because of them."""
    import httpx

    while error is not None and not isinstance(error, httpx.HTTPError):
        error = error.__cause__ or error.__context__
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        advice = _PREFECT_ADVICE.get(status, "see the server's log")
        return f"Prefect at {error.request.url.host} refuses with {status}: {advice}"
    if isinstance(error, httpx.HTTPError):
        return "Prefect does not answer: start it, or correct PREFECT_API_URL, and run this again"
    return None
