"""How long a training lasts, on a clock that the tests set themselves."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.training import schedule
from reconad_plugin.training.schedule import (
    LONGEST_S,
    PACE_STEPS,
    WARMUP_SHARE,
    Clock,
    anomalies_per_image,
    learning_rate_share_at,
    natural_steps,
)


class Watch:
    """Seconds that pass only when they are told to."""

    def __init__(self):
        self.now_s = 1000.0

    def monotonic(self):
        return self.now_s


@pytest.fixture
def watch(monkeypatch):
    """The watch that the clock reads."""
    watch = Watch()
    monkeypatch.setattr(schedule, "time", SimpleNamespace(monotonic=watch.monotonic))
    return watch


def run(clock, watch, step_s):
    """Train to the end with steps of some seconds; the rates of all steps."""
    rates = []
    while clock.goes_on():
        rates.append(clock.learning_rate_share())
        watch.now_s += step_s(clock.step) if callable(step_s) else step_s
        clock.tick()
    return rates


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        pytest.param(1, 500, id="one image"),
        pytest.param(10, 500, id="ten"),
        pytest.param(30, 350, id="half way from ten to fifty"),
        pytest.param(50, 200, id="fifty"),
        pytest.param(75, 150, id="half way from fifty to a hundred"),
        pytest.param(100, 100, id="a hundred"),
        pytest.param(10_000, 100, id="many"),
    ],
)
def test_few_images_are_seen_with_more_anomalies(images, expected):
    """The table by hand, with straight lines between."""
    assert anomalies_per_image(images) == expected


@pytest.mark.parametrize(
    ("images", "batch_size", "expected"),
    [
        pytest.param(100, 8, 2500, id="100 images, each 100 times in half of a batch of 8"),
        pytest.param(10, 16, 625, id="10 images, each 500 times in half of a batch of 16"),
        pytest.param(10, 7, 1429, id="a batch that does not divide them is rounded up"),
        pytest.param(1, 10_000, 1, id="one step at least"),
    ],
)
def test_number_of_images_asks_for_steps(images, batch_size, expected):
    """Half of each batch has an anomaly."""
    assert natural_steps(images, batch_size) == expected


@pytest.mark.parametrize(
    ("settings", "wished", "budget_s"),
    [
        pytest.param({"steps": 40}, 40, math.inf, id="steps, however long they take"),
        pytest.param({"steps": 40, "budget_s": 9.5}, 40, 9.5, id="steps and budget"),
        pytest.param({"budget_s": 9.5}, math.inf, 9.5, id="budget"),
        pytest.param({}, 2500, LONGEST_S, id="neither: as the images ask"),
    ],
)
def test_settings_give_plan_and_budget(settings, wished, budget_s):
    """Steps, budget, both or neither."""
    clock = Clock.of(TrainingSettings(**settings), images=100, batch_size=8)

    assert (clock.wished_steps, clock.budget_s) == (wished, budget_s)


def test_plan_that_fits_is_kept(watch):
    """A budget that does not bind changes neither steps nor rates, however quick the steps are."""
    for step_s in (0.1, 2.0, 4.5):
        clock = Clock(200, budget_s=1000)

        rates = run(clock, watch, step_s)

        assert rates == [learning_rate_share_at(step, 200) for step in range(200)]
        assert not clock.is_budget_bound


def test_steps_alone_are_taken_however_long_they_take(watch):
    """Without a budget nothing shortens a plan."""
    clock = Clock.of(TrainingSettings(steps=30), images=10, batch_size=8)

    rates = run(clock, watch, 10_000.0)

    assert rates == [learning_rate_share_at(step, 30) for step in range(30)]
    assert (clock.step, clock.planned_steps, clock.is_budget_bound) == (30, 30, False)


@pytest.mark.parametrize(
    "wished", [pytest.param(1_000_000, id="too many steps"), pytest.param(math.inf, id="no steps")]
)
@pytest.mark.parametrize("step_s", [pytest.param(s, id=f"{s} s a step") for s in (0.01, 0.5, 3.0)])
def test_plan_is_what_the_budget_affords(watch, wished, step_s):
    """The plan follows from the pace, is known after ten steps and is used to its end."""
    clock = Clock(wished, budget_s=100.0)
    start_s = watch.now_s

    for _ in range(PACE_STEPS + 1):
        assert not clock.is_paced
        watch.now_s += step_s
        clock.tick()
    assert clock.is_paced
    assert clock.planned_steps == pytest.approx(100 / step_s, abs=1)
    run(clock, watch, step_s)

    assert clock.step == clock.planned_steps
    assert clock.is_budget_bound
    assert 95 < watch.now_s - start_s <= 100 + step_s


def test_first_step_does_not_count_for_the_pace(watch):
    """The first step allocates; that it is slow shortens the budget and not the pace."""
    clock = Clock(math.inf, budget_s=100.0)

    run(clock, watch, lambda step: 0.5 if step else 20)

    assert clock.step == pytest.approx(1 + 80 / 0.5, abs=1)


def test_plan_follows_a_pace_that_changes(watch):
    """Where steps become slower the plan shrinks, and the budget is kept all the same."""
    clock, start_s = Clock(math.inf, budget_s=100.0), watch.now_s

    run(clock, watch, lambda step: 0.1 if step < 300 else 1.0)

    assert 95 < watch.now_s - start_s <= 101
    assert 300 + 60 < clock.step < 300 + 75
    assert clock.step == clock.planned_steps


def test_plan_never_grows_beyond_the_wish(watch):
    """A budget that binds at first and then does not gives the steps that were wished for."""
    clock = Clock(400, budget_s=100.0)

    run(clock, watch, lambda step: 1.0 if step < 15 else 0.01)

    assert (clock.step, clock.planned_steps) == (400, 400)
    assert not clock.is_budget_bound


def test_reserve_is_left_over(watch):
    """Seconds that are kept for a last look are not spent on steps."""
    clock, start_s = Clock(math.inf, budget_s=100.0), watch.now_s
    clock.reserve_s = 30.0

    run(clock, watch, 0.5)

    assert 65 < watch.now_s - start_s <= 70.5


def test_steps_so_slow_that_no_pace_is_known_end_with_the_budget(watch):
    """A budget of four steps is not overdrawn by more than a step."""
    clock, start_s = Clock(1000, budget_s=35.0), watch.now_s

    run(clock, watch, 10.0)

    assert clock.step == 4
    assert watch.now_s - start_s == 40.0


def test_seconds_before_a_kill_count(watch):
    """Who resumes has what is left of the budget."""
    clock, start_s = (
        Clock(math.inf, budget_s=100.0, planned_steps=200, step=150, earlier_s=75.0),
        watch.now_s,
    )
    assert clock.elapsed_s == 75.0

    run(clock, watch, 0.5)

    assert clock.step == pytest.approx(200, abs=1)
    assert clock.elapsed_s == 75.0 + watch.now_s - start_s
    assert watch.now_s - start_s == pytest.approx(25, abs=1)


def test_resumed_plan_has_the_rates_of_the_whole(watch):
    """The schedule goes on where it was."""
    whole = run(Clock(40, budget_s=1000.0), watch, 0.1)

    rest = run(Clock(40, 1000.0, planned_steps=40, step=25, earlier_s=2.5), watch, 0.1)

    assert rest == whole[25:]


def test_rate_warms_up_while_the_pace_is_unknown(watch):
    """Without a plan the rate rises gently, to the height of what a warm-up lasts."""
    clock = Clock(math.inf, budget_s=100.0)

    rates = run(clock, watch, 0.5)

    early = rates[: PACE_STEPS + 1]
    assert early == pytest.approx([(n + 1) / (PACE_STEPS + 1) * WARMUP_SHARE for n in range(11)])
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[-1] < 0.01


def test_rate_by_hand():
    """Of 100 steps five warm up; then the rate falls along a cosine."""
    rates = [learning_rate_share_at(step, 100) for step in range(100)]

    assert rates[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert rates[5 + 19] == pytest.approx(0.5 + 0.5 * math.cos(math.pi * 19 / 95))
    assert rates[99] == pytest.approx(0.5 + 0.5 * math.cos(math.pi * 94 / 95))


@given(planned=st.integers(1, 3000), share=st.floats(0, 1, exclude_max=True))
def test_rate_stays_within_its_height(planned, share):
    """At every step of every plan the rate is positive and at most full."""
    assert 0 < learning_rate_share_at(int(share * planned), planned) <= 1


@given(planned=st.integers(2, 500))
def test_rate_rises_and_then_falls(planned):
    """A schedule has one top, and none is beyond its end."""
    rates = [learning_rate_share_at(step, planned) for step in range(planned)]
    top = rates.index(max(rates))

    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert learning_rate_share_at(planned + 5, planned) == pytest.approx(0)
