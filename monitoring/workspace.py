"""Where Evidently keeps its projects: a folder, or a server at an address."""

from collections.abc import Collection
from typing import TypeAlias
from uuid import uuid5

from evidently.core.report import Snapshot
from evidently.ui.storage.local.base import LocalState
from evidently.ui.workspace import Project, RemoteWorkspace, Workspace

from monitoring.report import lean


class FolderWorkspace(Workspace):
    """A workspace in a folder that leaves its runs unread.

    Evidently's own reads every run of every project when it is opened, which takes longer with
    each night. Here a run's id follows from its night, so that it is found, and replaced, without
    a look at any other.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.state = LocalState(path)
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
