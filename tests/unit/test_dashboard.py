"""The dashboard in a folder: a project a product, a run a night, and tonight in words."""

from datetime import timedelta

import pytest

from monitoring.dashboard import add_night, lay_out, remove_other_runs, tonight
from monitoring.report import run_report
from monitoring.workspace import open_workspace
from reconad_plugin.ledger.night_values import night_values
from tests.night_tables import GOLDEN, NIGHT, record, score_table


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(str(tmp_path / "evidently"))


def add(workspace, night=NIGHT, images=40, cause="none"):
    seen = record(night, cause, golden=GOLDEN)
    values = night_values(seen, 0.3, is_retrained=False, is_promoted=False)
    snapshot = run_report(night, score_table(images), values, score_table(seed=1))
    add_night(workspace, "screw", seen, snapshot)


def runs(workspace):
    """Name of each run -> its number of images."""
    (project,) = workspace.search_project("screw")
    found = [workspace.get_run(project.id, run) for run in workspace.list_runs(project.id)]
    return {
        run.name: result.value
        for run in found
        for result in run.metric_results.values()
        if result.metric_value_location.metric.params["type"].endswith(":RowCount")
    }


def first_panel(workspace):
    (project,) = workspace.search_project("screw")
    return project.dashboard.model().panels[0]


def test_each_night_is_a_run_and_a_replay_replaces_its_own(workspace):
    """Whatever else is in the workspace stays."""
    add(workspace)
    add(workspace, NIGHT + timedelta(1))
    add(workspace, images=30)

    assert runs(workspace) == {"night 2026-03-05": 30, "night 2026-03-06": 40}


def test_every_line_of_a_panel_is_in_a_nights_run(workspace):
    """A panel that asks for what no run has stays empty."""
    add(workspace)
    (project,) = workspace.search_project("screw")
    (run,) = (workspace.get_run(project.id, run) for run in workspace.list_runs(project.id))
    params = [
        {name: str(value) for name, value in result.metric_value_location.metric.params.items()}
        for result in run.metric_results.values()
    ]

    asked = [
        {"type": value.metric, **value.metric_labels}
        for panel in project.dashboard.model().panels
        for value in panel.values
    ]

    assert asked
    for value in asked:
        assert any(value.items() <= each.items() for each in params), value


def test_a_person_reads_whether_tonight_is_fine_since_when_not_and_why():
    """The first panel says it in words."""
    fine = tonight(record())
    new = tonight(record(cause="light"))
    lasting = tonight(record(cause="defects", also=("light",), since="2026-03-03"))

    assert fine.title == "2026-03-05: fine"
    assert new.title == "2026-03-05: ALARM, light, new tonight"
    assert lasting.title == "2026-03-05: ALARM, defects, since 2026-03-03 (3 nights)"
    assert lasting.subtitle == (
        "The pictures are darker. Look at the lamp. Also seen: light. Scored by version 3."
    )


def test_the_first_panel_speaks_of_the_newest_night(workspace):
    """A replay of an earlier night leaves it; a replay of the newest one renews it."""
    add(workspace, NIGHT + timedelta(1))
    add(workspace, NIGHT, cause="light")
    before = first_panel(workspace).title
    add(workspace, NIGHT + timedelta(1), cause="camera")

    assert before == "2026-03-06: fine"
    assert first_panel(workspace).title == "2026-03-06: ALARM, camera, new tonight"


def test_a_dashboard_that_a_person_rearranged_is_left_alone(workspace):
    """A panel that was taken away does not come back with the next night."""
    add(workspace)
    (project,) = workspace.search_project("screw")
    model = project.dashboard.model()
    model.panels = model.panels[3:5]
    workspace.save_dashboard(project.id, model)

    add(workspace, NIGHT + timedelta(1))

    assert [panel.id for panel in project.dashboard.model().panels] == [
        panel.id for panel in model.panels
    ]


def test_laying_out_brings_the_panels_back(workspace):
    """Also where there is no project yet; runs stay."""
    lay_out(workspace, "screw")
    (project,) = workspace.search_project("screw")
    titles = [panel.title for panel in project.dashboard.model().panels]
    add(workspace)
    workspace.save_dashboard(project.id, type(project.dashboard.model())(tabs=[], panels=[]))

    lay_out(workspace, "screw")

    assert [panel.title for panel in project.dashboard.model().panels] == titles
    assert runs(workspace) == {"night 2026-03-05": 40}


def test_other_runs_are_removed(workspace):
    """Only those of the nights that are named stay."""
    add(workspace)
    add(workspace, NIGHT + timedelta(1))
    (project,) = workspace.search_project("screw")
    values = night_values(record(), 0.3, is_retrained=False, is_promoted=False)
    workspace.add_run(project.id, run_report(NIGHT, score_table(), values, None))

    remove_other_runs(workspace, "screw", [NIGHT])

    assert runs(workspace) == {"night 2026-03-05": 40}


def test_opening_a_workspace_reads_no_run(workspace, tmp_path):
    """Years of nights make the next night no slower: not even a broken run is noticed."""
    add(workspace)
    (project,) = workspace.search_project("screw")
    folder = tmp_path / "evidently" / str(project.id) / "snapshots"
    (run,) = folder.iterdir()
    run.write_text("not a run")

    add(open_workspace(str(tmp_path / "evidently")), NIGHT + timedelta(1))

    assert len(list(folder.iterdir())) == 2
