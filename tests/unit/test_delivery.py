"""A camera that hangs, and a position of the camera that is silent."""

from dataclasses import replace

import numpy as np
import pytest

from reconad_plugin.images.features import hash_pixels
from reconad_plugin.watch.delivery import KNOWN_NIGHTS, LEAST_NIGHTS, camera_faults, hung_camera
from reconad_plugin.watch.results import CameraFault
from reconad_plugin.watch.statistics import Repeats
from tests.nights import name_of, night, seen_from

USUAL = [{"left": left, "right": 36 - left} for left in (12, 20, 16, 15, 18, 13)]


def nights(counts):
    """Nights with so many images of each position."""
    return [
        seen_from(place, **{name: (images, 0.5) for name, images in of_night.items() if images})
        for place, of_night in enumerate(counts)
    ]


def faults(tonight, known=USUAL, repeats=None, new_levels=()):
    """What is found tonight after such nights."""
    *before, last = nights([*known, tonight])
    new_levels = {name_of(place) for place in new_levels}
    return camera_faults(before, replace(last, repeats=repeats or Repeats()), new_levels)


def silent(tonight, known=USUAL, new_levels=()):
    """The positions that are missed."""
    found = faults(tonight, known, None, new_levels)
    assert all(fault.pictures == 0 and fault.share_of_limit > 1 for fault in found)
    return [fault.position for fault in found]


def test_a_position_that_is_silent_is_found():
    """With how many it sent on the other nights."""
    (fault,) = faults({"right": 18})

    assert (fault.position, fault.fewest, fault.most) == ("left", 12, 20)
    assert fault.share_of_limit == pytest.approx(18 * np.log(2 / 3) / np.log(0.005 / 2))


@pytest.mark.parametrize(
    ("tonight", "known", "missed"),
    [
        pytest.param({"left": 1, "right": 30}, USUAL, [], id="few of it"),
        pytest.param({"right": 5}, USUAL, [], id="few in all"),
        pytest.param({"right": 18}, USUAL[: LEAST_NIGHTS - 1], [], id="few nights"),
        pytest.param({"right": 36}, [*USUAL, {"right": 20}, *USUAL], [], id="not always seen"),
        pytest.param({"right": 50}, [*USUAL, {"right": 20}, *USUAL], ["left"], id="longest gap"),
        pytest.param(
            {"right": 5}, [*USUAL, {"right": 5}, {"right": 6}], ["left"], id="few on three nights"
        ),
        pytest.param(
            {"right": 36},
            [{"left": 4, "right": 20}] * 5 + [{"right": 12}] + [{"left": 4, "right": 20}] * 2,
            [],
            id="seldom, with a gap",
        ),
        pytest.param({"right": 18}, [{"right": 20}] * 5 + USUAL, ["left"], id="new since a week"),
        pytest.param({"right": 18}, [{"left": 20}] * 9, [], id="another position"),
        pytest.param(
            {"right": 18}, [{"right": 9}] * 9 + [{"left": 9}] * 9, [], id="moved there and back"
        ),
        pytest.param({"above": 18}, USUAL, [], id="folders of other names"),
        pytest.param({"": 40}, USUAL, [], id="files that name no position"),
        pytest.param({"left": 40}, [{"left": 9, "": 9}] * 9, [], id="no file without a position"),
        pytest.param({"b": 20}, [{"a": 9, "b": 9, "c": 9}] * 9, ["a", "c"], id="two of three"),
        pytest.param(
            {f"p{at}": 4 for at in range(1, 15)},
            [{f"p{at}": 4 for at in range(15)}] * 9,
            [],
            id="few a position",
        ),
        pytest.param(
            {f"p{at}": 9 for at in range(1, 15)},
            [{f"p{at}": 9 for at in range(15)}] * 9,
            ["p0"],
            id="one of fifteen",
        ),
    ],
)
def test_what_is_missed(tonight, known, missed):
    """A position is missed where it was always seen and so many images elsewhere are no chance."""
    assert silent(tonight, known) == missed


def test_a_night_without_positions_misses_none():
    """Where folders or the pattern were given up."""
    assert camera_faults(nights(USUAL), night(9, images=30)) == ()
    assert camera_faults([], nights(USUAL)[0]) == ()


def test_a_position_that_was_taken_away_is_forgotten():
    """One night that a person resolved is enough; later it is not even known any more."""
    gone = [{"right": 18}] * KNOWN_NIGHTS

    assert silent({"right": 18}, [*USUAL, *gone[:1]], new_levels=[len(USUAL)]) == []
    assert silent({"right": 18}, [*USUAL, *gone[:9]], new_levels=[len(USUAL)]) == []
    assert silent({"right": 18}, [*USUAL, *gone]) == []


def test_a_position_that_came_back_is_missed_again():
    """Later than before: it was away without harm for a night."""
    known = [*USUAL, {"right": 18}, *USUAL]

    assert silent({"right": 18}, known, new_levels=[len(USUAL)]) == []
    assert silent({"right": 18}, [*known, {"right": 20}], new_levels=[len(USUAL)]) == ["left"]


@pytest.mark.parametrize(
    ("repeats", "is_found"),
    [
        pytest.param(Repeats("", 20, 19), True, id="all but one"),
        pytest.param(Repeats("", 20, 20), True, id="all of them"),
        pytest.param(Repeats("left", 20, 5), True, id="a quarter of a position"),
        pytest.param(Repeats("", 20, 4), False, id="a fifth"),
        pytest.param(Repeats(), False, id="none"),
    ],
)
def test_a_camera_that_repeats_a_frame_hangs(repeats, is_found):
    """Beyond its limit, on the way to which the dashboard shows the night."""
    found = hung_camera(repeats)

    assert (found is not None) is is_found
    if found:
        beyond = pytest.approx(repeats.share / 0.2)
        assert found == CameraFault(repeats.position, beyond, repeats.pictures, repeats.repeated)


@pytest.mark.parametrize(
    ("usual", "repeated", "is_found"),
    [
        pytest.param(3, 10, True, id="a frame of now and then"),
        pytest.param(12, 15, False, id="an empty belt, as ever"),
        pytest.param(12, 18, True, id="more than the empty belt"),
        pytest.param(20, 20, False, id="pictures that are truly equal"),
    ],
)
def test_frames_that_ordinary_nights_repeat_are_no_alarm(usual, repeated, is_found):
    """A person resolved such a night; the limit lies halfway from there to all."""
    before = [replace(each, repeats=Repeats("", 20, usual)) for each in nights(USUAL)]
    tonight = replace(before[0], repeats=Repeats("", 20, repeated))

    assert bool(camera_faults(before, tonight)) is is_found


def test_one_fault_does_not_hide_the_other():
    """Where left hangs right can be silent; where all hang nothing is known of the positions."""
    known = [{"left": 9, "right": 9, "top": 18}] * 9

    hung_left = faults({"left": 1, "top": 30}, known, Repeats("left", 9, 8))
    only_left = faults({"right": 9, "top": 18}, known, Repeats("left", 9, 9))
    hung_all = faults({"left": 30}, known, Repeats("", 40, 10))
    unnamed = faults({"left": 30}, [{"left": 9, "": 9}] * 9, Repeats("left", 40, 10))

    assert [fault.position for fault in hung_left] == ["left", "right"]
    assert [fault.position for fault in only_left] == ["left"]
    assert [fault.position for fault in hung_all] == [""]
    assert [fault.position for fault in unnamed] == ["left"]


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda source, shape: source.integers(1, 25, shape), id="any number"),
        pytest.param(lambda source, shape: source.poisson(9, shape), id="by chance"),
        pytest.param(
            lambda source, shape: source.multinomial(16, [0.5, 0.3, 0.2], shape[:2]), id="by turns"
        ),
        pytest.param(
            lambda source, shape: source.poisson(
                12 * source.gamma(9, 1 / 9, (*shape[:2], 1)), shape
            ),
            id="long and short nights",
        ),
    ],
)
def test_ten_thousand_ordinary_nights_miss_next_to_nothing(draw):
    """In 400 first months of changing counts at three positions one is missed once at most."""
    months = draw(np.random.default_rng(5), (400, 30, 3))
    found = []
    for month in months:
        known = nights([dict(zip("abc", counts.tolist(), strict=True)) for counts in month])
        found += [camera_faults(known[:last], known[last]) for last in range(5, 30)]

    assert len(found) == 10_000
    assert sum(map(bool, found)) <= 1


def test_ten_thousand_exposures_of_a_still_scene_differ():
    """A noise of half a shade of grey is enough."""
    source = np.random.default_rng(6)
    scene = source.integers(40, 200, (16, 16, 3))
    exposures = (scene + source.normal(0, 0.5, (10_000, *scene.shape))).round().astype(np.uint8)

    assert len({hash_pixels(exposure) for exposure in exposures}) == len(exposures)
