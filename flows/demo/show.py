"""The demo as a person sees it: one table, a report, and how to look further."""

import contextlib
import signal
import time
from pathlib import Path
from typing import Final

from flows.demo.replay import (
    BUCKET,
    PRODUCT,
    DemoNight,
    DemoPlan,
    full_plan,
    replay,
    short_plan,
    write_settings,
)
from flows.platform.servers import SETTINGS_FILE, EmbeddedPlatform, running_platform
from reconad_plugin.errors import ConfigError

_COLUMNS: Final = (
    ("night", 12),
    ("images", 7),
    ("quarantined", 12),
    ("alarm", 6),
    ("cause", 27),
    ("suspects", 9),
    ("waiting", 8),
    ("action", 40),
    ("champion", 9),
)


def show_demo(state: Path, report: Path, is_short: bool, is_kept: bool) -> None:
    """Replay the nights, print the table, write the report.

    Args:
        state: folder of the servers; emptied first.
        report: folder of the report.
        is_short: the short plan.
        is_kept: leave the servers up until Ctrl-C.
    """
    plan = short_plan() if is_short else full_plan()
    start_s = time.monotonic()
    print("Starting S3, MLflow and Prefect on loopback ...", flush=True)
    with running_platform(state, BUCKET) as platform:
        write_settings(platform, plan)
        platform.deploy()
        print(
            f"They are up after {time.monotonic() - start_s:.0f} s. Replaying {len(plan.nights)} "
            f"nights of {PRODUCT}; the first training takes a minute.\n",
            flush=True,
        )
        print("".join(heading.ljust(width) for heading, width in _COLUMNS), flush=True)
        nights = replay(platform, plan, _print_row)
        page = _write_report(plan, nights, report)
        print(f"\n{_truth(nights)}")
        print(f"\nReport: {page}    ({time.monotonic() - start_s:.0f} s in all)")
        if is_kept:
            _leave_up(platform)
    if not is_kept:
        print(
            "The servers are stopped. `make platform` brings them up again with these nights, and "
            "`make demo KEEP=1` leaves\nthem up: MLflow's runs and versions, Prefect's flows and "
            "events, Evidently's dashboard, and serving."
        )


def show_platform(state: Path) -> None:
    """Bring an earlier demo's servers up again until Ctrl-C."""
    if not (state / SETTINGS_FILE).exists():
        raise ConfigError(f"there must be a demo to bring up; {state} holds none: run `make demo`")
    with running_platform(state, BUCKET, is_fresh=False) as platform:
        platform.deploy()
        _leave_up(platform)


def _print_row(row: DemoNight) -> None:
    refused = f"{row.quarantined}" + (f" +{row.duplicates} dup" if row.duplicates else "")
    action = ("simulated defects: " if row.is_simulated else "") + str(row.action)
    cells = (
        row.night,
        str(row.images),
        refused,
        "yes" if row.is_alarm else "",
        ", ".join(row.causes),
        str(row.suspects or ""),
        str(row.waiting or ""),
        action,
        f"v{row.champion}" if row.champion != "-" else "-",
    )
    widths = (width for _, width in _COLUMNS)
    print("".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), flush=True)


def _truth(nights: list[DemoNight]) -> str:
    """Say what the data set's labels know of the nights, next to what the system made of them."""
    watched = [row for row in nights if row.record is not None and row.pitted]
    named = [row for row in watched if "defects" in row.causes]
    missed = [row for row in watched if not row.is_alarm]
    lines = [
        f"By the data set's labels, which the system never sees, {len(watched)} watched nights "
        f"hold pitted screws. Named defects: {len(named)}; held or alarmed with another cause: "
        f"{len(watched) - len(named) - len(missed)}; passed without an alarm: {len(missed)}."
    ]
    for row in missed:
        lines.append(
            f"  {row.night}: {row.pitted} of {row.images} pitted, {row.suspects} of its images "
            "were kept from training as suspects."
        )
    return "\n".join(lines)


def _write_report(plan: DemoPlan, nights: list[DemoNight], folder: Path) -> Path:
    from flows.demo.report import write_report

    return write_report(plan, nights, folder)


def _leave_up(platform: EmbeddedPlatform) -> None:
    dashboards = platform.serve_dashboards()
    environment = platform.state / "env.sh"
    print(
        f"""
MLflow     {platform.mlflow_url}
Prefect    {platform.prefect_url}
Evidently  {dashboards}

In another shell:
  . {environment}
  reconad status {PRODUCT}
  mlflow models serve -m models:/reconad-{PRODUCT}@champion --env-manager local --port 5055

Ctrl-C stops them.""",
        flush=True,
    )
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
