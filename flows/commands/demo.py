"""``reconad demo``: one table, a report, and how to look further."""

import time
from collections.abc import Sequence
from typing import Final

from flows.commands.options import DemoOptions
from flows.commands.platform import stay_up
from flows.demo.plan import (
    BUCKET,
    PRODUCT,
    DemoNight,
    full_plan,
    short_plan,
    version_name,
    write_settings,
)
from flows.demo.replay import replay
from flows.platform.servers import running_platform

_HEADINGS: Final = "night images quarantined alarm cause suspects waiting action champion served"
_WIDTHS: Final = (12, 7, 12, 6, 27, 9, 8, 40, 9, 6)


def run(options: DemoOptions) -> None:
    """Replay the nights, print the table, write the report."""
    plan = short_plan() if options.short else full_plan()
    start_s = time.monotonic()
    print("Starting S3, MLflow and Prefect on loopback ...", flush=True)
    with running_platform(options.state, BUCKET) as platform:
        write_settings(platform, plan)
        platform.deploy(PRODUCT)
        print(
            f"They are up after {time.monotonic() - start_s:.0f} s. Replaying {len(plan.nights)} "
            f"nights of {PRODUCT}; the first training takes one to four minutes.\n",
            flush=True,
        )
        _print_cells(_HEADINGS.split())
        nights = replay(platform, plan, _print_row)
        from flows.demo.report import write_report  # MLflow is told where it is by then

        page = write_report(plan, nights, options.report)
        print(f"\n{_truth(nights)}")
        print(f"\nReport: {page}    ({time.monotonic() - start_s:.0f} s in all)")
        if options.keep:
            stay_up(platform, PRODUCT)
    if not options.keep:
        print(
            "The servers are stopped. `make platform` brings them up again with these nights, and "
            "`make demo KEEP=1` leaves\nthem up: MLflow's runs and versions, Prefect's flows and "
            "events, Evidently's dashboard, serving,\nand the page where people decide on what "
            "waits: `reconad review-page`."
        )


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
        version_name(row.champion),
        version_name(row.served),
    )
    _print_cells(cells)


def _print_cells(cells: Sequence[str]) -> None:
    columns = zip(cells, _WIDTHS, strict=True)
    print("".join(cell.ljust(width) for cell, width in columns), flush=True)


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
