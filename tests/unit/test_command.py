"""How commands end."""

import errno

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES

from flows.platform.servers import free_ports
from flows.runtime.exit_codes import run_command
from mlflow_models.flavor import load_model
from reconad_plugin.errors import ConfigError, PlatformError

NO_MLFLOW = (
    "reconad: MLflow must answer at 127.0.0.1; it does not: start it, or correct "
    "MLFLOW_TRACKING_URI, and run this again"
)


def without_mlflow(ask):
    """A command with a call that MLflow does not answer."""

    def command():
        (port,) = free_ports(1)
        mlflow.set_tracking_uri(f"http://me:secret@127.0.0.1:{port}")
        ask()

    return command


def fail_with(error):
    """A command that does nothing else."""

    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        pytest.param(lambda: None, 0, "", id="done"),
        pytest.param(fail_with(ConfigError("a rule")), 2, "reconad: a rule", id="wrong input"),
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
            fail_with(RuntimeError("Failed to reach API at http://127.0.0.1:1/api/")),
            1,
            "reconad: Prefect does not answer: Failed to reach API at http://127.0.0.1:1/api/: "
            "check PREFECT_API_URL",
            id="no Prefect",
        ),
        pytest.param(
            without_mlflow(lambda: MlflowClient().get_run("1")),
            1,
            NO_MLFLOW,
            id="no MLflow, as in the middle of a training",
        ),
        pytest.param(
            without_mlflow(lambda: load_model("models:/reconad-screw/1")),
            1,
            NO_MLFLOW,
            id="no MLflow for a version",
        ),
    ],
)
def test_a_command_ends_with_a_code_and_a_line(command, code, said, capsys, monkeypatch):
    """What a person can mend is one line, without passwords."""
    monkeypatch.setenv(MLFLOW_HTTP_REQUEST_MAX_RETRIES.name, "0")
    address = mlflow.get_tracking_uri()

    try:
        assert run_command(command) == code
    finally:
        mlflow.set_tracking_uri(address)
    assert capsys.readouterr().err.strip() == said


def test_any_other_failure_is_shown_whole():
    """A mistake of ours is not hidden."""
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 / 0)
