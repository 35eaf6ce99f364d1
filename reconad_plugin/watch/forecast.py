"""How many false alarms a product has to expect: the watch, run over made-up quiet years.

The years are made from the product's own ordinary nights: whole nights are drawn again, so that
statistics which move together still do, with a little noise between them, and each statistic
resembles its night before as much as it does here.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.watch.chart_sums import Night
from reconad_plugin.watch.charts import Charts
from reconad_plugin.watch.limits import COUNT_TESTS, NIGHTS_A_YEAR, SETTLED_SHARE, limits

LEAST_NIGHTS: Final = 20  # fewer say too little of how nights behave: then the normal law is used
MOST_NIGHTS_BEFORE: Final = 120  # more change nothing in what the charts know

Floats = NDArray[np.float64]


def expected_false_alarms(
    ordinary_scores: Floats,
    autocorrelation: Floats,
    nights_known: int,
    false_alarms_per_year: float,
    seed: int,
    years: int = 50,
) -> float:
    """Forecast the false alarms of the next year, over all statistics and counts of images.

    From (N, K) standard normal scores of ordinary nights and (K,) autocorrelations, see ``Watch``,
    years are made up that begin with as many ordinary nights as are known so far.
    """
    generator = np.random.default_rng(seed)
    statistics = len(autocorrelation)
    limit = limits(false_alarms_per_year, statistics)
    known = ordinary_scores[np.isfinite(ordinary_scores).all(1)]
    shape = (years, statistics)
    charts, ones, many = Charts(np.zeros(shape)), np.ones(shape), np.full(shape, np.inf)
    state = generator.standard_normal(shape)
    is_open, alarms = np.zeros(years, bool), np.zeros(years)
    before = min(nights_known, MOST_NIGHTS_BEFORE)
    for day in range(before + NIGHTS_A_YEAR):
        drawn = _draw(known, shape, generator)
        state = autocorrelation * state + np.sqrt(1 - autocorrelation**2) * drawn
        night = Night(day, state, ones, many)
        checked = charts.score(night, limit.jump)
        is_alarm, is_settled = alarms_of(checked.score, checked.average, limit.jump, limit.average)
        is_counted = day >= before
        alarms += is_counted & is_alarm & ~is_open
        is_open = is_counted & (is_alarm | (is_open & ~is_settled))
        charts.update(night, np.broadcast_to(~is_open[:, None], shape))
    return float(alarms.mean()) + COUNT_TESTS * limit.count * NIGHTS_A_YEAR


def alarms_of(
    scores: Floats, averages: Floats, jump_limit: float, average_limit: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say whether any of the last axis's statistics alarms, and whether all are settled."""
    size, drift = np.abs(np.nan_to_num(scores)), np.abs(np.nan_to_num(averages))
    is_alarm = np.any((size > jump_limit) | (drift > average_limit), axis=-1)
    is_settled = np.all(drift < SETTLED_SHARE * average_limit, axis=-1)
    return np.asarray(is_alarm), np.asarray(is_settled)


def _draw(known: Floats, shape: tuple[int, int], generator: np.random.Generator) -> Floats:
    """Draw standard scores of one night for each year."""
    noise = generator.standard_normal(shape)
    if len(known) < LEAST_NIGHTS:
        return noise
    centred = known - known.mean(0)
    centred = centred / np.maximum(centred.std(0), 1e-9)
    width = len(known) ** -0.2  # Silverman's rule for normal data, without its constant near 1
    drawn = centred[generator.integers(len(known), size=shape[0])]
    return np.asarray((drawn + width * noise) / np.sqrt(1 + width**2))
