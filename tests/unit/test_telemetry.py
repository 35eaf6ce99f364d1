"""Reporting is switched off, unless the owner of the servers decided otherwise."""

import json
import os
import subprocess
import sys

import pytest

NAMES = ("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY", "PREFECT_SERVER_ANALYTICS_ENABLED")
SHOW = (
    "import json, os, reconad_plugin.telemetry;"
    f"print(json.dumps({{name: os.environ.get(name) for name in {NAMES!r}}}))"
)


def environment_after_import(**chosen):
    """The three variables in a new interpreter that imported the module."""
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    answer = subprocess.run(
        [sys.executable, "-c", SHOW], env=clean | chosen, capture_output=True, check=True, text=True
    )
    return json.loads(answer.stdout)


def test_import_switches_reporting_off():
    """Whoever sets nothing reports nothing."""
    assert environment_after_import() == {
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("DO_NOT_TRACK", "false", id="all may report"),
        pytest.param("DO_NOT_TRACK", "", id="empty is a choice too"),
        pytest.param("MLFLOW_DISABLE_TELEMETRY", "false", id="MLflow may"),
        pytest.param("PREFECT_SERVER_ANALYTICS_ENABLED", "true", id="Prefect may"),
    ],
)
def test_what_the_owner_set_stays(name, value):
    """A variable that is set already keeps its value, and the others are switched off."""
    found = environment_after_import(**{name: value})

    assert found == environment_after_import() | {name: value}


def test_the_reporter_of_openvino_is_never_loaded():
    """What converts and narrows graphs goes without it; it knows no variable."""
    code = (
        "import reconad_plugin.telemetry, sys, openvino.tools.ovc.telemetry_utils as ovc;"
        "print(sys.modules['openvino_telemetry'], ovc.tm.__name__)"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )

    assert answer.stdout.split() == ["None", "openvino.tools.ovc.telemetry_stub"]
