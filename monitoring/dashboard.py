"""The dashboard of a product: one Evidently project, one run a night."""

from collections.abc import Collection
from datetime import date
from typing import Final

from evidently.core.report import Snapshot
from evidently.sdk.models import DashboardModel, DashboardPanelPlot, DashboardTabModel, PanelMetric
from evidently.sdk.panels import counter_panel, line_plot_panel, text_panel
from evidently.ui.workspace import Project

from monitoring.report import DRIFT_COLUMNS, TAIL, run_name
from monitoring.workspace import AnyWorkspace, find_project, keep_runs, make_project, put_run
from reconad_plugin.ledger.night_record import NightRecord
from reconad_plugin.watch.cause import CAUSES
from reconad_plugin.watch.explanation import STATISTIC_WORDS, in_sentences

TAB: Final = "Nights"
_NIGHT: Final = "night"  # in plot_params of the first panel: the night that it speaks of


def add_night(
    workspace: AnyWorkspace, product: str, record: NightRecord, snapshot: Snapshot
) -> None:
    """Put a night's run on the product's dashboard; a replayed night replaces its run.

    The product's project is made with its first night. The newest night's record stands in words in
    the first panel. The drawings of the snapshot are dropped.
    """
    project = find_project(workspace, product) or _new_project(workspace, product)
    put_run(workspace, project, run_name(date.fromisoformat(record.night)), snapshot)
    renew_first_panel(workspace, project, tonight(record))


def lay_out(workspace: AnyWorkspace, product: str) -> None:
    """Give the product's dashboard the panels of this reconad, in place of any others."""
    project = find_project(workspace, product)
    if project is None:
        _new_project(workspace, product)
    else:
        workspace.save_dashboard(project.id, in_one_tab(_panels()))


def remove_other_runs(workspace: AnyWorkspace, product: str, nights: Collection[date]) -> None:
    """Remove what is on the product's dashboard besides the runs of these nights."""
    project = find_project(workspace, product)
    if project is not None:
        keep_runs(workspace, project, {run_name(night) for night in nights})


def tonight(record: NightRecord) -> DashboardPanelPlot:
    """Make the first panel: whether the night is fine, since when not, why, and what to do."""
    title, also = f"{record.night}: fine", ""
    if record.is_alarm:
        nights = record.open_nights
        since = "new tonight" if nights == 1 else f"since {record.began} ({nights} nights)"
        title = f"{record.night}: ALARM, {record.cause}, {since}"
        also = f"also seen: {', '.join(record.also)}" if record.also else ""
    version = f"scored by version {record.model_version}"
    return first_panel(record.night, title, in_sentences(record.explanation, also, version))


def first_panel(night: str, title: str, description: str) -> DashboardPanelPlot:
    """Make a panel of words that speaks of a night, ``YYYY-MM-DD``; empty before the first."""
    panel = text_panel(title=title, description=description)
    panel.plot_params[_NIGHT] = night
    return panel


def renew_first_panel(workspace: AnyWorkspace, project: Project, panel: DashboardPanelPlot) -> None:
    """Let the first panel speak of another night, unless it speaks of a later one."""
    dashboard = workspace.get_dashboard(project.id)
    for index, known in enumerate(dashboard.panels):
        if known.plot_params.get(_NIGHT, "9999") <= panel.plot_params[_NIGHT]:
            dashboard.panels[index] = panel.copy(update={"id": known.id})
            workspace.save_dashboard(project.id, dashboard)


def _new_project(workspace: AnyWorkspace, product: str) -> Project:
    project = make_project(workspace, product, "Every night's scores, light, camera and alarms.")
    workspace.save_dashboard(project.id, in_one_tab(_panels()))
    return project


def in_one_tab(panels: list[DashboardPanelPlot]) -> DashboardModel:
    """Lay panels out."""
    tab = DashboardTabModel(title=TAB, panels=[panel.id for panel in panels])
    return DashboardModel(tabs=[tab], panels=panels)


def _panels() -> list[DashboardPanelPlot]:
    """Lines everywhere: a browser draws two years of them in seconds, but of bars, which the page
    animates one by one, in minutes."""
    return [
        first_panel("", "No night yet", "The first night's run fills this in."),
        counter_panel(
            "Tonight",
            [
                night_value("open_nights", "nights the alarm is open"),
                night_value("farthest", "farthest test, 1 is its limit"),
                _share("is_suspect", "share of suspects"),
                _share("pred_label", "share above the threshold"),
                PanelMetric(legend="images", metric="RowCount"),
                night_value("model_version", "model version"),
            ],
        ),
        line_plot_panel(
            "Alarms and their cause",
            [night_value(f"alarm_{cause}", cause) for cause in CAUSES],
            "1 on a night with an alarm of this cause, else 0; of two causes the one named lower "
            "covers the other",
        ),
        _lines(
            "How far out",
            "How far the farthest test is on the way to its limit; above 1 there is an alarm",
            night_value("farthest", "farthest test"),
        ),
        _lines(
            "Scores",
            f"How anomalous the pictures look: the night's mean, its {TAIL:.0%} quantile, and the "
            "threshold above which an image is called anomalous",
            _column("MeanValue", "pred_score", "mean"),
            PanelMetric(
                legend=f"{TAIL:.0%} quantile",
                metric="QuantileValue",
                metric_labels={"column": "pred_score", "quantile": str(TAIL)},
            ),
            night_value("image_threshold", "threshold"),
        ),
        _lines(
            "Model version in service",
            "Steps up on the first night after a promotion, down after a rollback",
            night_value("model_version", "version"),
        ),
        _lines(
            "Trainings and promotions",
            "1 if a version was trained since the night before, or let into service, which then "
            "covers its training",
            night_value("retrained", "trained"),
            night_value("promoted", "promoted"),
        ),
        _lines(
            "Images that stand out",
            "Share that scores above the threshold; share that still does with the light matched, "
            "which are the suspects; and share among the highest scores of normal images",
            _share("pred_label", "above the threshold"),
            _share("is_suspect", "suspects"),
            *_means("tail_share"),
        ),
        _lines(
            "Scores as the watch tests them",
            "Rises when the pictures look less normal: mean logarithm of the score, as it came and "
            "with the light matched, and of 1 over the p-value",
            *_means("log_score", "log_matched_score", "surprise"),
        ),
        _lines(
            "Surface and maps",
            "Contrast over brightness moves when the surface changes; the anomalous share of the "
            "picture falls for a spot and rises for a lamp; both as logarithms",
            *_means("relative_contrast", "log_map_extent"),
        ),
        _lines("Images a night", None, PanelMetric(legend="images", metric="RowCount")),
        _lines(
            "Light: brightness and clipped pixels",
            "0 is black and 1 is white; clipped pixels are fully dark or fully bright",
            *_means("luminance", "clipped_share"),
        ),
        _lines(
            "Light: colour and evenness",
            "0 is neutral and even, as logarithms: red and blue to green, right to left half, "
            "lower to upper half",
            *_means("red_green_balance", "blue_green_balance", "light_slope_x", "light_slope_y"),
        ),
        _lines(
            "Camera: sharpness and noise",
            "Sharpness falls when the lens leaves its focus; both as logarithms",
            *_means("sharpness", "noise"),
        ),
        _lines(
            "Camera: framing",
            "Where the part lies, as a share of the picture from the upper left, and how far it "
            "spreads; moves when the camera does",
            *_means("framing_x", "framing_y", "framing_spread"),
        ),
        _lines(
            "Camera: resolution", "Number of pixels, as a logarithm of 2", *_means("resolution")
        ),
        _lines(
            "Evidently's own drift score",
            "For information, alarms do not use it: normed Wasserstein distance to the ordinary "
            "nights before",
            *(_column("ValueDrift", column, column) for column in DRIFT_COLUMNS),
        ),
        _lines(
            "The golden set",
            "How well the version in service tells real golden defects from normal images, the "
            "share of them above the threshold, and the floor of image_AUROC; empty with fewer "
            "than ten",
            night_value("golden_auroc", "image_AUROC"),
            night_value("golden_recall", "recall"),
            night_value("golden_floor", "floor"),
        ),
    ]


def _lines(title: str, description: str | None, *values: PanelMetric) -> DashboardPanelPlot:
    return line_plot_panel(title, list(values), description, size="half")


def night_value(column: str, legend: str) -> PanelMetric:
    """Make a line of a number that a night has as a whole."""
    return _column("NightValue", column, legend)


def _share(column: str, legend: str) -> PanelMetric:
    return _column("ImageShare", column, legend)


def _column(metric: str, column: str, legend: str) -> PanelMetric:
    return PanelMetric(legend=legend, metric=metric, metric_labels={"column": column})


def _means(*statistics: str) -> list[PanelMetric]:
    return [
        PanelMetric(
            legend=STATISTIC_WORDS[statistic].measured,
            metric="NightMean",
            metric_labels={"statistic": statistic},
        )
        for statistic in statistics
    ]
