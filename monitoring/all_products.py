"""All products as one Evidently project: a run a night, and those that need a person in words."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, time
from typing import Final

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.sdk.models import DashboardPanelPlot
from evidently.sdk.panels import counter_panel, line_plot_panel
from evidently.ui.workspace import Project

from monitoring.dashboard import first_panel, in_one_tab, night_value, renew_first_panel
from monitoring.metrics import NightValue
from monitoring.report import run_name
from monitoring.workspace import AnyWorkspace, find_project, make_project, put_run
from reconad_plugin.ledger.glance import Glance
from reconad_plugin.watch.cause import CAUSES

PROJECT: Final = "all products"  # no product has a space in its name
_MOST_NAMED: Final = 12  # products that need a person, in words


def add_glances(workspace: AnyWorkspace, night: date, glances: Sequence[Glance]) -> None:
    """Put how all products stand on their common dashboard, as the run of a night; the project is
    made with the first. Whatever product ends its night last that day has seen all others."""
    project = find_project(workspace, PROJECT) or _new_project(workspace)
    values = count_glances(night, glances)
    dataset = Dataset.from_pandas(
        pd.DataFrame([values]), DataDefinition(numerical_columns=list(values))
    )
    run = Report([NightValue(column=name) for name in values]).run(
        dataset, None, timestamp=datetime.combine(night, time()), name=run_name(night)
    )
    put_run(workspace, project, run_name(night), run)
    renew_first_panel(workspace, project, describe_glances(night, glances))


def count_glances(night: date, glances: Sequence[Glance]) -> dict[str, float]:
    """Count what a line of the dashboard shows; the page draws a counter of 0 as "no value"."""
    causes = Counter(each.cause for each in glances if each.is_alarm)
    return {
        "products": float(len(glances)),
        "need_a_person": float(sum(each.needs_a_person for each in glances)),
        "waiting_images": float(sum(each.waiting_images for each in glances)),
        "serving": float(sum(each.champion is not None for each in glances)),
        "up_to_date": float(sum((each.night or "") >= str(night) for each in glances)),
        **{f"alarm_{cause}": float(causes[cause]) for cause in CAUSES},
    }


def describe_glances(night: date, glances: Sequence[Glance]) -> DashboardPanelPlot:
    """Make the first panel: which products need a person, and why."""
    needy = [each for each in glances if each.needs_a_person]
    need = "need" if len(needy) > 1 else "needs"
    count = f"{len(needy) or 'none'} of {len(glances)} products {need} a person"
    said = [_describe(each) for each in needy[:_MOST_NAMED]]
    if len(needy) > _MOST_NAMED:
        said.append(f"and {len(needy) - _MOST_NAMED} more")
    words = f"{'; '.join(said)}." if said else "No alarm is open, and no image waits."
    return first_panel(str(night), f"{night}: {count}", words)


def _describe(glance: Glance) -> str:
    said = [
        f"{glance.cause} since {glance.since}" if glance.is_alarm else "",
        f"{glance.waiting_images} images wait" if glance.waiting_images else "",
        "its note cannot be read" if glance.error else "",
    ]
    return f"{glance.product}: {', '.join(filter(None, said))}"


def _new_project(workspace: AnyWorkspace) -> Project:
    project = make_project(workspace, PROJECT, "Every night's alarms of all products.")
    panels = [
        first_panel("", "No night yet", "The first night's run fills this in."),
        counter_panel(
            "Tonight",
            [
                night_value("products", "products"),
                night_value("up_to_date", "have had their night"),
                night_value("serving", "have a version that serves"),
                night_value("need_a_person", "need a person"),
                night_value("waiting_images", "images wait"),
            ],
        ),
        line_plot_panel(
            "Products with an open alarm, by cause",
            [night_value(f"alarm_{cause}", cause) for cause in CAUSES],
        ),
        line_plot_panel("Products that need a person", [night_value("need_a_person", "products")]),
        line_plot_panel("Images that wait", [night_value("waiting_images", "images")]),
    ]
    workspace.save_dashboard(project.id, in_one_tab(panels))
    return project
