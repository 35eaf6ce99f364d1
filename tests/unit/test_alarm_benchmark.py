"""The simulation of alarm rates that the documentation's figures come from."""

import json
import math
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "alarm_years.py"


def numbers(content):
    """Every number of a JSON value."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        return [number for each in content for number in numbers(each)]
    return [content] if isinstance(content, (int, float)) else []


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_a_few_years_have_every_figure(tmp_path):
    """Each world and shift has its line on the screen and its finite figures in the file."""
    file = tmp_path / "alarms.json"

    ended = subprocess.run(
        [sys.executable, SCRIPT, "--years", "5", "--statistics", "3", "--json", file],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert ended.returncode == 0, ended.stderr
    found = json.loads(file.read_text("utf-8"), parse_constant=refuse)
    assert (found["years"], found["statistics"], found["false_alarms_per_year"]) == (5, 3, 1.0)
    assert all(math.isfinite(number) for number in numbers(found))
    assert len(found["quiet"]) == 4
    for world in found["quiet"]:
        assert 0 <= world["false_alarms"] <= world["alarm_nights"] <= 365
        assert world["name"] in ended.stdout
    assert [(each["when"], each["shift"]) for each in found["shifts"]] == [
        (when, shift) for when in ("late", "early") for shift in (0.25, 0.5, 1.0)
    ]
    large = found["shifts"][2]  # a whole deviation of an image, with everything known
    assert 1 <= large["median_nights"] <= large["nights_of_90_percent"] <= 10
    assert large["missed"] == 0
