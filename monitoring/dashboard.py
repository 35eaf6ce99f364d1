"""The dashboard of a product: one Evidently project, one run a night."""

from typing import Final

from evidently.core.report import Snapshot
from evidently.sdk.models import PanelMetric
from evidently.sdk.panels import bar_plot_panel, counter_panel, line_plot_panel, text_panel
from evidently.ui.workspace import Project, RemoteWorkspace, Workspace, WorkspaceBase

from monitoring.report import TAIL, lean

_TAB: Final = "Nights"

COUNTERS: Final = (
    ("Alarm tonight", "alarm"),
    ("Model version", "model_version"),
    ("Images above the threshold, share", "share_above_threshold"),
    ("Suspects, share", "share_suspect"),
)
SCORES: Final = ("pred_score", "matched_score", "image_threshold")
LINES: Final = (
    (
        "Images that stand out",
        "Share above the threshold; share that is so with the light matched (suspects)",
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
)


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
    panels = [
        text_panel(
            title="Is tonight fine?",
            description="Alarm is 0 on an ordinary night and 1 when a person should look; the "
            "bars name its cause. An alarm about light leads to fine-tuning; one about defects "
            "never does.",
        ),
        *(counter_panel(title, [_mean(column)], size="half") for title, column in COUNTERS),
        bar_plot_panel(
            "Alarms and their cause",
            [_mean(column) for column in ("alarm_light", "alarm_defects", "alarm_other")],
            description="0: ordinary night, 1: alarm",
            size="full",
            stacked=True,
        ),
        line_plot_panel(
            "Scores",
            [*(_mean(column) for column in SCORES), _score_tail()],
            description="Mean a night, its upper tail, and the threshold",
            size="half",
        ),
        *(
            line_plot_panel(title, [_mean(column) for column in columns], about, size="half")
            for title, about, columns in LINES
        ),
        line_plot_panel(
            "Images a night", [PanelMetric(legend="images", metric="RowCount")], size="half"
        ),
    ]
    for panel in panels:
        project.dashboard.add_panel(panel, tab=_TAB)


def _mean(column: str) -> PanelMetric:
    return PanelMetric(legend=column, metric="MeanValue", metric_labels={"column": column})


def _score_tail() -> PanelMetric:
    labels = {"column": "pred_score", "quantile": str(TAIL)}
    return PanelMetric(
        legend=f"pred_score, {TAIL:.0%}", metric="QuantileValue", metric_labels=labels
    )
