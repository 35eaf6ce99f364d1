"""Earlier pictures in tonight's light."""

import pytest
import torch

from reconad_plugin.training.relight import position_lights, relight

LAMP = torch.tensor([0.6, 0.7, 0.8]).view(3, 1, 1)


@pytest.fixture
def night():
    """(8, 3, 16, 16) uint8 pictures, dark ones of the left position and bright ones of the right,
    and where they were taken."""
    random = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    level = torch.tensor([30.0, 120.0]).repeat(4).view(8, 1, 1, 1)
    return (level + 80 * random).byte(), ["left", "right"] * 4


def under(lamp, pictures):
    """What another lamp makes of them."""
    return (pictures * lamp).round().byte()


def test_relit_pictures_are_what_the_lamp_makes_of_them(night):
    """To a grey level, each colour by itself; dark pictures stay dark."""
    pictures, positions = night
    dimmed = under(LAMP, pictures)

    relit = relight(
        pictures, position_lights(pictures, positions), position_lights(dimmed, positions)
    )

    assert relit.dtype == torch.uint8
    assert (relit.int() - dimmed.int()).abs().max() <= 1


def test_a_night_of_dark_positions_is_no_darker_light(night):
    """Only what both nights have seen is compared; where nothing is, everything is."""
    pictures, positions = night
    tonight = under(LAMP, pictures[::2])  # the left position alone
    old = position_lights(pictures, positions)

    by_position = relight(pictures, old, position_lights(tonight, ["left"] * 4))
    blind = relight(pictures, old, position_lights(tonight, ["new"] * 4))

    assert (by_position.int() - under(LAMP, pictures).int()).abs().max() <= 1
    assert blind.float().mean() < 0.8 * by_position.float().mean()


def test_light_beyond_a_pixel_is_white(night):
    """More light than a pixel can hold clips, as in a camera, and does not turn dark."""
    pictures, _ = night
    bright, dark = pictures[1::2], pictures[::2]

    relit = relight(
        bright,
        position_lights(dark, ["left"] * 4),
        position_lights((dark.float() + 100).byte(), ["left"] * 4),
    )

    assert relit.max() == 255
    assert (relit >= bright).all()
