"""Light as training sees it."""

import pytest
import torch
from torch import Generator

from reconad_plugin.images.light import ENCODING_EXPONENT
from reconad_plugin.training.augment import (
    COLOUR_RANGE,
    CONTRAST_RANGE,
    POWER_RANGE,
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
    grey = torch.full((200, 3, 8, 8), 0.5)

    varied = vary_light(grey, Generator().manual_seed(0))[:, :, 0, 0]

    shift = (varied[:, 0] / varied[:, 1]).log().abs()
    assert shift.max() > 0.05
    assert shift.max() < CONTRAST_RANGE[1] * 2 * COLOUR_RANGE * 1.1


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
