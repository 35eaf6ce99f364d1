"""How often the watch errs, and how soon it finds a shift: simulated years of nights.

    python benchmarks/alarm_years.py --json FILE
    python benchmarks/alarm_years.py --years 1000 --statistics 6

A year begins with a product's first night, and nothing is known of it. Single images scatter with
a deviation of 1; nights may differ from one another, and resemble the one before. Each statistic
goes its own way, which is the hardest case for a limit that all share. Besides, two counts of
images are tested against a threshold that was set on held-out images of the first nights, and how
far images stand out from the others of their night is held against the nights before.

A false alarm is counted on the night it is raised; it stays open until the product is back to
normal, and those nights are counted too. A shift comes to one statistic between the 60th and the
300th night, or on the 31st, and stays.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reconad_plugin.watch.chart_sums import Night
from reconad_plugin.watch.charts import Charts
from reconad_plugin.watch.contrast import FEWEST_IMAGES, chance_of_contrast, contrast
from reconad_plugin.watch.forecast import alarms_of
from reconad_plugin.watch.limits import Limits, limits
from reconad_plugin.watch.night_tests import chance_of
from reconad_plugin.watch.statistics import STATISTICS, Exceedances

NIGHTS: Final = 365
IMAGES: Final = 200
NIGHT_EFFECT: Final = 0.15  # in deviations of single images
CALIBRATION_IMAGES, CALIBRATION_ABOVE, CALIBRATION_NIGHTS = 100, 2, 3
PROMINENCE, PROMINENCE_SPREAD = 2.6, 0.5  # of normal images: median, deviation of the logarithm
SHIFTS: Final = (0.25, 0.5, 1.0)
EARLY_NIGHT: Final = 30
LATE_NIGHTS: Final = (60, 300)
REPORTED_SEED: Final = 50_000  # the watch was tuned on seeds below 10,000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """How quiet nights behave.

    Attributes:
        name: what a table calls it.
        night_effect: deviation between nights, in deviations of single images.
        autocorrelation: of the nights' effects.
        fewest_images: a night has so many to ``IMAGES``.
        missing: share of nights on which nothing comes.
    """

    name: str
    night_effect: float = 0.0
    autocorrelation: float = 0.0
    fewest_images: int = IMAGES
    missing: float = 0.0


WORLDS: Final = (
    World("nights alike"),
    World("night effect 0.15", NIGHT_EFFECT),
    World("night effect 0.15, autocorrelation 0.4", NIGHT_EFFECT, 0.4),
    World("night effect 0.15, 5 to 200 images, a tenth missing", NIGHT_EFFECT, 0.0, 5, 0.1),
)


def main() -> None:
    """Run every world, then every shift; print a line each."""
    options = _read_options()
    limit = limits(options.rate, options.statistics)
    content: dict[str, Any] = {
        "command": sys.argv[1:],
        "seed": options.seed,
        "years": options.years,
        "statistics": options.statistics,
        "false_alarms_per_year": options.rate,
        "limits": asdict(limit),
        "quiet": [],
        "shifts": [],
    }
    print(
        f"{options.years} years, {options.statistics} statistics, {options.rate:g} a year allowed"
    )
    print("quiet years                                            false alarms   nights  error")
    for place, world in enumerate(WORLDS):
        year = Year(world, options, limit, options.seed + place)
        content["quiet"].append(asdict(world) | year.quiet())
        print(_quiet_line(content["quiet"][-1]), flush=True)
    print("lasting shift, night effect 0.15        nights until the alarm: median, 90 %   missed")
    for when in ("late", "early"):
        for place, shift in enumerate(SHIFTS):
            year = Year(WORLDS[1], options, limit, options.seed + 100 + place)
            content["shifts"].append({"shift": shift, "when": when} | year.shifted(shift, when))
            print(_shift_line(content["shifts"][-1]), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


class Year:
    """Many simulated years of one world, side by side."""

    def __init__(self, world: World, options: argparse.Namespace, limit: Limits, seed: int) -> None:
        self._world, self._limit = world, limit
        self._shape = (options.years, options.statistics)
        self._random = np.random.default_rng(seed)

    def quiet(self) -> dict[str, float]:
        """False alarms a year, and nights on which one was open."""
        raised, nights = np.zeros(self._shape[0]), np.zeros(self._shape[0])

        def note(night: int, is_alarm: NDArray[np.bool_], is_open: NDArray[np.bool_]) -> None:
            del night
            raised[:] += is_alarm & ~is_open
            nights[:] += is_alarm | is_open

        self._run(note, np.zeros(self._shape[0]), 0.0)
        return {
            "false_alarms": float(raised.mean()),
            "standard_error": float(raised.std(ddof=1) / len(raised) ** 0.5),
            "alarm_nights": float(nights.mean()),
        }

    def shifted(self, shift: float, when: str) -> dict[str, Any]:
        """Nights until the alarm, the first shifted night being the first."""
        years = self._shape[0]
        start = np.full(years, EARLY_NIGHT)
        if when == "late":
            start = self._random.integers(*LATE_NIGHTS, size=years)
        found = np.full(years, np.inf)

        def note(night: int, is_alarm: NDArray[np.bool_], is_open: NDArray[np.bool_]) -> None:
            del is_open
            is_first = is_alarm & np.isinf(found) & (night >= start)
            found[is_first] = (night - start + 1)[is_first]

        self._run(note, start, shift)
        median, most = (float(np.quantile(found, q, method="lower")) for q in (0.5, 0.9))
        return {
            "median_nights": median if np.isfinite(median) else None,
            "nights_of_90_percent": most if np.isfinite(most) else None,
            "missed": float(np.isinf(found).mean()),
        }

    def _run(
        self,
        note: Callable[[int, NDArray[np.bool_], NDArray[np.bool_]], None],
        start: Floats,
        shift: float,
    ) -> None:
        years, random, world = self._shape[0], self._random, self._world
        charts, ones = Charts(np.zeros(self._shape)), np.ones(self._shape)
        is_open = np.zeros(years, bool)
        counts = [_Counts(years, world, random) for _ in range(2)]
        outliers = _Outliers(years, random)
        effect = random.normal(0, world.night_effect, self._shape)
        kept, new = world.autocorrelation, (1 - world.autocorrelation**2) ** 0.5
        for night in range(NIGHTS):
            effect = kept * effect + new * random.normal(0, world.night_effect, self._shape)
            if random.random() < world.missing:
                continue
            images = int(random.integers(world.fewest_images, IMAGES + 1))
            value = effect + random.normal(0, images**-0.5, self._shape)
            value[:, 0] += shift * (night >= start)
            seen = Night(night, value, ones, images * ones)
            checked = charts.score(seen, self._limit.jump)
            is_alarm, is_settled = alarms_of(
                checked.score, checked.average, self._limit.jump, self._limit.average
            )
            for count in counts:
                is_alarm = is_alarm | (count.chances(effect[:, 1], images) < self._limit.count)
            is_alarm = is_alarm | (outliers.chances(images) < self._limit.count)
            note(night, is_alarm, is_open)
            is_open = is_alarm | (is_open & ~is_settled)
            outliers.learn(~is_open)
            charts.update(seen, np.broadcast_to(~is_open[:, None], self._shape))


class _Counts:
    """Images above a threshold that was set on held-out images of the first nights."""

    def __init__(self, years: int, world: World, random: np.random.Generator) -> None:
        nights = random.normal(0, world.night_effect, (years, CALIBRATION_NIGHTS, 1))
        shape = (years, CALIBRATION_NIGHTS, -(-CALIBRATION_IMAGES // CALIBRATION_NIGHTS))
        held_out = (nights + random.normal(size=shape)).reshape(years, -1)[:, :CALIBRATION_IMAGES]
        self._threshold = np.sort(held_out, axis=1)[:, -CALIBRATION_ABOVE]
        self._random = random

    def chances(self, effect: Floats, images: int) -> Floats:
        """Of each year's count tonight, in a normal night."""
        above = self._random.binomial(images, ndtr(effect - self._threshold))
        counts, places = np.unique(above, return_inverse=True)
        return np.array([_chance(int(count), images) for count in counts])[places]


class _Outliers:
    """Images that stand out from the others of their night, held against the nights before."""

    def __init__(self, years: int, random: np.random.Generator) -> None:
        self._contrasts: list[Floats] = []  # of each night those of all years
        self._images: list[int] = []
        self._years, self._random = years, random

    def chances(self, images: int) -> Floats:
        """Of each year's contrast tonight, in a normal night; NaN where images are too few."""
        known = np.array(self._contrasts).reshape(-1, self._years)
        before = np.array(self._images, dtype=float)
        tonight = np.full(self._years, np.nan)
        if images >= FEWEST_IMAGES:
            spread = PROMINENCE_SPREAD * self._random.normal(size=(self._years, images))
            tonight = contrast(PROMINENCE * np.exp(spread))
        self._contrasts.append(tonight)
        self._images.append(images)
        return chance_of_contrast(tonight, images, known, before)

    def learn(self, is_ordinary: NDArray[np.bool_]) -> None:
        """Tonight's contrasts join those of ordinary nights."""
        self._contrasts[-1] = np.where(is_ordinary, self._contrasts[-1], np.nan)


@cache
def _chance(above: int, images: int) -> float:
    """Of so many images above the threshold."""
    return chance_of(Exceedances(above, images, CALIBRATION_IMAGES, CALIBRATION_ABOVE))


def _quiet_line(row: dict[str, Any]) -> str:
    return (
        f"{row['name']:<55}{row['false_alarms']:>10.2f}   {row['alarm_nights']:>8.1f}  "
        f"{row['standard_error']:.2f}"
    )


def _shift_line(row: dict[str, Any]) -> str:
    median, most = (
        "-" if nights is None else f"{nights:g}"
        for nights in (row["median_nights"], row["nights_of_90_percent"])
    )
    name = f"{row['shift']:g} deviations of an image, {row['when']}"
    return f"{name:<55}{median:>10}   {most:>8}  {row['missed']:.1%}"


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=400)
    parser.add_argument("--statistics", type=int, default=len(STATISTICS))
    parser.add_argument("--rate", type=float, default=1.0, help="false alarms a year allowed")
    parser.add_argument("--seed", type=int, default=REPORTED_SEED)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    if options.statistics < 2:
        parser.error(f"--statistics must be at least 2; got {options.statistics}")
    return options


if __name__ == "__main__":
    main()
