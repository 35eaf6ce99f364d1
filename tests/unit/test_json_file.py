"""What ``--json FILE`` is told before the work, and after it."""

import json
import os
from pathlib import Path

import pytest

from flows.commands.json_file import check_writable, write_json
from reconad_plugin.errors import ConfigError, PlatformError


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


def test_a_link_to_itself_is_told_before_the_work(tmp_path):
    """It has no end that could be written."""
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)

    with pytest.raises(ConfigError, match="--json must be a file in a folder that is there"):
        check_writable(loop)


@pytest.mark.parametrize("name", ["new.png", "old.JPG", "link.json"])
def test_a_picture_is_never_written_over(tmp_path, name):
    """Nor is a file made that the next command would take for one."""
    (tmp_path / "old.JPG").write_bytes(b"pixels")
    (tmp_path / "link.json").symlink_to("old.JPG")

    with pytest.raises(ConfigError, match=f"none of the pictures; got .*{name}: give another name"):
        check_writable(tmp_path / name)


def test_what_a_picture_is_called_does_not_matter(tmp_path):
    """Scored files may have any name, and one that is not there stands in nobody's way."""
    picture, other = tmp_path / "scan", tmp_path / "out.json"
    picture.write_bytes(b"pixels")
    os.link(picture, tmp_path / "same")
    other.touch()

    check_writable(other, [tmp_path / "gone.png", picture])
    with pytest.raises(ConfigError, match="none of the pictures"):
        check_writable(tmp_path / "same", [tmp_path / "gone.png", picture])


def test_a_full_disk_is_no_wrong_input():
    """The command ends with 1."""
    with pytest.raises(PlatformError, match=r"No space left on device\. All else is done"):
        write_json({}, Path("/dev/full"))
