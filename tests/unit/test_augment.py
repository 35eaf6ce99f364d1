"""Light and poses as training sees them."""

import pytest
import torch
from torch import Generator

from reconad_plugin.images.light import ENCODING_EXPONENT
from reconad_plugin.training.augment import (
    COLOUR_RANGE,
    CONTRAST_RANGE,
    POWER_RANGE,
    TURNED_SHARE,
    choose_geometry,
    common_asymmetry,
    vary_geometry,
    vary_light,
)


@pytest.fixture
def pictures():
    """(200, 3, 8, 8) float, all alike, with some contrast."""
    picture = 0.3 + 0.2 * torch.rand(1, 3, 8, 8, generator=Generator().manual_seed(1))
    return picture.repeat(200, 1, 1, 1)


def test_same_generator_gives_the_same_light(pictures):
    """The generator is the only source of chance."""
    first = vary_light(pictures, Generator().manual_seed(3))
    second = vary_light(pictures, Generator().manual_seed(3))
    other = vary_light(pictures, Generator().manual_seed(4))

    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_input_is_left_as_it_is(pictures):
    """The pictures themselves are not changed."""
    before = pictures.clone()

    vary_light(pictures, Generator().manual_seed(0))

    assert torch.equal(pictures, before)


def test_each_picture_has_its_own_light(pictures):
    """No two pictures of a batch are lit alike."""
    means = vary_light(pictures, Generator().manual_seed(0)).mean((1, 2, 3))

    assert len(set(means.tolist())) == 200


def test_light_covers_its_range_and_no_more(pictures):
    """Mean light lies between the weakest and the strongest lamp, and comes near both."""
    low, high = (power ** (1 / ENCODING_EXPONENT) for power in POWER_RANGE)

    gain = vary_light(pictures, Generator().manual_seed(0)).mean((1, 2, 3)) / pictures.mean()

    assert low * (1 - COLOUR_RANGE) <= gain.min() < low * 1.05
    assert high * 0.95 < gain.max() <= high * (1 + COLOUR_RANGE)


def test_colours_shift_against_each_other(pictures):
    """The ratio of red to green moves by at most twice the colour range, contrast aside."""
    bluish = torch.full((200, 3, 8, 8), 0.5)
    bluish[:, 2] = 0.52

    varied = vary_light(bluish, Generator().manual_seed(0))[:, :, 0, 0]

    shift = (varied[:, 0] / varied[:, 1]).log().abs()
    assert shift.max() > 0.05
    assert shift.max() < CONTRAST_RANGE[1] * 2 * COLOUR_RANGE * 1.1


def test_a_grey_camera_sees_no_colour_of_a_lamp():
    """Pictures without colour stay without."""
    grey = torch.full((20, 3, 8, 8), 0.5)

    varied = vary_light(grey, Generator().manual_seed(0))

    assert torch.equal(varied[:, 0], varied[:, 1])
    assert torch.equal(varied[:, 1], varied[:, 2])
    assert not torch.allclose(varied, grey)


def test_contrast_moves_within_its_range():
    """Contrast relative to the mean changes by at most a tenth, where nothing is clipped."""
    picture = torch.full((200, 3, 8, 8), 0.5)
    picture[..., ::2] = 0.4

    varied = vary_light(picture, Generator().manual_seed(0))[:, 1]

    depth = 1 - varied[:, 0, 0] / varied[:, 0, 1]  # 0.2 where the contrast is unchanged
    assert depth.min() < 0.19
    assert depth.max() > 0.21
    assert depth.min() > 0.15
    assert depth.max() < 0.25


def test_values_stay_in_range():
    """Neither black nor white pictures leave [0, 1]."""
    extremes = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 8, 8)

    varied = vary_light(extremes, Generator().manual_seed(0))

    assert varied.min() >= 0
    assert varied.max() <= 1


@pytest.fixture
def uneven():
    """(300, 3, 8, 8) float, all alike and unlike their mirror images."""
    return torch.rand(1, 3, 8, 8, generator=Generator().manual_seed(2)).repeat(300, 1, 1, 1)


def poses(image):
    """The eight ways to lay a square down."""
    turns = [torch.rot90(image, times, (-2, -1)) for times in range(4)]
    return [*turns, *(turn.flip(-1) for turn in turns)]


def test_fixed_camera_sees_parts_as_they_are(uneven):
    """Without variation the pictures are the same, and no chance is used up."""
    generator = Generator().manual_seed(0)
    before = generator.get_state()

    assert torch.equal(vary_geometry(uneven, "none", generator), uneven)
    assert torch.equal(generator.get_state(), before)


def test_mirrored_parts_come_in_four_poses(uneven):
    """Left to right and upside down, each about half of the time, and never turned."""
    varied = vary_geometry(uneven, "mirror", Generator().manual_seed(0))

    image = uneven[0]
    four = [image, image.flip(-1), image.flip(-2), image.flip(-1, -2)]
    counts = [int((varied == pose).flatten(1).all(1).sum()) for pose in four]
    assert sum(counts) == 300
    assert all(50 < count < 100 for count in counts)


def test_parts_at_any_angle_come_in_eight_poses_or_turned(uneven):
    """Two thirds lie square, in eight poses alike; the others are turned by any angle."""
    varied = vary_geometry(uneven, "rotate", Generator().manual_seed(0))

    counts = [int((varied == pose).flatten(1).all(1).sum()) for pose in poses(uneven[0])]
    assert 1 - sum(counts) / 300 == pytest.approx(TURNED_SHARE, abs=0.08)
    assert all(10 < count < 45 for count in counts)
    assert 0 <= varied.min() <= varied.max() <= 1


def test_turned_pictures_keep_their_brightness():
    """Corners are mirrored and not left black."""
    bright = torch.ones(50, 3, 16, 16)

    torch.testing.assert_close(vary_geometry(bright, "rotate", Generator().manual_seed(0)), bright)


def test_poses_follow_the_generator_and_leave_the_input(uneven):
    """The same seed gives the same poses, and the pictures themselves are not changed."""
    before = uneven.clone()

    first, again, other = (
        vary_geometry(uneven, "rotate", Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(uneven, before)


def parts(count, mirrored):
    """(count, 3, 32, 32) uint8: a ramp down and across with noise, some of them mirrored.

    ``mirrored`` gives the share that lies the other way, left to right and upside down.
    """
    generator = Generator().manual_seed(6)
    across, down = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="xy")
    images = (60 + 3 * across + 2 * down).expand(count, 3, 32, 32).clone().float()
    images += 10 * torch.randn(images.shape, generator=generator)
    for axis in (-1, -2):
        lies_mirrored = torch.rand(count, generator=generator) < mirrored
        images[lies_mirrored] = images[lies_mirrored].flip(axis)
    return images.clamp(0, 255).byte()


@pytest.mark.parametrize(
    ("images", "chosen"),
    [
        pytest.param(parts(60, mirrored=0.0), "none", id="always alike"),
        pytest.param(parts(60, mirrored=0.1), "none", id="nearly always alike"),
        pytest.param(parts(60, mirrored=0.5), "mirror", id="either way"),
        pytest.param(parts(5, mirrored=0.5), "none", id="too few to tell"),
        pytest.param(parts(6, mirrored=0.0), "none", id="six, always alike"),
        pytest.param(parts(60, mirrored=0.5).flip(0), "mirror", id="in another order"),
        pytest.param(torch.full((20, 3, 32, 32), 90, dtype=torch.uint8), "none", id="flat"),
        pytest.param(torch.zeros((0, 3, 32, 32), dtype=torch.uint8), "none", id="no picture"),
    ],
)
def test_pictures_tell_whether_parts_lie_both_ways(images, chosen):
    """Parts that always lie alike are not mirrored; parts that lie either way are."""
    assert choose_geometry(images) == chosen


def test_one_axis_alone_is_not_enough():
    """Parts that lie left or right but never upside down stay as they are."""
    images = parts(60, mirrored=0.0)
    images[::2] = images[::2].flip(-1)

    assert common_asymmetry(images.float(), -1) < 0.1 < 0.5 < common_asymmetry(images.float(), -2)
    assert choose_geometry(images) == "none"


def test_asymmetry_of_a_few_pictures_is_not_taken_for_common():
    """Independent noise has nothing in common, however few pictures there are."""
    noise = torch.randn(500, 4, 3, 6, 6, generator=Generator().manual_seed(2))

    shares = [common_asymmetry(each, -1) for each in noise]

    assert abs(sum(shares) / len(shares)) < 0.01
