"""Reporting is switched off, unless the owner of the servers decided otherwise."""

import ast
import json
import os
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

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


@pytest.mark.parametrize(
    "file", ["flows/nightly.py", "flows/messages/send.py", "flows/commands/cli.py"]
)
def test_what_is_started_by_itself_imports_it_before_what_reports(file):
    """Prefect and MLflow read the variables when they are imported."""
    tree = ast.parse((Path(__file__).parents[2] / file).read_text(encoding="utf-8"))
    names = [
        getattr(node, "module", None) or node.names[0].name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]

    assert "reconad_plugin.telemetry" in names
    before = takewhile(lambda name: name != "reconad_plugin.telemetry", names)
    assert {name.partition(".")[0] for name in before} <= sys.stdlib_module_names
