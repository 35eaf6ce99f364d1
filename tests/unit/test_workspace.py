"""The folder of Evidently's projects beside a server that watches it, and beside a kill."""

import time
from uuid import uuid4

import pytest
from evidently.sdk.models import ProjectModel
from evidently.ui.service.storage.local import create_local_project_manager
from evidently.ui.service.storage.local.base import LocalState as ServersState

import monitoring.workspace
from monitoring.workspace import find_project, make_project, open_workspace


def test_a_server_that_watches_sees_every_new_project(tmp_path, monkeypatch):
    """Its watcher reads a file as soon as it is there, and ends for good on a half one."""
    state = ServersState.load(str(tmp_path), None)
    create_local_project_manager(str(tmp_path), autorefresh=True, state=state)
    workspace = open_workspace(str(tmp_path))
    content = ProjectModel.dict

    def take_long(project, *arguments, **options):
        time.sleep(0.3)
        return content(project, *arguments, **options)

    monkeypatch.setattr(ProjectModel, "dict", take_long)
    made = {make_project(workspace, name, "").id for name in ("screw", "gear")}

    deadline_s = time.monotonic() + 10
    while set(state.projects) != made:
        assert time.monotonic() < deadline_s, f"{len(state.projects)} of 2 are seen"
        time.sleep(0.05)
    assert sorted(path.name for path in tmp_path.rglob("*.json*")) == ["metadata.json"] * 2


def test_two_nights_that_begin_at_once_begin_one_project(tmp_path):
    """The second finds the first's; what the first wrote of itself stays."""
    first, second = open_workspace(str(tmp_path)), open_workspace(str(tmp_path))

    ids = {
        make_project(each, "all products", said).id for each, said in ((first, "a"), (second, "b"))
    }

    assert len(ids) == 1
    assert find_project(second, "all products").description == "a"


def test_a_disk_without_links_keeps_projects_too(tmp_path, monkeypatch):
    def no_links(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(monitoring.workspace.os, "link", no_links)
    make_project(open_workspace(str(tmp_path)), "screw", "")

    assert find_project(open_workspace(str(tmp_path)), "screw") is not None


@pytest.mark.parametrize("left", [(), ("dashboard.json",)])
def test_a_folder_that_was_left_half_made_stops_no_other(tmp_path, left):
    """A night that was killed there leaves a folder without its project."""
    folder = tmp_path / str(uuid4())
    folder.mkdir()
    for name in left:
        (folder / name).touch()
    workspace = open_workspace(str(tmp_path))

    make_project(workspace, "screw", "")

    assert find_project(workspace, "screw") is not None
