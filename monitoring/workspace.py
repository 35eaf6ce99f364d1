"""Where Evidently keeps its projects: a folder, or a server at an address."""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeAlias
from uuid import UUID, uuid4, uuid5

from evidently.core.report import Snapshot
from evidently.legacy.utils import NumpyEncoder
from evidently.sdk.models import DashboardModel, ProjectModel
from evidently.ui.storage.local.base import LocalState
from evidently.ui.workspace import Project, RemoteWorkspace, Workspace

from monitoring.report import lean

_OURS = UUID("6e1f6d0c-5a0e-4f4e-9d0f-0b6c1b0f7a52")  # what the ids of our projects follow from


class WholeFiles(LocalState):
    """Evidently's files, with projects and dashboards that are there whole or not at all.

    A server that watches the folder reads a project's file the moment its name is there. On a
    half one its watcher ends, and the server sees no further night until it is started anew.
    """

    def write_project(self, project: ProjectModel) -> ProjectModel:
        """Put a new project there; one that is there stays, and is what comes back.

        A link makes the name appear with its content, and tells the watcher of a new file;
        a rename would tell it of another name.
        """
        self.location.makedirs(self._project_dir(project.id))
        path = Path(self.path, self._project_path(project.id))
        written = self._write_beside(path, project.dict())
        try:
            os.link(written, path)
        except FileExistsError:
            return self.read_project(project.id)
        except OSError:  # a disk that knows no links
            written.replace(path)
        finally:
            written.unlink(missing_ok=True)
        return project

    def list_projects(self) -> list[UUID]:
        """List the projects; a folder that was left before its project was written is none."""
        return [
            project
            for project in super().list_projects()
            if self.location.exists(self._project_path(project))
        ]

    def write_dashboard(self, project_id: str | UUID, dashboard: DashboardModel) -> None:
        """Put a dashboard there in place of the one before."""
        path = Path(self.path, self._dashboard_path(project_id))
        self._write_beside(path, dashboard.dict()).replace(path)

    def _write_beside(self, path: Path, content: Mapping[str, object]) -> Path:
        written = path.with_name(f".{path.name}.{uuid4()}")
        written.write_text(json.dumps(content, cls=NumpyEncoder, indent=2), encoding="utf-8")
        return written


class FolderWorkspace(Workspace):
    """A workspace in a folder that leaves its runs unread.

    Evidently's own reads every run of every project when it is opened, which takes longer with
    each night. Here a run's id follows from its night, so that it is found, and replaced, without
    a look at any other.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.state = WholeFiles(path)
        self.state.location.makedirs("")


AnyWorkspace: TypeAlias = "FolderWorkspace | RemoteWorkspace"


def open_workspace(location: str) -> AnyWorkspace:
    """Open a folder's workspace, or the one of an Evidently server at an http address."""
    if location.startswith(("http://", "https://")):
        server: AnyWorkspace = RemoteWorkspace(location)
        return server
    return FolderWorkspace(location)


def find_project(workspace: AnyWorkspace, name: str) -> Project | None:
    """Find a project by its name; None where there is none."""
    found = workspace.search_project(name)
    return found[0] if found else None


def make_project(workspace: AnyWorkspace, name: str, description: str) -> Project:
    """Make a project. Its id follows from its name, so that two nights that begin a folder's
    project at once begin the same one."""
    project = ProjectModel(id=uuid5(_OURS, name), name=name, description=description)
    return workspace.add_project(project)


def put_run(workspace: AnyWorkspace, project: Project, name: str, snapshot: Snapshot) -> None:
    """Put a run of this name into a project, in place of the one before; its drawings go."""
    lean(snapshot)
    if isinstance(workspace, FolderWorkspace):
        content = snapshot.to_snapshot_model()
        workspace.state.write_snapshot(project.id, uuid5(project.id, name), content)
        return
    for run_id, known in _server_runs(workspace, project).items():
        if known == name:
            _delete_server_run(workspace, project, run_id)
    workspace.add_run(project.id, snapshot)


def keep_runs(workspace: AnyWorkspace, project: Project, names: Collection[str]) -> None:
    """Remove all runs of a project but those with these names."""
    if isinstance(workspace, FolderWorkspace):
        kept = {uuid5(project.id, name) for name in names}
        for run_id in workspace.list_runs(project.id):
            if run_id not in kept:
                workspace.delete_run(project.id, run_id)
        return
    for run_id, known in _server_runs(workspace, project).items():
        if known not in names:
            _delete_server_run(workspace, project, run_id)


def _server_runs(workspace: RemoteWorkspace, project: Project) -> dict[str, str]:
    """Run id -> name. Evidently's client has no call for it, nor for the next one."""
    answer = workspace._request(f"/api/projects/{project.id}/snapshots", "GET")
    return {run["id"]: run["name"] for run in answer.json()}


def _delete_server_run(workspace: RemoteWorkspace, project: Project, run_id: str) -> None:
    workspace._request(f"/api/projects/{project.id}/{run_id}", "DELETE")
