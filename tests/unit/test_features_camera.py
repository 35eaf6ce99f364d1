"""Numbers of the light's evenness, of noise and of framing, on pictures with a known answer."""

import math

import numpy as np
import pytest
from PIL import Image

from reconad_plugin.images.features import FEATURES, describe_image


def to_picture(grey):
    """(H, W) grey in [0, 255] as (H, W, 3) uint8."""
    return np.repeat(grey.clip(0, 255).round().astype(np.uint8)[..., None], 3, axis=2)


def disc(right=0, down=0, radius=30, noise=0.0, height=152, width=200):
    """A bright disc with a soft edge on even ground, moved so many pixels from the middle."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    distance = np.hypot(y - height / 2 - down, x - width / 2 - right)
    grey = 80 + 100 / (1 + np.exp((distance - radius) / 1.5))
    return to_picture(grey + np.random.default_rng(1).normal(0, noise, grey.shape))


@pytest.mark.parametrize("side", [40, 41], ids=["even side", "odd side"])
@pytest.mark.parametrize(
    ("name", "other", "turn"),
    [
        pytest.param("light_slope_x", "light_slope_y", lambda image: image, id="x"),
        pytest.param(
            "light_slope_y", "light_slope_x", lambda image: image.transpose(1, 0, 2), id="y"
        ),
    ],
)
def test_slope_of_light_by_hand(name, other, turn, side):
    """The log of the ratio of the halves: to the right for x, downwards for y."""
    grey = np.full((30, side), 60.0)
    grey[:, side // 2 :] = 120

    found = describe_image(turn(to_picture(grey)))
    mirrored = describe_image(turn(to_picture(grey[:, ::-1])))

    assert found[name] == pytest.approx(math.log(121 / 61), abs=1e-4)  # one is added before the log
    assert mirrored[name] < -0.6
    assert found[other] == pytest.approx(0, abs=1e-6)


def test_slope_does_not_depend_on_the_lamps_power():
    """A weaker lamp that stands where it stood has the same slopes."""
    ramp = np.linspace(100, 240, 64)[None, :] * np.linspace(1, 0.7, 48)[:, None]

    bright, dim = (describe_image(to_picture(power * ramp)) for power in (1.0, 0.5))

    assert bright["light_slope_x"] > 0.2
    assert bright["light_slope_y"] < -0.1
    for name in ("light_slope_x", "light_slope_y"):
        assert dim[name] == pytest.approx(bright[name], abs=0.01)


@pytest.mark.parametrize("deviation", [2.0, 5.0, 12.0])
def test_planted_noise_is_measured(deviation):
    """The noise of a picture with an edge and a slope is found within some per cent."""
    found = describe_image(disc(noise=deviation))

    measured = math.exp(found["noise"]) * found["contrast"] * 255
    assert measured == pytest.approx(deviation, rel=0.06)


def test_noise_is_hardly_that_of_edges():
    """The edges of a clean picture are not taken for noise, nor are those of a ramp."""
    ramp = to_picture(np.tile(np.arange(0, 200, 4.0), (40, 1)))

    assert describe_image(disc())["noise"] < describe_image(disc(noise=2.0))["noise"] - 1
    assert describe_image(ramp)["noise"] < -5


def test_noise_does_not_depend_on_the_lamps_power():
    """It is told as a share of the contrast."""
    bright = disc(noise=6.0)

    dim = to_picture(bright[..., 0] * 0.6)

    assert describe_image(dim)["noise"] == pytest.approx(describe_image(bright)["noise"], abs=0.05)


@pytest.mark.parametrize(("height", "width"), [(16, 64), (150, 200), (1, 8)])
def test_resolution_counts_pixels(height, width):
    """The logarithm of their number to the base of two."""
    found = describe_image(np.full((height, width, 3), 100, np.uint8))

    assert found["resolution"] == pytest.approx(math.log2(height * width))


@pytest.mark.parametrize(
    ("right", "down"), [(20, 0), (-20, 0), (0, 15), (-10, -12)], ids=["right", "left", "down", "up"]
)
@pytest.mark.parametrize("noise", [0.0, 1.0], ids=["clean", "noisy"])
def test_framing_follows_the_picture(right, down, noise):
    """What the camera sees moves by a share of width and height, and so does its centre."""
    before = describe_image(disc(noise=noise))
    after = describe_image(disc(right, down, noise=noise))

    assert (before["framing_x"], before["framing_y"]) == pytest.approx((0.5, 0.5), abs=0.005)
    kept = 1.0 if not noise else 0.8  # noise has edges everywhere, which do not move
    moved = (after["framing_x"] - before["framing_x"], after["framing_y"] - before["framing_y"])
    assert moved == pytest.approx((right / 200, down / 152), rel=1.02 - kept, abs=0.004)
    assert after["framing_spread"] == pytest.approx(before["framing_spread"], rel=0.1)


@pytest.mark.parametrize("power", [0.5, 0.8, 1.3])
def test_framing_does_not_depend_on_the_lamps_power(power):
    """A lamp changes no edge of the logarithm of the light."""
    plain = disc(-10, -15)

    relit = describe_image(to_picture(plain[..., 0] * power))

    before = describe_image(plain)
    for name in ("framing_x", "framing_y", "framing_spread"):
        assert relit[name] == pytest.approx(before[name], abs=0.004), name


@pytest.mark.parametrize("factor", [1.2, 1.6])
def test_spread_grows_as_the_picture_is_enlarged(factor):
    """A camera that comes closer spreads the edges by as much about the same middle."""
    near = Image.fromarray(disc()).resize((round(200 * factor), round(152 * factor)))
    left, upper = (near.width - 200) // 2, (near.height - 152) // 2

    closer = describe_image(np.asarray(near.crop((left, upper, left + 200, upper + 152))))

    far = describe_image(disc())
    assert closer["framing_spread"] == pytest.approx(factor * far["framing_spread"], rel=0.04)
    assert closer["framing_x"] == pytest.approx(0.5, abs=0.01)


def test_spread_by_hand():
    """The edges of a disc lie on its circle: a root mean square of its radius in each share."""
    found = describe_image(disc(radius=40))

    by_hand = 40 * math.sqrt((1 / 200**2 + 1 / 152**2) / 2)
    assert found["framing_spread"] == pytest.approx(by_hand, rel=0.05)


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (90, 1), (2, 2), (2, 300), (3, 3)])
@pytest.mark.parametrize(
    "fill",
    [
        pytest.param(lambda shape: np.zeros(shape), id="black"),
        pytest.param(lambda shape: np.full(shape, 255), id="white"),
        pytest.param(lambda shape: np.random.default_rng(0).uniform(0, 255, shape), id="noise"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_tiny_and_even_pictures_survive(shape, fill):
    """The smallest and emptiest pictures have a finite number for all."""
    found = describe_image(to_picture(fill(shape)))

    assert tuple(found) == FEATURES
    assert all(math.isfinite(value) for value in found.values()), found


@pytest.mark.parametrize("shade", [0, 100, 255])
def test_even_picture_has_no_framing(shade):
    """Without edges the middle is as good as any place."""
    found = describe_image(np.full((40, 60, 3), shade, np.uint8))

    assert (found["framing_x"], found["framing_y"]) == (0.5, 0.5)
    assert found["framing_spread"] == 0
    assert found["light_slope_x"] == found["light_slope_y"] == 0
