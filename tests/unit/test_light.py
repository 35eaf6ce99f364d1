"""Light: what a lamp does to a picture, and how it is undone."""

import numpy as np
import pytest
import torch

from reconad_plugin.images.light import (
    STANDARD_DEVIATION,
    STANDARD_MEAN,
    change_light,
    dim_lamp,
    fit_light,
    match_light,
    own_light,
    standard_light,
)
from reconad_plugin.images.light_reference import LightReference


@pytest.fixture
def picture():
    """(2, 3, 16, 16) float with room above and below, each colour with its own mean."""
    generator = torch.Generator().manual_seed(5)
    colours = torch.tensor([0.3, 0.4, 0.35]).view(1, 3, 1, 1)
    return colours + 0.2 * torch.rand(2, 3, 16, 16, generator=generator)


@pytest.fixture
def reference(picture):
    """The light of the first picture, free of the rounding to 8 bits."""
    first = picture[0].flatten(1)
    deviation, mean = torch.std_mean(first, dim=1, correction=0)
    return LightReference(tuple(mean.tolist()), tuple(deviation.tolist()))


def test_full_power_leaves_the_picture(picture):
    """A lamp at its full power changes nothing."""
    torch.testing.assert_close(dim_lamp(picture, 1), picture, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("power", "expected"),
    [
        pytest.param(0.5, 0.8 * 0.5 ** (1 / 2.2), id="half the light"),
        pytest.param(0.0, 0.0, id="no light"),
        pytest.param(2.0, 1.0, id="too much light is clipped"),
    ],
)
def test_power_acts_on_linear_light(power, expected):
    """A pixel of 0.8 is decoded with exponent 2.2, scaled and encoded again."""
    dimmed = dim_lamp(torch.tensor([0.8]), power)

    assert dimmed.item() == pytest.approx(expected, abs=1e-6)


def test_each_picture_has_its_own_power(picture):
    """A tensor of powers dims each picture by its own."""
    powers = torch.tensor([1.0, 0.25]).view(2, 1, 1, 1)

    dimmed = dim_lamp(picture, powers)

    torch.testing.assert_close(dimmed[0], picture[0])
    torch.testing.assert_close(dimmed[1], picture[1] * 0.25 ** (1 / 2.2))


def test_fit_averages_over_pictures_by_hand():
    """The reference is the mean of the pictures' means and of their deviations."""
    flat = torch.full((3, 4, 4), 51, dtype=torch.uint8)
    halves = torch.zeros(3, 4, 4, dtype=torch.uint8)
    halves[:, :2] = 255

    light = fit_light(torch.stack([flat, halves]))

    assert light.mean == pytest.approx((0.35,) * 3)  # (0.2 + 0.5) / 2
    assert light.deviation == pytest.approx((0.2505,) * 3)  # (0.001 at least + 0.5) / 2


@pytest.mark.parametrize("power", [pytest.param(p, id=f"lamp at {p:.0%}") for p in (0.3, 0.7, 1.2)])
def test_match_undoes_the_lamp(picture, reference, power):
    """However strong the lamp, the matched picture is the one taken at full power."""
    dimmed = dim_lamp(picture[:1], power)
    assert (dimmed - picture[:1]).abs().mean() > 0.02

    matched = match_light(reference, dimmed)

    torch.testing.assert_close(matched, picture[:1], rtol=0, atol=1e-4)


def test_match_undoes_a_colour_cast(picture, reference):
    """A lamp that turned warm is undone colour by colour."""
    warm = picture[:1] * torch.tensor([1.1, 1.0, 0.8]).view(1, 3, 1, 1)

    torch.testing.assert_close(match_light(reference, warm), picture[:1], rtol=0, atol=1e-4)


def test_defect_survives_the_match(picture, reference):
    """After a change of lamp is undone, a spot stands out as before and the rest does not."""
    defective = picture[:1].clone()
    defective[:, :, 4:7, 4:7] += 0.4

    difference = (match_light(reference, dim_lamp(defective, 0.5)) - picture[:1]).abs().amax(1)[0]

    assert difference[4:7, 4:7].min() > 0.15
    outside = difference.clone()
    outside[4:7, 4:7] = 0
    assert outside.max() < 0.5 * difference[4:7, 4:7].min()


def test_match_of_a_flat_picture_is_finite(reference):
    """A picture without any contrast becomes the reference's mean colour."""
    matched = match_light(reference, torch.full((1, 3, 16, 16), 0.9))

    torch.testing.assert_close(matched[0, :, 0, 0], torch.tensor(reference.mean), rtol=0, atol=1e-5)


def test_match_stays_within_the_range():
    """A matched picture is clipped to [0, 1]."""
    bright = LightReference((0.95,) * 3, (0.3,) * 3)
    ramp = torch.linspace(0, 1, 256).view(1, 1, 16, 16).expand(1, 3, 16, 16)

    matched = match_light(bright, ramp)

    assert matched.min() >= 0
    assert matched.max() == 1


def test_pictures_are_matched_one_by_one(picture, reference):
    """The other pictures of a batch do not matter."""
    both = match_light(reference, picture)

    torch.testing.assert_close(both[1:], match_light(reference, picture[1:]))


def test_standard_light_has_its_mean_and_deviation(picture):
    """Over all colours and pixels of a picture, whatever its light was."""
    for image in (picture, 0.3 * picture + 0.1):
        lit = standard_light(image, like=image)

        assert lit.mean((1, 2, 3)).tolist() == pytest.approx([STANDARD_MEAN] * 2, abs=1e-4)
        deviation = lit.std((1, 2, 3), correction=0)
        assert deviation.tolist() == pytest.approx([STANDARD_DEVIATION] * 2, abs=1e-4)


def test_standard_light_takes_out_brightness_and_contrast_and_keeps_colours(picture):
    """A hazy picture becomes that of a clear day; one with a colour cast does not."""
    usual = standard_light(picture, like=picture)
    hazy, warm = 0.5 * picture + 0.3, picture * torch.tensor([1.3, 1.0, 0.7]).view(3, 1, 1)

    torch.testing.assert_close(standard_light(hazy, like=hazy), usual, rtol=0, atol=1e-4)
    assert (standard_light(warm, like=warm) - usual).abs().mean() > 0.05


def test_standard_light_is_measured_on_another_picture(picture):
    """The same change is made to a picture as would bring the other to the standard."""
    other = 0.5 * picture + 0.1

    found = standard_light(picture, like=other)

    deviation, mean = torch.std_mean(other, dim=(1, 2, 3), keepdim=True, correction=0)
    expected = (picture - mean) / deviation * STANDARD_DEVIATION + STANDARD_MEAN
    torch.testing.assert_close(found, expected)


def test_own_light_undoes_the_standard(picture):
    """There and back is the picture, each by its own light."""
    torch.testing.assert_close(own_light(standard_light(picture, picture), picture), picture)


@pytest.mark.parametrize("shade", [pytest.param(s, id=f"shade {s}") for s in (0.0, 0.4, 1.0)])
def test_flat_picture_has_a_standard_light(shade):
    """A picture without contrast becomes the mean, and its noise is not blown up."""
    flat = torch.full((1, 3, 8, 8), shade)

    torch.testing.assert_close(
        standard_light(flat, like=flat), torch.full_like(flat, STANDARD_MEAN), rtol=0, atol=1e-3
    )
    noisy = flat + 1e-5 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(0))
    assert (standard_light(noisy, like=noisy) - STANDARD_MEAN).abs().max() < 0.02


def test_a_change_of_light_is_bounded():
    """A colour that was hardly there is raised no more than four times, so that its noise stays
    noise; and back."""
    hardly = LightReference((0.001,) * 3, (0.001,) * 3)
    plain = LightReference((0.5,) * 3, (0.2,) * 3)
    noise = torch.tensor([0, 1, 2, 8], dtype=torch.uint8).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    scene = torch.tensor([0, 40, 80, 120], dtype=torch.uint8).view(1, 1, 2, 2).expand(1, 3, 2, 2)

    raised = change_light(noise, [hardly], [plain]).flatten(2).int()
    lowered = change_light(scene, [plain], [LightReference((0.5,) * 3, (0.001,) * 3)])

    assert (raised - raised[..., :1] == torch.tensor([0, 4, 8, 32])).all()
    assert (lowered.flatten(2).int().diff(dim=2) == 10).all()


def test_pictures_of_numbers_are_brought_to_a_light_as_tensors_are(picture, reference):
    """By a gain and an offset, and level by level."""
    pixels = (255 * dim_lamp(picture, 0.6)).round().byte()

    gain, offset = reference.change(pixels.numpy())
    levels = reference.match_levels(pixels[0].numpy())

    expected = match_light(reference, pixels.float() / 255).numpy()
    found = (pixels.numpy() / np.float32(255) * gain + offset).clip(0, 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for of, colour, wanted in zip(levels, pixels[0].numpy(), expected[0], strict=True):
        np.testing.assert_allclose(of[colour], 255 * wanted, atol=0.502)
