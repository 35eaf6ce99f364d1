"""What ``--json FILE`` is told before the work, and after it."""

import json

import pytest

from flows.commands.json_file import check_writable, write_json
from reconad_plugin.errors import ConfigError


def test_a_file_that_can_be_written_is_written(tmp_path):
    """One object; without a file there is nothing to do."""
    file = tmp_path / "out.json"

    check_writable(file)
    write_json({"steps": 3}, file)
    check_writable(None)
    write_json({"steps": 4}, None)

    assert json.loads(file.read_text()) == {"steps": 3}
    check_writable(file)  # it may be written again


@pytest.mark.parametrize("name", ["missing/out.json", "."])
def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path, name):
    """A folder that is not there, and a folder in place of a file."""
    with pytest.raises(ConfigError, match="--json must be a file in a folder that is there"):
        check_writable(tmp_path / name)


def test_a_folder_that_went_away_meanwhile_is_one_line(tmp_path):
    """The work is done by then, and the message says so."""
    with pytest.raises(ConfigError, match="All else is done"):
        write_json({}, tmp_path / "gone" / "out.json")
