"""How quick the dashboard is with years of nights, and how long a large night takes to report.

    python benchmarks/dashboard_years.py --json FILE
    python benchmarks/dashboard_years.py --nights 75 --keep DIR      # a workspace to look at

Nights are made up from a seed: tables of 50 images with a lamp that fails for four nights of
every 75, a night and the next with defects, and a promotion. ``evidently ui`` serves them on
loopback and is asked what its page asks: the project, the panels, and the series of each panel,
six at a time as a browser does. Memory is the resident size of the server and its children.

The large night is one table through the night's statistics, the watch against 365 nights, the
report against seven nights of the same size, and its page; scoring is not in it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, Final
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import reconad_plugin.telemetry  # noqa: F401  before Evidently
from flows.platform.processes import LOOPBACK, answers, end_processes, free_ports
from monitoring.dashboard import add_night
from monitoring.report import run_report
from monitoring.workspace import open_workspace
from reconad_plugin.ledger.night_record import NightRecord
from reconad_plugin.ledger.night_values import night_values
from reconad_plugin.watch.cause import ADVICE
from reconad_plugin.watch.explanation import describe_moves, in_sentences
from reconad_plugin.watch.night_tests import Baseline, watch_night
from reconad_plugin.watch.results import StatisticCheck
from reconad_plugin.watch.statistics import NightStatistics, image_statistics, summarise_night

START: Final = date(2024, 1, 1)
PRODUCT: Final = "housing"
SEED: Final = 0
IMAGES: Final = 50
LARGE_IMAGES: Final = 100_000
WATCHED_NIGHTS: Final = 365
REFERENCE_NIGHTS: Final = 7
CYCLE: Final = 75  # nights
LIGHT, PROMOTED, DEFECTS = range(30, 34), 34, range(66, 68)  # places in a cycle
CONNECTIONS: Final = 6  # of a browser to one server
UP_TIMEOUT_S: Final = 120

# feature -> (level, deviation of images, deviation of nights)
FEATURES: Final = {
    "luminance": (0.42, 0.02, 0.003),
    "contrast": (0.16, 0.008, 0.001),
    "red_green_balance": (0.05, 0.01, 0.003),
    "blue_green_balance": (-0.08, 0.01, 0.003),
    "clipped_share": (0.01, 0.003, 0.0005),
    "light_slope_x": (0.06, 0.01, 0.002),
    "light_slope_y": (-0.03, 0.01, 0.002),
    "sharpness": (-4.2, 0.08, 0.015),
    "noise": (-3.1, 0.06, 0.012),
    "resolution": (19.6, 0.0, 0.0),
    "framing_x": (0.5, 0.004, 0.0008),
    "framing_y": (0.48, 0.004, 0.0008),
    "framing_spread": (0.27, 0.003, 0.0004),
}
THRESHOLDS: Final = (0.32, 0.27)  # of odd versions and of even ones
LIMIT: Final = 4.6  # of made-up checks


@dataclass(frozen=True)
class MadeUpNight:
    """A night as S3 keeps it."""

    night: date
    table: pd.DataFrame
    record: NightRecord
    values: dict[str, float]


def main() -> None:
    """Measure, print a line a figure, and write them."""
    options = _read_options()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="dashboard-years-"))
    try:
        figures = measure_years(folder, options.nights)
        if options.keep is None:
            figures |= measure_large_night()
    finally:
        if options.keep is None:
            shutil.rmtree(folder)
    for name, value in figures.items():
        print(f"{name:58} {value:10.3f}", flush=True)
    if options.json is not None:
        content = {"command": sys.argv[1:], "seed": SEED, "figures": figures}
        options.json.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def measure_years(folder: Path, nights: int) -> dict[str, float]:
    """Build a workspace of so many nights, serve it, and ask."""
    workspace = open_workspace(str(folder))
    seconds = []
    before = deque([make_night(-1, IMAGES).table], maxlen=REFERENCE_NIGHTS)
    for place in range(nights):
        made = make_night(place, IMAGES)
        snapshot = run_report(made.night, made.table, made.values, pd.concat(before))
        before.append(made.table)
        start = perf_counter()
        add_night(open_workspace(str(folder)), PRODUCT, made.record, snapshot)
        seconds.append(perf_counter() - start)
    (project,) = workspace.search_project(PRODUCT)
    with serve(folder) as (url, process, up_s):
        started = _processor_s(process)
        first, panels_s = ask_page(url, str(project.id))
        asked = _processor_s(process)
        second, _ = ask_page(url, str(project.id))
        asked_again = _processor_s(process)
        everyone = [process, *process.children(recursive=True)]
        resident = sum(each.memory_info().rss for each in everyone)
    runs = list((folder / str(project.id) / "snapshots").iterdir())
    return {
        "nights": float(nights),
        "add_night, first ten, s": float(np.mean(seconds[:10])),
        "add_night, last ten, s": float(np.mean(seconds[-10:])),
        "size of a run, kB": sum(run.stat().st_size for run in runs) / len(runs) / 1e3,
        "evidently ui, until it answers, s": up_s,
        "page's calls, first time, s": first,
        "page's calls, first time, s of processor": asked - started,
        "page's calls, second time, s": second,
        "page's calls, second time, s of processor": asked_again - asked,
        "slowest panel, first time, s": max(panels_s),
        "memory of evidently ui, GB": resident / 1e9,
    }


def measure_large_night() -> dict[str, float]:
    """Statistics, watch and report of a night of 100,000 images."""
    large = make_night(WATCHED_NIGHTS, LARGE_IMAGES)
    scores = tuple(make_night(0, 100).table["pred_score"])
    history = [summarise(make_night(place, IMAGES), scores) for place in range(WATCHED_NIGHTS)]
    places = range(WATCHED_NIGHTS - REFERENCE_NIGHTS, WATCHED_NIGHTS)
    reference = pd.concat([make_night(place, LARGE_IMAGES).table for place in places])
    start = perf_counter()
    tonight = summarise(large, scores)
    summarised = perf_counter()
    names = {night.night for night in history}
    watch_night(Baseline(history, names, names), tonight, 1.0)
    watched = perf_counter()
    snapshot = run_report(large.night, large.table, large.values, reference)
    reported = perf_counter()
    snapshot.get_html_str(as_iframe=False)
    end = perf_counter()
    return {
        "statistics of 100,000 images, s": summarised - start,
        "watch against 365 nights, s": watched - summarised,
        "report of 100,000 images, s": reported - watched,
        "its page, s": end - reported,
        "large night in all, s": end - start,
    }


def summarise(made: MadeUpNight, calibration_scores: tuple[float, ...]) -> NightStatistics:
    """A made-up night as the watch sees it."""
    threshold = made.values["image_threshold"]
    day = made.night.isoformat()
    calibration = (calibration_scores, threshold, calibration_scores, threshold)
    return summarise_night(day, made.table, *calibration)


def make_night(place: int, images: int) -> MadeUpNight:
    """A night with its table, the watch's record and the values of the dashboard."""
    random = np.random.default_rng([SEED, place + 1, images])
    night = START + timedelta(place)
    cycle, day = divmod(place, CYCLE)
    version = 1 + cycle + (day >= PROMOTED)
    threshold = THRESHOLDS[version % 2 - 1]
    is_dim, is_damaged = day in LIGHT, day in DEFECTS
    columns = {
        name: random.normal(level + random.normal(0, nights), deviation, images)
        for name, (level, deviation, nights) in FEATURES.items()
    }
    if is_dim:
        columns["luminance"] *= 0.86
        columns["contrast"] *= 0.86
        columns["light_slope_x"] += 0.05
    matched = threshold * np.exp(random.normal(-0.75 + random.normal(0, 0.02), 0.28, images))
    extent = np.exp(random.normal(-1.9 + random.normal(0, 0.02), 0.15, images))
    if is_damaged:
        damaged = random.random(images) < 0.16
        matched[damaged] *= 2.6
        extent[damaged] *= 0.35
    scores = matched * (1.55 if is_dim else 1.0) * random.normal(1, 0.01, images)
    table = pd.DataFrame(columns).assign(
        key=[f"{PRODUCT}/incoming/{night}/{number:06}.png" for number in range(images)],
        model_version=str(version),
        pred_score=scores,
        pred_label=scores > threshold,
        p_value=np.clip(np.exp(-((scores / threshold / 0.62) ** 4)), 1 / 101, 1),
        matched_score=matched,
        is_suspect=matched > threshold,
        map_extent=extent,
    )
    record = _record(night, table, version, day, threshold)
    values = night_values(record, threshold, day == PROMOTED, day == PROMOTED)
    return MadeUpNight(night, table, record, values)


def _record(
    night: date, table: pd.DataFrame, version: int, day: int, threshold: float
) -> NightRecord:
    """What the watch might have said; its tests are not run here."""
    cause = "light" if day in LIGHT else "defects" if day in DEFECTS else "none"
    begin = {"light": LIGHT[0], "defects": DEFECTS[0]}.get(cause)
    luminance = float(image_statistics(table)["luminance"].mean())
    level, _, deviation = FEATURES["luminance"]
    score = (luminance - level) / deviation
    farthest = {"light": score / 3, "defects": 1.8 * LIMIT}.get(cause, score)
    check = StatisticCheck(
        "luminance", luminance, level, score, farthest, 0.0, jump_limit=LIMIT, average_limit=LIMIT
    )
    happened = {
        "light": describe_moves([check]),
        "defects": "images look defective as on no ordinary night",
        "none": "all is as on other nights",
    }[cause]
    suspects = f"{int(table['is_suspect'].sum())} of {len(table)} images look anomalous"
    explanation = in_sentences(happened, ADVICE.get(cause, ""), suspects)
    statistics = summarise_night(night.isoformat(), table, (), threshold, (), threshold)
    return NightRecord(
        night=night.isoformat(),
        model_version=str(version),
        is_alarm=cause != "none",
        is_raised=cause != "none",
        is_new=day == begin,
        since=None if begin is None else (night - timedelta(day - begin)).isoformat(),
        cause=cause,
        also=(),
        explanation=explanation,
        is_learning=cause == "light",
        is_holding=cause == "defects",
        statistics=statistics,
        checks={"luminance": check},
    )


@contextmanager
def serve(folder: Path) -> Iterator[tuple[str, psutil.Process, float]]:
    """``evidently ui`` on loopback: its address, its process, seconds until it answered."""
    (port,) = free_ports(1)
    command = [str(Path(sys.executable).parent / "evidently"), "ui", "--workspace", str(folder)]
    start = perf_counter()
    process = subprocess.Popen(
        [*command, "--host", LOOPBACK, "--port", str(port)],
        env=os.environ | {"DO_NOT_TRACK": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        url = f"http://{LOOPBACK}:{port}"
        while not answers(f"{url}/api/version"):
            if perf_counter() - start > UP_TIMEOUT_S:
                raise TimeoutError(f"evidently ui must answer within {UP_TIMEOUT_S} s")
            sleep(0.05)
        yield url, psutil.Process(process.pid), perf_counter() - start
    finally:
        end_processes([process])


def ask_page(url: str, project: str) -> tuple[float, list[float]]:
    """All that the page of a project asks for: seconds in all, and of each panel."""
    start = perf_counter()
    _ask(f"{url}/api/projects/{project}/info")
    dashboard = _ask(f"{url}/api/v2/dashboards/{project}")
    panels = [panel["values"] for panel in dashboard["panels"] if panel["values"]]

    def ask_panel(values: list[dict[str, Any]]) -> float:
        asked = perf_counter()
        names = ("tags", "metadata", "metric", "metric_labels")
        filters = [{name: value[name] for name in names} for value in values]
        answer = _ask(
            f"{url}/api/v2/snapshots/{project}/data_series_batch", {"series_filter": filters}
        )
        assert answer["series"], f"a panel must have a line; {filters} has none"
        return perf_counter() - asked

    with ThreadPoolExecutor(CONNECTIONS) as connections:
        panels_s = list(connections.map(ask_panel, panels))
    return perf_counter() - start, panels_s


def _processor_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _ask(address: str, body: dict[str, Any] | None = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = Request(address, content, {"Content-Type": "application/json"})  # noqa: S310  loopback
    with urlopen(request, timeout=UP_TIMEOUT_S) as answer:  # noqa: S310
        return json.loads(answer.read())


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nights", type=int, default=730)
    parser.add_argument("--keep", type=Path, default=None, metavar="DIR", help="leave it there")
    parser.add_argument("--json", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
