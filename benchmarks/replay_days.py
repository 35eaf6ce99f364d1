"""What the watch makes of the ball screw's own days, one after the other, with nothing learnt on
the way.

    python benchmarks/replay_days.py --json FILE
    python benchmarks/replay_days.py --data DIR --model draem --steps 1500 --json FILE

DIR, or a folder in it, holds a ball screw with its manifest; that of the demo serves where there is
no other. The first days train and calibrate the detector, as in service: of every five images
three train and one calibrates. The labels have no part in it; they stand beside it in the table.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from triage_images import calibration_of, fit, score
from triage_nights import FALSE_ALARMS_PER_YEAR, screws

from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.ledger.splits import CALIBRATION, TRAIN, assign_splits
from reconad_plugin.watch.cause import NONE, find_cause
from reconad_plugin.watch.cells import known_cells, summarise_cells
from reconad_plugin.watch.contrast import with_outliers
from reconad_plugin.watch.night_tests import Baseline, comparable, watch_night
from reconad_plugin.watch.statistics import NightStatistics, describe_light, summarise_night


def main() -> None:
    """Replay every day and print a line each."""
    options = _read_options()
    folder = screws(options.data)[0]
    rows = pd.read_csv(folder / "manifest.csv")
    rows = rows.assign(day=rows["path"].str.split("/").str[1])
    rows = rows[rows["day"].str.startswith("20")].reset_index(drop=True)
    scored, calibration = _score_days(folder, rows, options)
    print(f"{'day':<12}{'images':>7}{'pitted':>7}{'above':>7}{'suspects':>9}   cause")
    days = _replay(scored, calibration, options.first_days)
    for day in days:
        named = ", ".join([day["cause"], *day["also"]])
        print(
            f"{day['day']:<12}{day['images']:>7}{day['pitted']:>7}{day['above']:>7}"
            f"{day['suspects']:>9}   {named}: {day['evidence']}"
        )
    if options.json is not None:
        content = {"command": sys.argv[1:], "days": days}
        options.json.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def _score_days(
    folder: Path, rows: pd.DataFrame, options: argparse.Namespace
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Train on the first days, and score every image that came after; the first have no scores."""
    pictures = [decode_image((folder / path).read_bytes(), ImageLimits()) for path in rows["path"]]
    first = sorted(rows["day"].unique())[: options.first_days]
    is_first = rows["day"].isin(first)
    hashes = rows["path"].map(lambda path: hashlib.sha256(path.encode()).hexdigest())
    split = hashes.map(assign_splits(hashes[is_first].tolist(), already=0))
    chosen = {name: np.flatnonzero(is_first & (split == name)) for name in (TRAIN, CALIBRATION)}
    detector = fit(
        [pictures[place] for place in chosen[TRAIN]],
        [pictures[place] for place in chosen[CALIBRATION]],
        options.model,
        options.steps,
        options.seed,
    )
    table = score(detector, rows, pictures, "plain", lambda picture: picture)
    return table.assign(day=rows["day"].to_numpy()), calibration_of(detector)


def _replay(
    scored: pd.DataFrame, calibration: dict[str, Any], first_days: int
) -> list[dict[str, Any]]:
    history: list[NightStatistics] = []
    shown: dict[str, pd.DataFrame] = {}  # what the places of each day's maps showed
    alarmed: set[str] = set()
    still_open, days = NONE, []
    for place, (day, table) in enumerate(scored.groupby("day")):
        if place < first_days:
            history.append(describe_light(str(day), table))
            continue
        ordinary = {night.night for night in history} - alarmed
        summary = summarise_night(str(day), table, **calibration)
        known = comparable(history, ordinary, summary.model_version)
        places = known_cells([shown[night.night] for night in known])
        tonight = with_outliers(summary, table, places)
        shown[str(day)] = summarise_cells(table)
        watch = watch_night(Baseline(history, ordinary, ordinary), tonight, FALSE_ALARMS_PER_YEAR)
        found = find_cause(watch, still_open)
        history.append(tonight)
        if found.is_alarm:
            alarmed.add(str(day))
        still_open = found.cause
        days.append(
            {
                "day": str(day),
                "images": len(table),
                "pitted": int((table["label"] != "normal").sum()),
                "above": watch.above_threshold.above,
                "suspects": watch.suspects.above,
                "cause": found.cause,
                "also": list(found.also),
                "is_raised": found.is_raised,
                "evidence": found.explanation,
            }
        )
    return days


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="holds images with manifest.csv")
    parser.add_argument("--model", default="draem")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--first-days", type=int, default=3, help="that train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
