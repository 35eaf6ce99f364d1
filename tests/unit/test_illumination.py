"""What a network sees of a picture: the light that is taken out, and the colours that are kept."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from reconad_plugin.images.illumination import (
    COLOURS,
    LIGHTS,
    Illumination,
    equalise,
    lab_to_rgb,
    rgb_to_lab,
)
from reconad_plugin.images.light import dim_lamp


@pytest.fixture
def picture():
    """Two pictures (2, 3, 48, 64) with structure in each colour, away from black and white."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(2, 3, 6, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (48, 64), mode="bilinear")
    return 0.3 + 0.4 * smooth


@pytest.mark.parametrize("colours", COLOURS)
@pytest.mark.parametrize("light", LIGHTS)
def test_what_is_seen_is_a_picture(picture, light, colours):
    """Each choice gives finite values in [0, 1] of the same shape, of flat pictures too."""
    flat = torch.stack([torch.full_like(picture[0], shade) for shade in (0.0, 0.5, 1.0)])
    for image in (picture, flat):
        seen = Illumination(light, colours).normalise(image)
        assert seen.shape == image.shape
        assert torch.isfinite(seen).all()
        assert seen.min() >= -1e-4
        assert seen.max() <= 1 + 1e-4


@pytest.mark.parametrize("colours", COLOURS)
@pytest.mark.parametrize("light", LIGHTS)
def test_what_is_rebuilt_without_error_is_the_picture(picture, light, colours):
    """A network that rebuilds exactly what it saw shows the picture in its own light."""
    illumination = Illumination(light, colours)

    restored = illumination.restore(illumination.normalise(picture), picture)

    torch.testing.assert_close(restored, picture, rtol=0, atol=2e-3)


def test_error_is_shown_in_the_pictures_own_contrast(picture):
    """What a network has rebuilt too bright is too bright by as much of the picture's contrast."""
    illumination = Illumination("standard")
    weak = 0.5 + 0.2 * (picture - 0.5)  # a fifth of the contrast
    seen = illumination.normalise(picture)

    strong_error = float((illumination.restore(seen + 0.05, picture) - picture).mean())
    weak_error = float((illumination.restore(seen + 0.05, weak) - weak).mean())

    assert strong_error > 0.01
    assert weak_error == pytest.approx(strong_error / 5, rel=0.02)


def test_nothing_is_taken_out_unless_asked(picture):
    """Without a choice a network sees the picture itself."""
    assert torch.equal(Illumination().normalise(picture), picture)


def test_each_choice_takes_out_what_it_says(picture):
    """A dimmed lamp leaves all but none alike; a warm one leaves balanced alike, not standard."""
    dimmed = dim_lamp(picture, 0.6)
    warm = picture * torch.tensor([1.1, 1.0, 0.8]).view(3, 1, 1)

    def change(light, lit):
        illumination = Illumination(light)
        return float((illumination.normalise(lit) - illumination.normalise(picture)).abs().mean())

    assert change("none", dimmed) > 0.05
    assert change("standard", dimmed) < 0.005
    assert change("balanced", dimmed) < 0.005
    assert change("standard", warm) > 0.03
    assert change("balanced", warm) < 0.005


def test_local_light_takes_out_a_gradient(picture):
    """A lamp that lights one side more changes what is seen less where parts are equalised."""
    slope = torch.linspace(0.7, 1.3, picture.shape[-1])

    def change(light):
        illumination = Illumination(light)
        lit = (picture * slope).clamp(0, 1)
        difference = illumination.normalise(lit) - illumination.normalise(picture)
        return float(difference.mean((0, 1, 2)).abs().mean())  # by column

    assert change("local") < 0.75 * change("standard")


def test_equalising_brings_faint_structure_out():
    """Faint grain comes to differ more, by as much as is allowed, and strong grain does not."""
    grain = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(1)) - 0.5

    faint, strong = (
        equalise(0.5 + width * grain).std() / (width * grain.std()) for width in (0.1, 1)
    )

    assert 2 < faint < 3.6
    assert 0.9 < strong < 1.1


def test_colour_alone_is_no_luminance(picture):
    """Of a picture a network that sees luminance sees three equal channels."""
    seen = Illumination("standard", "luminance").normalise(picture)

    assert torch.equal(seen[:, 0], seen[:, 1])
    assert torch.equal(seen[:, 0], seen[:, 2])


def test_lab_is_that_of_the_colour_tables(picture):
    """L*a*b* is Pillow's, which a colour management library computes, and comes back as it was."""
    image = (picture * 255).round().byte() / 255
    pixels = (image[0] * 255).byte().permute(1, 2, 0).numpy()
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB", 5000)
    table = ImageCms.profileToProfile(Image.fromarray(pixels), *profiles, outputMode="LAB")
    expected = [np.asarray(band) / 255 for band in table.split()]

    found = rgb_to_lab(image)

    np.testing.assert_allclose(found[0, 0].numpy(), expected[0], atol=0.015)
    for channel, band in zip(found[0, 1:], expected[1:], strict=True):
        np.testing.assert_allclose(channel.numpy(), band, atol=0.03)
    torch.testing.assert_close(lab_to_rgb(found), image, rtol=0, atol=1e-4)
