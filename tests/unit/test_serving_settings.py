"""What a server is told by its environment and by the command line that started it."""

import pytest

from mlflow_models.serving.settings import read_settings
from mlflow_models.serving.started import read_command_lines
from reconad_plugin.errors import ConfigError

TOKEN = "a-token-of-ours"
SERVER = "mlflow.pyfunc.scoring_server.app"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        pytest.param({"RECONAD_MAX_ROWS": "many"}, "RECONAD_MAX_ROWS is wrong", id="no number"),
        pytest.param({"RECONAD_TOKEN": "short"}, "RECONAD_TOKEN is wrong", id="short token"),
        pytest.param({"RECONAD_TOKEN": "pass phrase"}, "RECONAD_TOKEN is wrong", id="two words"),
        pytest.param({"RECONAD_FOLLOW": "a b"}, "RECONAD_FOLLOW is wrong", id="no alias"),
    ],
)
def test_wrong_variables_stop_the_start(variables, sentence):
    """The variable is named, and its value is not shown."""
    with pytest.raises(ConfigError, match=sentence) as refused:
        read_settings(variables)
    assert not any(value in str(refused.value) for value in variables.values())


def test_a_variable_from_a_file_may_end_in_a_new_line():
    """Secrets often do."""
    assert read_settings({"RECONAD_TOKEN": f"{TOKEN}\n"}).token.get_secret_value() == TOKEN


def test_workers_share_the_cores_and_what_they_count():
    """Their supervisor is uvicorn's process; alone a server is its own."""
    uvicorn = ["python", "uvicorn", "--workers", "4", f"{SERVER}:app"]
    serve = ["python", "mlflow", "models", "serve", "-m", "models:/m@champion"]

    many = read_command_lines([(12, ["python", "-c", "spawn"]), (11, uvicorn), (10, serve)])
    one = read_command_lines([(7, ["python", "uvicorn", f"{SERVER}:app"]), (6, ["bash"])])

    assert (many.workers, many.supervisor, many.command_line) == (4, 11, tuple(serve))
    assert (one.workers, one.supervisor, one.command_line) == (1, 7, ())
