"""The dashboard as a person sees it, in a real browser."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from flows.platform.processes import LOOPBACK, end_processes, free_ports
from monitoring.all_products import PROJECT, add_glances
from monitoring.dashboard import add_night
from monitoring.report import run_report
from monitoring.workspace import AnyWorkspace, open_workspace
from reconad_plugin.ledger.glance import Glance
from reconad_plugin.ledger.night_values import night_values
from reconad_plugin.watch.cause import CAUSES
from tests.acceptance.browser import until, until_served
from tests.acceptance.review_desk import picture
from tests.night_tables import GOLDEN, NIGHT, record, score_table

PRODUCT = "screw"
NIGHTS = 8
SHOWN = "path.MuiLineElement-root"


def put(workspace: AnyWorkspace, place: int, cause: str = "none") -> None:
    night = NIGHT + timedelta(place)
    seen = record(night, cause, golden=GOLDEN)
    values = night_values(seen, 0.3, is_retrained=place == 4, is_promoted=place == 4)
    reference = score_table(images=60, seed=99)
    snapshot = run_report(night, score_table(seed=place), values, reference)
    add_night(workspace, PRODUCT, seen, snapshot)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of a few nights; the last has an alarm."""
    folder = tmp_path_factory.mktemp("dashboard")
    workspace = open_workspace(str(folder))
    for place in range(NIGHTS):
        put(workspace, place, "light" if place == NIGHTS - 1 else "none")
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """``evidently ui`` over it."""
    (port,) = free_ports(1)
    command = [str(Path(sys.executable).parent / "evidently"), "ui", "--workspace", str(folder)]
    process = subprocess.Popen(
        [*command, "--host", LOOPBACK, "--port", str(port)],
        env={**os.environ, "DO_NOT_TRACK": "true"},
        start_new_session=True,
    )
    try:
        url = f"http://{LOOPBACK}:{port}"
        until_served(url, process)
        yield url
    finally:
        end_processes([process])


def open_project(browser: webdriver.Chrome, url: str, folder: Path, name: str = PRODUCT) -> str:
    """Open a project's page and wait until its panels are drawn; its text."""
    (project,) = open_workspace(str(folder)).search_project(name)
    plots = [
        panel
        for panel in project.dashboard.model().panels
        if panel.plot_params["plot_type"] == "line"
    ]
    browser.get(f"{url}/projects/{project.id}")
    until(
        browser,
        lambda page: (
            not page.find_elements(By.CSS_SELECTOR, ".MuiSkeleton-root")
            and len(page.find_elements(By.CSS_SELECTOR, "svg:has(.MuiChartsAxis-root)"))
            == len(plots)
        ),
        "the panels must be drawn",
    )
    return browser.find_element(By.TAG_NAME, "body").text


def test_a_person_sees_tonight_and_every_panel(
    browser: webdriver.Chrome, url: str, folder: Path
) -> None:
    """Tonight stands first and in words; each panel has its title and has drawn its lines;
    the page says nothing of an error."""
    text = open_project(browser, url, folder)

    (project,) = open_workspace(str(folder)).search_project(PRODUCT)
    panels = project.dashboard.model().panels
    missing = [panel.title for panel in panels if panel.title not in text]
    assert missing == []
    assert text.index("2026-03-12: ALARM, light, new tonight") < text.index(
        "Alarms and their cause"
    )
    charts = browser.find_elements(By.CSS_SELECTOR, "svg:has(.MuiChartsAxis-root)")
    empty = [chart.text for chart in charts if not chart.find_elements(By.CSS_SELECTOR, SHOWN)]
    assert empty == []
    lines = browser.find_elements(By.CSS_SELECTOR, "path.MuiLineElement-root")
    wanted = [panel for panel in panels if panel.plot_params["plot_type"] == "line"]
    assert len(lines) == sum(len(panel.values) for panel in wanted)
    assert all(len(line.get_attribute("d")) > 20 * NIGHTS for line in lines)
    assert browser.find_elements(By.CSS_SELECTOR, ".MuiAlert-root") == []
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []


def test_all_products_have_a_dashboard_of_their_own(
    browser: webdriver.Chrome, url: str, folder: Path
) -> None:
    """Who needs a person stands first and in words; each count has its line."""
    workspace = open_workspace(str(folder))
    for place in range(NIGHTS):
        night, is_last = NIGHT + timedelta(place), place == NIGHTS - 1
        glances = [Glance(name, str(night), champion="2") for name in ("axle", "gear", "screw")]
        waiting = {str(night): 5}
        glances.append(
            Glance("nut", str(night), "light", str(NIGHT), waiting=waiting, champion="1")
        )
        add_glances(workspace, night, glances if is_last else glances[:3])

    text = open_project(browser, url, folder, PROJECT)

    assert "2026-03-12: 1 of 4 products needs a person" in text
    assert "nut: light since 2026-03-05, 5 images wait." in text
    lines = browser.find_elements(By.CSS_SELECTOR, SHOWN)
    assert len(lines) == len(CAUSES) + 2
    picture(browser, "dashboard-all")


def test_the_alarms_line_alone_leaves_zero(
    browser: webdriver.Chrome, url: str, folder: Path
) -> None:
    """Of the lines of all causes one rises, on the last night."""
    open_project(browser, url, folder)

    panel = browser.find_element(
        By.XPATH,
        "//*[text()='Alarms and their cause']/ancestor::*[.//*[local-name()='svg']][1]",
    )
    lines = panel.find_elements(By.CSS_SELECTOR, "path.MuiLineElement-root")
    heights = [heights_of(line) for line in lines]
    assert len(heights) == len(CAUSES)
    (risen,) = [line for line in heights if len(set(line)) > 1]
    assert risen[-1] == min(risen) < risen[0]


def heights_of(line) -> list[float]:
    """The y of a path's points, downwards."""
    numbers = [float(number) for number in re.findall(r"-?[0-9.]+", line.get_attribute("d"))]
    return numbers[1::2]


def test_a_night_that_comes_while_the_page_is_served_is_shown(
    browser: webdriver.Chrome, url: str, folder: Path
) -> None:
    """The server sees the new run and the new words without a restart."""
    put(open_workspace(str(folder)), NIGHTS, "camera")

    def is_told(page: webdriver.Chrome) -> bool:
        page.refresh()
        time.sleep(1)
        return "2026-03-13: ALARM, camera, new tonight" in page.page_source

    open_project(browser, url, folder)
    until(browser, is_told)


def test_a_servers_address_takes_nights_too(url: str, folder: Path) -> None:
    """Through an Evidently server a replayed night replaces its run as well."""
    workspace = open_workspace(url)

    put(workspace, NIGHTS + 1)
    put(workspace, NIGHTS + 1, "process")

    (project,) = workspace.search_project(PRODUCT)
    stored = open_workspace(str(folder))
    names = [stored.get_run(project.id, run).name for run in stored.list_runs(project.id)]
    assert names.count("night 2026-03-14") == 1
    assert project.dashboard.model().panels[0].title == "2026-03-14: ALARM, process, new tonight"
