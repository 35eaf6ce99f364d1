"""Night means that do not depend on which positions of the camera a night has seen."""

import math

import numpy as np
import pytest

from reconad_plugin.watch.positions import night_values
from tests.nights import night, seen_from, series

LEVELS = {"left": 0.8, "middle": 0.5, "right": 0.2}


def seen(place, effect=0.0, **images):
    """A night whose positions are at their levels, moved by the night's effect."""
    return seen_from(place, **{name: (n, LEVELS[name] + effect) for name, n in images.items()})


def values_of(nights, taught=None):
    """Night values of the luminance; by default every night but the last teaches."""
    teaching = np.arange(len(nights)) < len(nights) - 1 if taught is None else np.array(taught)
    return night_values(nights, teaching, "luminance")[0]


def by_least_squares(images, values, teaching):
    """The same fit by numpy: each position's level and each night's effect, all at once."""
    nights, positions = images.shape
    rows, targets = [], []
    for place, at in zip(*np.nonzero(images * teaching[:, None]), strict=True):
        row = np.zeros(nights + positions)
        row[[place, nights + at]] = 1
        root = math.sqrt(images[place, at])  # a mean of so many images counts so much
        rows.append(root * row)
        targets.append(root * values[place, at])
    fitted = np.linalg.lstsq(np.array(rows), np.array(targets), rcond=None)[0]
    levels = fitted[nights:]
    usual = images[teaching].sum(0)
    effects = ((values - levels) * images).sum(1) / images.sum(1)
    return effects + (levels * usual).sum() / usual.sum()


def test_night_that_has_seen_the_bright_position_is_not_brighter():
    """Which positions a night has does not move its value, though it moves the plain mean."""
    nights = [seen(place, left=5, middle=5, right=5) for place in range(6)]
    nights.append(seen(6, left=14, right=1))

    found = values_of(nights)

    np.testing.assert_allclose(found, 0.5, atol=1e-9)
    assert nights[-1].values["luminance"] == pytest.approx(0.76)


@pytest.mark.parametrize(
    "images",
    [
        pytest.param({"left": 5, "middle": 5, "right": 5}, id="as always"),
        pytest.param({"left": 9, "middle": 1}, id="mostly bright"),
        pytest.param({"right": 1}, id="one image of the dark one"),
    ],
)
def test_effect_on_all_positions_is_found_exactly(images):
    """A lamp that is dimmer everywhere is seen as much dimmer, whatever the night has seen."""
    nights = [seen(place, left=5, middle=5, right=5) for place in range(6)]

    found = values_of([*nights, seen(6, effect=-0.07, **images)])

    assert found[-1] - found[0] == pytest.approx(-0.07, abs=1e-9)


def test_unbalanced_nights_against_least_squares():
    """Nights with many or no images of a position, each with an effect and noise, as by numpy."""
    generator = np.random.default_rng(3)
    images = generator.integers(1, 30, (12, 4)) * (generator.random((12, 4)) < 0.7)
    images[np.arange(12), np.arange(12) % 4] = 7  # no night is empty
    values = np.array([0.8, 0.5, 0.45, 0.2]) + generator.normal(0, 0.05, (12, 1))
    values = values + generator.normal(0, 0.01, values.shape)
    teaching = np.arange(12) != 4
    teaching[-1] = False
    nights = [
        seen_from(place, **{f"p{at}": (int(images[place, at]), values[place, at])
                            for at in np.flatnonzero(images[place])})
        for place in range(12)
    ]  # fmt: skip

    found = values_of(nights, teaching)

    np.testing.assert_allclose(found, by_least_squares(images, values, teaching), atol=1e-6)


def test_nights_that_do_not_teach_leave_the_levels_alone():
    """Tonight's own values, and those of alarmed nights, do not move any other night's."""
    nights = [seen(place, left=5, middle=3, right=5) for place in range(6)]
    odd = seen_from(6, left=(5, 0.1), middle=(50, 0.9))

    with_it = values_of([*nights, odd, seen(7, left=2, right=1)], [True] * 6 + [False] * 2)
    without = values_of([*nights, seen(7, left=2, right=1)], [True] * 6 + [False])

    np.testing.assert_allclose(with_it[[0, 1, 2, 3, 4, 5, 7]], without, atol=1e-12)


def test_position_that_is_hardly_known_is_left_out():
    """A position counts once it was seen on two nights that teach."""
    nights = [seen(place, left=5, middle=5) for place in range(5)]
    once = [*nights, seen(5, left=5, middle=5, right=5)]
    twice = [*once, seen(6, left=5, middle=5, right=5)]
    tonight = seen_from(7, left=(5, 0.8), middle=(5, 0.5), right=(90, 0.3))  # right is brighter

    assert values_of([*once, tonight])[-1] == pytest.approx(0.65, abs=1e-9)
    moved = values_of([*twice, tonight])
    assert moved[-1] - moved[0] == pytest.approx(0.09, abs=1e-9)  # 90 of 100 images, by 0.1


def test_positions_that_were_never_seen_together_do_not_compare():
    """Where the camera went from some positions to others, that is no change of light; one that
    comes then is found."""
    nights = [seen(place, left=5, middle=5) for place in range(20)]
    nights += [seen(place, right=5) for place in range(20, 26)]

    found = values_of([*nights, seen(26, effect=-0.07, right=5)])

    np.testing.assert_allclose(found[:26], found[0], atol=1e-9)
    assert found[26] - found[0] == pytest.approx(-0.07, abs=1e-9)


def test_a_value_is_of_the_images_at_known_positions():
    """Images elsewhere make it no more certain."""
    nights = [seen(place, left=5, middle=5) for place in range(5)]
    nights.append(seen(5, left=1, right=59))

    _, images = night_values(nights, np.arange(6) < 5, "luminance")

    assert images.tolist() == [10, 10, 10, 10, 10, 1]


def test_night_without_a_known_position_has_no_value():
    """Where only a new position was seen there is nothing to compare."""
    nights = [seen(place, left=5, middle=5) for place in range(5)]

    found = values_of([*nights, seen(5, right=5)])

    assert math.isnan(found[-1])
    assert np.isfinite(found[:-1]).all()


@pytest.mark.parametrize(
    "nights",
    [
        pytest.param(series([0.4, 0.5, 0.6]), id="no position is known"),
        pytest.param([seen(place, left=3 + place) for place in range(3)], id="only one"),
        pytest.param([seen(0, left=3), seen(1, right=3), seen(2, left=1)], id="none seen twice"),
    ],
)
def test_plain_mean_where_positions_say_nothing(nights):
    """The night's own mean is its value."""
    assert values_of(nights).tolist() == [each.values["luminance"] for each in nights]


def test_nights_before_positions_were_known_have_no_value():
    """Their means are of other positions, and do not compare."""
    nights = [night(0, luminance=0.9), *(seen(place, left=5, right=5) for place in range(1, 5))]

    found = values_of(nights)

    assert math.isnan(found[0])
    np.testing.assert_allclose(found[1:], 0.5, atol=1e-9)


def test_statistic_that_a_night_lacks_has_no_value():
    """A night without the statistic is skipped and disturbs no other."""
    nights = [seen(place, left=5, right=5) for place in range(5)]
    nights[2] = night(2, sharpness=-2.0)

    found = values_of(nights)

    assert np.isnan(found).tolist() == [False, False, True, False, False]
