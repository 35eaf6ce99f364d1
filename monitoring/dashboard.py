"""The dashboard of a product: one Evidently project, one run a night."""

from typing import Final

from evidently.core.report import Snapshot
from evidently.sdk.models import PanelMetric
from evidently.sdk.panels import counter_panel, line_plot_panel, text_panel
from evidently.ui.workspace import Project, RemoteWorkspace, Workspace, WorkspaceBase

from monitoring.report import TAIL, lean

_TAB: Final = "Nights"


def open_workspace(location: str) -> WorkspaceBase:
    """A folder's workspace, or the one of an Evidently server at an http address."""
    if location.startswith(("http://", "https://")):
        return RemoteWorkspace(location)
    return Workspace.create(location)


def add_night(workspace: WorkspaceBase, product: str, snapshot: Snapshot) -> None:
    """Put a night's run on the product's dashboard; a replayed night replaces its run."""
    project = _project(workspace, product)
    name = snapshot.get_name()
    for run_id in workspace.list_runs(project.id):
        run = workspace.get_run(project.id, run_id)
        if run is not None and run.name == name:
            workspace.delete_run(project.id, run_id)
    workspace.add_run(project.id, lean(snapshot))


def _project(workspace: WorkspaceBase, product: str) -> Project:
    found = workspace.search_project(product)
    if found:
        return found[0]
    project = workspace.create_project(product, "Every night's scores, light and alarms.")
    _add_panels(project)
    return project


def _add_panels(project: Project) -> None:
    add = project.dashboard.add_panel
    add(
        text_panel(
            title="Is tonight fine?",
            description="Alarm is 0 on an ordinary night and 1 when a person should look; its "
            "cause is the line that rises with it. An alarm about light leads to fine-tuning; "
            "one about defects never does.",
        ),
        tab=_TAB,
    )
    for title, column in (
        ("Alarm tonight", "alarm"),
        ("Images above the threshold, share", "share_above_threshold"),
        ("Model version", "model_version"),
    ):
        add(counter_panel(title, [_mean(column)], size="half"), tab=_TAB)
    for title, description, columns in (
        (
            "Alarms and their cause",
            "0: ordinary, 1: alarm",
            ("alarm_light", "alarm_defects", "alarm_other"),
        ),
        (
            "Scores",
            "Mean a night, and the threshold",
            ("pred_score", "matched_score", "image_threshold"),
        ),
        (
            "Images that stand out",
            "Share above the threshold; share that does so with the light matched (suspects)",
            ("share_above_threshold", "share_suspect"),
        ),
        ("Light: luminance and contrast", "In [0, 1]", ("luminance", "contrast")),
        (
            "Light: colour balance",
            "Log ratio to green",
            ("red_green_balance", "blue_green_balance"),
        ),
        ("Light: clipped pixels", "Share of the picture", ("clipped_share",)),
        ("Camera: sharpness", "Log; falls out of focus", ("sharpness",)),
        ("Model version in service", "Steps up when a challenger is promoted", ("model_version",)),
    ):
        values = [_mean(column) for column in columns]
        if "pred_score" in columns:
            values.append(
                PanelMetric(
                    legend="pred_score, 95 %",
                    metric="QuantileValue",
                    metric_labels={"column": "pred_score", "quantile": str(TAIL)},
                )
            )
        add(line_plot_panel(title, values, description=description, size="half"), tab=_TAB)
    add(
        line_plot_panel(
            "Images a night", [PanelMetric(legend="images", metric="RowCount")], size="full"
        ),
        tab=_TAB,
    )


def _mean(column: str) -> PanelMetric:
    return PanelMetric(legend=column, metric="MeanValue", metric_labels={"column": column})
