"""All products on one dashboard: who needs a person in words, and counts over the nights."""

import logging
from datetime import date

import pytest

from flows.jobs import all_products as job
from monitoring.all_products import PROJECT, add_glances
from monitoring.workspace import open_workspace
from reconad_plugin.config.settings import Settings
from reconad_plugin.ledger.glance import Glance, write_glance
from reconad_plugin.store.layout import ProductLayout
from tests.fake_s3 import BUCKET, FakeS3, store_of

NIGHT = date(2026, 5, 4)
AXLE = Glance("axle", "2026-05-04", champion="3")
BOLT = Glance("bolt", "2026-05-04", "light", "2026-05-02", waiting={"2026-05-04": 7}, champion="1")
NUT = Glance("nut", "2026-05-03")


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(str(tmp_path / "evidently"))


def values(workspace):
    """Name of each run -> its counts."""
    (project,) = workspace.search_project(PROJECT)
    runs = [workspace.get_run(project.id, run) for run in workspace.list_runs(project.id)]
    return {
        run.name: {
            result.metric_value_location.metric.params["column"]: result.value
            for result in run.metric_results.values()
        }
        for run in runs
    }


def panels(workspace):
    (project,) = workspace.search_project(PROJECT)
    return project.dashboard.model().panels


def test_the_first_panel_names_who_needs_a_person(workspace):
    """With the alarm and since when; the counts stand beside it, and a night has one run."""
    add_glances(workspace, NIGHT, [AXLE, NUT])
    add_glances(workspace, NIGHT, [AXLE, BOLT, NUT])

    first = panels(workspace)[0]
    assert first.title == "2026-05-04: 1 of 3 products needs a person"
    assert first.subtitle == "bolt: light since 2026-05-02, 7 images wait."
    assert values(workspace) == {
        "night 2026-05-04": {
            "products": 3, "need_a_person": 1, "waiting_images": 7, "serving": 2,
            "up_to_date": 2, "alarm_light": 1, "alarm_process": 0, "alarm_camera": 0,
            "alarm_defects": 0, "alarm_unclear": 0,
        }
    }  # fmt: skip


def test_a_quiet_night_says_so(workspace):
    """And an older one does not take its place."""
    add_glances(workspace, NIGHT, [AXLE])
    add_glances(workspace, date(2026, 5, 3), [NUT, BOLT])

    assert panels(workspace)[0].title == "2026-05-04: none of 1 products needs a person"
    assert len(values(workspace)) == 2


def test_every_line_is_in_a_run(workspace):
    """A panel that asks for what no run has stays empty."""
    add_glances(workspace, NIGHT, [AXLE])

    asked = {value.metric_labels["column"] for panel in panels(workspace) for value in panel.values}
    assert asked <= set(values(workspace)["night 2026-05-04"])
    assert len(asked) == 10


@pytest.fixture
def of_settings(monkeypatch, tmp_path):
    """Settings of products by name, over a bucket in memory."""

    def use(fake, *names):
        settings = Settings.model_validate(
            {
                "storage": {"bucket": BUCKET},
                "monitoring": {"workspace": str(tmp_path / "evidently")},
                "products": {name: {} for name in names},
            }
        )
        monkeypatch.setattr(job, "load_settings", lambda: settings)
        monkeypatch.setattr(job, "ObjectStore", lambda _: store_of(fake))

    return use


def test_a_night_puts_all_products_there(of_settings, workspace):
    """As of the newest night of any; one product alone has its own dashboard."""
    fake = FakeS3({})
    for glance in (AXLE, NUT):
        write_glance(store_of(fake), ProductLayout(glance.product), glance)
    of_settings(fake, "axle")
    job.show_on_dashboard()
    assert workspace.search_project(PROJECT) == []

    of_settings(fake, "axle", "nut")
    job.show_on_dashboard()

    assert list(values(workspace)) == ["night 2026-05-04"]


def test_a_dashboard_that_fails_stops_no_night(of_settings, monkeypatch, caplog):
    """A warning says so."""
    fake = FakeS3({})
    write_glance(store_of(fake), ProductLayout("axle"), AXLE)
    of_settings(fake, "axle", "nut")
    monkeypatch.setattr("monitoring.all_products.add_glances", None)

    with caplog.at_level(logging.WARNING):
        job.show_on_dashboard()

    assert "the dashboard of all products could not be renewed" in caplog.text
