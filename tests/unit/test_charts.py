"""Self-starting charts of single statistics."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reconad_plugin.watch.chart_sums import (
    MAX_AUTOCORRELATION,
    PRIOR_AUTOCORRELATION,
    PRIOR_PAIRS,
    Night,
)
from reconad_plugin.watch.charts import MAX_SCORE, UPDATE_DELAY_NIGHTS, Charts
from tests.charts_by_hand import judge_by_hand

NO_LIMIT = 99.0


def make_night(day, *values, image_variance=0.0, images=1.0):
    """A night of as many charts as values."""
    shape = len(values)
    return Night(day, np.array(values), np.full(shape, image_variance), np.full(shape, images))


def run(values, days=None, steady=0.0, charts=None, teaches=True, limit=NO_LIMIT, **details):
    """Feed nights of one chart; the charts and what they said of the last night."""
    charts = charts or Charts(np.array([steady]))
    checked = None
    for place, value in enumerate(values):
        night = make_night(place if days is None else days[place], value, **details)
        checked = charts.score(night, limit)
        charts.update(night, np.array([teaches]))
    return charts, checked


def unlike(seed, count, mean=0.4):
    """Nights that are unlike their neighbours: the charts find no autocorrelation in them."""
    noise = np.random.default_rng(seed).normal(0, 0.001, count)
    return mean + 0.01 * (-1.0) ** np.arange(count) + noise


def learnt_of(values):
    """What a chart has learnt of so many nights."""
    return values[: len(values) - min(UPDATE_DELAY_NIGHTS, len(values) // 5)]


def t_of_a_new_value(value, segments):
    """t and degrees of freedom by least squares: a mean for each segment, and tonight's effect."""
    y = np.concatenate([*segments, [value]])
    design = np.zeros((len(y), len(segments) + 1))
    start = 0
    for column, segment in enumerate(segments):
        design[start : start + len(segment), column] = 1
        start += len(segment)
    design[-1, -2:] = 1
    coefficients, residuals, *_ = np.linalg.lstsq(design, y, rcond=None)
    freedom = len(y) - design.shape[1]
    variance = residuals[0] / freedom * np.linalg.inv(design.T @ design)[-1, -1]
    return coefficients[-1] / math.sqrt(variance), freedom


@pytest.mark.parametrize("count", [pytest.param(n, id=f"{n} nights") for n in (8, 15, 40)])
@pytest.mark.parametrize("away", [-0.05, -0.01, 0.002, 0.05])
def test_without_autocorrelation_the_score_is_that_of_a_t_test(count, away):
    """Nights that are unlike their neighbours: a t-test with tonight as the sample of one."""
    past = unlike(count, count)
    value = past.mean() + away
    known = learnt_of(past)

    _, checked = run([*past, value])

    p_value = stats.linregress([0.0] * len(known) + [1.0], [*known, value]).pvalue
    assert abs(checked.score[0]) == pytest.approx(min(stats.norm.isf(p_value / 2), MAX_SCORE))
    assert math.copysign(1, checked.score[0]) == math.copysign(1, value - known.mean())
    assert checked.expected[0] == checked.predicted[0] == pytest.approx(known.mean())
    assert checked.effect[0] == pytest.approx((value - known.mean()) / known.std(ddof=1))


@pytest.mark.parametrize("seed", range(4))
def test_scores_against_the_formulas_in_plain_python(seed):
    """Resembling nights of three statistics, with gaps, alarms, new levels and few images: every
    number equals that of the same formulas worked out from the list of nights learnt."""
    generator = np.random.default_rng(seed)
    days = np.flatnonzero(generator.random(70) < 0.8)
    state, nights, is_ordinary = np.zeros(3), [], []
    for day in days:
        state = 0.6 * state + generator.normal(0, [0.1, 0.3, 0.02])
        images = float(generator.integers(2, 60))
        value = state + generator.normal(0, images**-0.5, 3)
        nights.append(Night(int(day), value, np.array([1.0, 1.2, 0.8]), np.full(3, images)))
        is_ordinary.append(bool(generator.random() < 0.85))
    starts, steady, limit = {20, 41}, np.array([0.01, 0.01, 0.3]), 2.0
    charts = Charts(steady)
    expected = judge_by_hand(nights, is_ordinary, starts, steady, limit)

    for place, night in enumerate(nights):
        if place in starts:
            charts.reset_level(np.ones(3, bool))
        checked = charts.score(night, limit)
        charts.update(night, np.full(3, is_ordinary[place]))
        for name, values in expected[place].items():
            np.testing.assert_allclose(
                getattr(checked, name), values, rtol=1e-7, atol=1e-9, err_msg=f"{name} {place}"
            )
    assert np.isfinite(checked.score).all()


@pytest.mark.parametrize(
    ("count", "is_tested"), [(4, False), (5, True)], ids=["four nights", "five nights"]
)
def test_four_nights_must_be_learnt_before_one_is_tested(count, is_tested):
    """Four nights must be known before the first that is tested, the fifth."""
    _, checked = run([*unlike(0, count - 1), 0.9])

    assert bool(np.isfinite(checked.score[0])) is is_tested
    assert bool(np.isfinite(checked.average[0])) is is_tested


def test_first_night_has_nothing_to_compare_with():
    """Neither an expectation nor a score."""
    _, checked = run([0.4])

    for name in ("expected", "predicted", "effect", "score", "average"):
        assert math.isnan(getattr(checked, name)[0]), name


@pytest.mark.parametrize(
    ("before", "wait"),
    [pytest.param(4, 1, id="one of five"), pytest.param(14, 3, id="three of fifteen"),
     pytest.param(40, UPDATE_DELAY_NIGHTS, id="at most seven")],
)  # fmt: skip
def test_a_night_teaches_only_after_a_while(before, wait):
    """The level moves so many nights after the night that moved it; fewer at the start."""
    charts, _ = run([*[0.4] * before, 0.9])

    levels = []
    for later in range(1, wait + 2):
        levels.append(charts.level[0])
        run([0.4], days=[before + later], charts=charts)

    assert levels[:wait] == pytest.approx([0.4] * wait)
    assert levels[wait] > 0.4 + 0.5 / (before + 2)


def test_new_segment_forgets_the_level_and_keeps_the_spread():
    """The first night after a new level is tested, with how nights differed in both segments."""
    old, new = unlike(13, 12), unlike(14, 3, mean=0.2)
    charts, _ = run(old)
    charts.reset_level(np.array([True]))
    assert math.isnan(charts.level[0])
    run(new, days=range(12, 15), charts=charts)

    _, checked = run([0.23], days=[15], charts=charts)

    t, freedom = t_of_a_new_value(0.23, [old, new])
    assert checked.expected[0] == pytest.approx(new.mean())
    assert stats.t.isf(stats.norm.sf(checked.score[0]), freedom) == pytest.approx(t, rel=1e-6)


def test_new_segments_of_one_chart_do_not_hasten_the_other():
    """Its nights wait as long as ever before they teach."""
    values = unlike(3, 40)
    both, alone = Charts(np.zeros(2)), Charts(np.zeros(1))
    for day, value in enumerate(values):
        if day % 8 == 0:
            both.reset_level(np.array([True, False]))
        both.update(make_night(day, value, value), np.array([True, True]))
        alone.update(make_night(day, value), np.array([True]))

    assert both.level[1] == alone.level[0] == pytest.approx(np.mean(learnt_of(values)))
    assert both.level[0] != alone.level[0]


def test_new_segment_of_one_chart_leaves_the_level_of_the_other():
    """A new version's scores start anew, and the lamp's level stays."""
    charts = Charts(np.zeros(2))
    for day, value in enumerate(unlike(5, 12)):
        charts.update(make_night(day, value, value), np.array([True, True]))
    charts.reset_level(np.array([True, False]))

    assert math.isnan(charts.level[0])
    assert charts.level[1] == pytest.approx(0.4, abs=0.002)


@pytest.mark.parametrize("gap", [1, 2, 5, 7, 8, 30])
def test_missing_nights_reduce_what_is_carried_over(gap):
    """The prediction keeps a power of the last night's distance; after a week nothing of it."""
    values = np.random.default_rng(8).normal(0, 1, 40)
    values[-1] = 3.0
    charts, _ = run(values)
    level, kept = charts.level[0], charts.autocorrelation[0]
    assert 0.05 < kept < 0.5

    _, checked = run([0.0], days=[39 + gap], charts=charts)

    share = kept**gap if gap <= 7 else 0.0
    assert checked.predicted[0] == pytest.approx(level + share * (3.0 - level))


def test_night_of_few_images_is_judged_more_widely():
    """The distance that is an alarm with 400 images is nothing with four."""
    values = np.random.default_rng(9).normal(0, 400**-0.5, 40)
    scores, effects = {}, {}
    for images in (400, 4):
        charts, _ = run(values, image_variance=1.0, images=400)
        _, checked = run([0.4], [40], charts=charts, image_variance=1.0, images=images)
        scores[images], effects[images] = checked.score[0], checked.effect[0]

    assert scores[400] > 5
    assert abs(scores[4]) < 1
    assert effects[4] == pytest.approx(0.4 / math.sqrt(1 / 4), rel=0.05)


def test_alarmed_night_teaches_nothing_and_counts_in_the_average():
    """Level, spread and resemblance are as if it had not been; the average remembers it."""
    quiet = np.random.default_rng(10).normal(0, 1, 41)
    with_it, _ = run(quiet[:30])
    without, before = run(quiet[:30])
    _, odd = run([6.0], days=[30], charts=with_it, teaches=False)
    assert odd.average[0] > before.average[0] + 1

    _, after = run(quiet[30:], days=range(31, 42), charts=with_it)
    _, expected = run(quiet[30:], days=range(31, 42), charts=without)

    assert with_it.level == pytest.approx(without.level, abs=1e-12)
    assert with_it.autocorrelation == pytest.approx(without.autocorrelation, abs=1e-12)
    assert after.score == pytest.approx(expected.score, abs=1e-9)
    assert after.average != pytest.approx(expected.average, abs=1e-3)


def test_one_odd_night_counts_in_the_average_as_its_limit():
    """However far out it is, it weighs no more than a jump at the limit."""
    averages = [run([*unlike(11, 30), far], limit=3.0)[1].average[0] for far in (1.0, 1e6)]
    lower = run([*unlike(11, 30), 1.0], limit=2.0)[1].average[0]

    assert averages[0] == pytest.approx(averages[1])
    assert lower < averages[0]


def test_charts_side_by_side_do_not_know_of_each_other():
    """Charts of shape (years, statistics) equal as many runs of the statistics of a year."""
    generator = np.random.default_rng(12)
    values, variances = generator.normal(0, 1, (25, 4, 3)), np.array([0.5, 1.0, 2.0])
    is_ordinary = generator.random((25, 4)) < 0.8
    together = Charts(np.full((4, 3), 0.01))
    alone = [Charts(np.full(3, 0.01)) for _ in range(4)]
    wide = np.broadcast_to(variances, (4, 3))

    for day in range(25):
        night = Night(day, values[day], wide, np.full((4, 3), 9.0))
        found = together.score(night, 3.0)
        together.update(night, np.broadcast_to(is_ordinary[day][:, None], (4, 3)))
        for year, charts in enumerate(alone):
            single = Night(day, values[day, year], variances, np.full(3, 9.0))
            expected = charts.score(single, 3.0)
            charts.update(single, np.full(3, is_ordinary[day, year]))
            np.testing.assert_allclose(found.score[year], expected.score, atol=1e-9)
            np.testing.assert_allclose(found.average[year], expected.average, atol=1e-9)
    assert np.isfinite(found.score).all()


@given(shift=st.floats(-5, 5), scale=st.floats(0.1, 1000), seed=st.integers(0, 100))
def test_scores_do_not_depend_on_the_unit(shift, scale, seed):
    """In other units of measurement a night is as far out as before."""
    values = np.append(np.random.default_rng(seed).normal(0.4, 0.05, 12), 0.5)

    _, plain = run(values, image_variance=0.04, images=30)
    _, converted = run(values * scale + shift, image_variance=0.04 * scale**2, images=30)

    assert converted.score == pytest.approx(plain.score, rel=1e-4, abs=1e-5)
    assert converted.average == pytest.approx(plain.average, rel=1e-4, abs=1e-5)
    assert converted.effect == pytest.approx(plain.effect, rel=1e-4, abs=1e-5)


def test_steady_nights_do_not_make_the_chart_nervous():
    """After nights that were all alike a change is measured against the steady deviation."""
    _, checked = run([0.4] * 20 + [0.404], steady=0.002)

    pairs = 15  # of 16 nights learnt
    resemblance = PRIOR_PAIRS * PRIOR_AUTOCORRELATION / (PRIOR_PAIRS + pairs)
    t = 2 / math.sqrt((1 - resemblance**2) * (1 + 1 / 16))
    assert checked.effect[0] == pytest.approx(2)
    assert checked.score[0] == pytest.approx(stats.norm.isf(stats.t.sf(t, 15)), rel=1e-6)


@pytest.mark.parametrize("sign", [1, -1], ids=["above", "below"])
def test_score_has_an_end(sign):
    """Absurdly far out is a number still, on either side."""
    _, checked = run([*unlike(0, 300), sign * 1e6])

    assert checked.score[0] == sign * MAX_SCORE
    assert np.isfinite(checked.average[0])


@pytest.mark.parametrize("truth", [0.0, 0.3, 0.6])
def test_autocorrelation_is_learnt(truth):
    """Of a thousand nights it is the series' own, within three standard errors."""
    generator = np.random.default_rng(17)
    shape, count = 40, 400
    charts, state = Charts(np.zeros(shape)), generator.standard_normal(shape)
    for day in range(count):
        state = truth * state + math.sqrt(1 - truth**2) * generator.standard_normal(shape)
        night = Night(day, state, np.zeros(shape), np.ones(shape))
        charts.update(night, np.ones(shape, bool))

    error = math.sqrt((1 - truth**2) / count)
    found = charts.autocorrelation
    assert np.median(found) == pytest.approx(truth, abs=3 * error / math.sqrt(shape) + 0.01)
    assert np.abs(found - truth).max() < 5 * error


def test_autocorrelation_begins_with_the_prior_and_has_an_end():
    """Before any nights it is the belief; nights that only creep do not make it one."""
    assert Charts(np.zeros(2)).autocorrelation.tolist() == [PRIOR_AUTOCORRELATION] * 2

    assert run(np.arange(300.0))[0].autocorrelation[0] == MAX_AUTOCORRELATION
    assert run(unlike(1, 300))[0].autocorrelation[0] == 0


def test_night_without_a_value_is_no_night():
    """A statistic that a night lacks is neither tested nor learnt, and disturbs no later one."""
    charts, _ = run(unlike(3, 30))

    for day in range(30, 45):
        _, missing = run([math.nan], days=[day], charts=charts)
    _, after = run([0.4], days=[45], charts=charts)

    assert math.isnan(missing.score[0])
    assert math.isnan(missing.average[0])
    assert after.expected[0] == pytest.approx(unlike(3, 30).mean())
    assert abs(after.score[0]) < 1
    assert math.isfinite(after.average[0])
