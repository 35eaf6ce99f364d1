"""How commands end."""

import errno
import logging

import httpx
import prefect  # noqa: F401  the client of its servers
import pytest
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES

from flows.platform.servers import free_ports
from flows.runtime.exit_codes import run_command
from mlflow_models.flavor import load_model
from reconad_plugin.errors import ConfigError, NotReproducedError, PlatformError
from reconad_plugin.images.names import pass_over

NO_MLFLOW = (
    "reconad: MLflow must answer at 127.0.0.1; it does not: start it, or correct "
    "MLFLOW_TRACKING_URI, and run this again"
)


def fail_with(error):
    """A command that does nothing else."""

    def command():
        raise error

    return command


def refused(status):
    """What Prefect's client raises for a status."""
    request = httpx.Request("GET", "http://me:secret@prefect:4200/api/health")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status))


def without_prefect(reason):
    """A command that Prefect's client gives up for a reason."""

    def command():
        raise RuntimeError("Failed to reach API at http://me:secret@prefect:4200/api/") from reason

    return command


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        pytest.param(lambda: None, 0, "", id="done"),
        pytest.param(fail_with(ConfigError("a rule")), 2, "reconad: a rule", id="wrong input"),
        pytest.param(fail_with(NotReproducedError("no")), 3, "reconad: no", id="the answer no"),
        pytest.param(fail_with(PlatformError("a rule")), 1, "reconad: a rule", id="platform"),
        pytest.param(
            fail_with(ConfigError("a \nrule of \udce9")),
            2,
            r"reconad: a \nrule of \xe9",
            id="a name of several lines, and one that is no text",
        ),
        pytest.param(
            fail_with(PermissionError(errno.EACCES, "Permission denied", ".reconad/cache")),
            2,
            "reconad: files must be there, and folders open to reconad; .reconad/cache: "
            "Permission denied",
            id="a folder that may not be written",
        ),
        pytest.param(
            fail_with(OSError(errno.ENOSPC, "No space left on device")),
            1,
            "reconad: files must be there, and folders open to reconad; the disk: No space left on "
            "device",
            id="a full disk",
        ),
        pytest.param(fail_with(KeyboardInterrupt()), 130, "reconad: stopped", id="stopped"),
        pytest.param(
            without_prefect(httpx.ConnectError("refused")),
            1,
            "reconad: Prefect does not answer: start it, or correct PREFECT_API_URL, and run this "
            "again",
            id="no Prefect",
        ),
        pytest.param(
            without_prefect(refused(401)),
            1,
            "reconad: Prefect at prefect refuses with 401: set PREFECT_API_KEY, or "
            "PREFECT_API_AUTH_STRING as the server has it",
            id="Prefect asks who it is",
        ),
        pytest.param(
            without_prefect(refused(404)),
            1,
            "reconad: Prefect at prefect refuses with 404: no Prefect is at this address: correct "
            "PREFECT_API_URL, which ends with /api",
            id="another server in Prefect's place",
        ),
        pytest.param(
            lambda: MlflowClient().get_run("1"),
            1,
            NO_MLFLOW,
            id="no MLflow, as in the middle of a training",
        ),
        pytest.param(
            lambda: load_model("models:/reconad-screw/1"),
            1,
            NO_MLFLOW,
            id="no MLflow for a version",
        ),
    ],
)
def test_a_command_ends_with_a_code_and_a_line(command, code, said, capsys, monkeypatch):
    """What a person can mend is one line, without passwords."""
    (port,) = free_ports(1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
    monkeypatch.setenv(MLFLOW_HTTP_REQUEST_MAX_RETRIES.name, "0")

    assert run_command(command) == code
    assert capsys.readouterr().err.strip() == said


def test_what_is_passed_over_is_a_line_of_ours(capsys, monkeypatch):
    """By hand nobody has set up any logging."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])

    run_command(lambda: pass_over("parts/x\n.png", "its link leads to no file"))

    said = capsys.readouterr().err
    assert said == "reconad: parts/x\\n.png is passed over: its link leads to no file\n"


def test_any_other_failure_is_shown_whole():
    """A mistake of ours is not hidden."""
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 / 0)
