"""What the workers of a server share: a private folder, with the version that was taken up last."""

import os
import tempfile

import pytest

from mlflow_models.serving.shared_folder import (
    keep_version,
    kept_threshold,
    kept_version,
    open_shared_folder,
)
from reconad_plugin.errors import PlatformError


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A temporary folder of its own; where the servers of this user have theirs."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"reconad-serving-{os.getuid()}"


def test_workers_of_a_server_share_it_and_nobody_else_enters(place):
    """It is the same for all of them; folders of servers that have ended go."""
    first = open_shared_folder(os.getpid())
    left = place / "1-0.00"
    left.mkdir()

    assert open_shared_folder(os.getpid()) == first
    assert place.stat().st_mode & 0o077 == 0
    assert not left.exists()
    assert first.is_dir()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda place: place.mkdir(mode=0o777) or place.chmod(0o777), id="open to all"),
        pytest.param(lambda place: place.symlink_to(place.parent), id="a link"),
        pytest.param(lambda place: place.write_text(""), id="a file"),
    ],
)
def test_what_others_may_enter_is_not_taken(place, make):
    """Whoever made it could read and change what the workers write."""
    make(place)

    with pytest.raises(PlatformError, match="must be a folder of this user that nobody else may"):
        open_shared_folder(os.getpid())


def test_a_worker_that_starts_later_finds_the_version_that_was_taken_up_last(tmp_path):
    """It and the one before it are kept; none is there at first."""
    assert kept_version(tmp_path) is None
    for number in ("2", "3", "2", "4"):
        model = tmp_path / f"download of {number}"
        model.mkdir(exist_ok=True)
        (model / "MLmodel").write_text(number)

        keep_version(tmp_path, model, number, None)

        assert (kept_version(tmp_path) / "MLmodel").read_text() == number
    assert sorted(path.name for path in tmp_path.glob("version-*")) == ["version-2", "version-4"]


def test_a_threshold_is_kept_with_its_version(tmp_path):
    """A worker that starts later, and cannot ask the registry, is held against the same one."""
    assert kept_threshold(tmp_path, "3") is None
    keep_version(tmp_path, None, "3", 0.7)

    assert (kept_threshold(tmp_path, "3"), kept_threshold(tmp_path, "2")) == (0.7, None)
    keep_version(tmp_path, None, "3", None)
    assert kept_threshold(tmp_path, "3") is None
