"""Numbers of light and focus, against values by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageFilter

from reconad_plugin.images.features import FEATURES, describe_image


def flat(colour, height=20, width=30):
    """A picture of one colour."""
    return np.full((height, width, 3), colour, dtype=np.uint8)


@pytest.fixture
def textured():
    """(64, 64, 3) uint8 of grey noise that stays clear of both ends of the range."""
    grey = np.random.default_rng(3).integers(90, 170, (64, 64, 1), dtype=np.uint8)
    return np.repeat(grey, 3, axis=2)


def test_flat_grey_by_hand():
    """A flat grey picture has its grey as luminance, and no contrast, colour or detail."""
    found = describe_image(flat((102, 102, 102)))

    assert found["luminance"] == pytest.approx(0.4, abs=1e-6)
    assert found["contrast"] == pytest.approx(0, abs=1e-4)
    assert found["red_green_balance"] == pytest.approx(0, abs=1e-9)
    assert found["blue_green_balance"] == pytest.approx(0, abs=1e-9)
    assert found["clipped_share"] == 0
    assert found["sharpness"] < -10


def test_luma_weighs_the_colours_by_hand():
    """Luminance weighs red, green and blue by 0.299, 0.587 and 0.114."""
    found = describe_image(flat((200, 100, 50)))

    assert found["luminance"] == pytest.approx((0.299 * 200 + 0.587 * 100 + 0.114 * 50) / 255)


def test_two_halves_by_hand():
    """Half dark and half bright has the mean of both and half their distance as contrast."""
    image = flat((51, 51, 51))
    image[:10] = 153

    found = describe_image(image)

    assert found["luminance"] == pytest.approx(0.4, abs=1e-6)
    assert found["contrast"] == pytest.approx(0.2, abs=1e-6)


def test_ramp_has_no_second_derivative():
    """Along a straight ramp the Laplacian is zero, so sharpness is at its floor."""
    ramp = np.repeat(np.arange(0, 200, 4, dtype=np.uint8)[None, :, None], 20, axis=0)
    image = np.repeat(ramp, 3, axis=2)

    found = describe_image(image)

    assert found["luminance"] == pytest.approx(np.arange(0, 200, 4).mean() / 255, rel=1e-5)
    assert found["contrast"] == pytest.approx(np.arange(0, 200, 4).std() / 255, rel=1e-4)
    assert found["sharpness"] < -20


def test_checkerboard_sharpness_by_hand():
    """On a board of single pixels the Laplacian is eight times the deviation everywhere."""
    board = np.where(np.indices((32, 32)).sum(0) % 2, 153, 51).astype(np.uint8)
    image = np.repeat(board[..., None], 3, axis=2)

    found = describe_image(image)

    assert found["sharpness"] == pytest.approx(math.log(64), abs=1e-3)


@pytest.mark.parametrize(
    ("colour", "red_sign", "blue_sign"),
    [
        pytest.param((150, 100, 100), 1, 0, id="redder than green"),
        pytest.param((70, 100, 100), -1, 0, id="less red than green"),
        pytest.param((100, 100, 150), 0, 1, id="bluer than green"),
        pytest.param((150, 100, 70), 1, -1, id="warm lamp"),
    ],
)
def test_balance_has_the_sign_of_the_cast(colour, red_sign, blue_sign):
    """Balance is positive where a colour outshines green, and zero where it is neutral."""
    found = describe_image(flat(colour))

    assert np.sign(round(found["red_green_balance"], 6)) == red_sign
    assert np.sign(round(found["blue_green_balance"], 6)) == blue_sign


def test_balance_is_the_log_of_the_ratio():
    """Red one and a half times green has the balance log 1.5."""
    found = describe_image(flat((150, 100, 100)))

    assert found["red_green_balance"] == pytest.approx(math.log(1.5), abs=1e-4)


def test_clipped_share_counts_pixels_at_either_end():
    """A pixel with one colour fully dark or bright has lost detail; 3 and 252 have not."""
    image = flat((100, 100, 100), height=10, width=10)
    image[0, :5] = (255, 100, 100)
    image[0, 5:] = (100, 100, 253)
    image[1, :5] = (100, 2, 100)
    image[2, :] = (3, 252, 100)

    assert describe_image(image)["clipped_share"] == pytest.approx(0.15)


def test_dimming_lowers_luminance_and_not_sharpness(textured):
    """A weaker lamp shows in luminance and leaves sharpness where it was."""
    dimmed = (textured * 0.7).round().astype(np.uint8)

    bright, dark = describe_image(textured), describe_image(dimmed)

    assert dark["luminance"] == pytest.approx(0.7 * bright["luminance"], rel=0.01)
    assert dark["sharpness"] == pytest.approx(bright["sharpness"], abs=0.02)


def test_blur_lowers_sharpness_and_not_luminance(textured):
    """A lens out of focus shows in sharpness and leaves luminance where it was."""
    soft = np.asarray(Image.fromarray(textured).filter(ImageFilter.GaussianBlur(1.5)))

    sharp, blurred = describe_image(textured), describe_image(soft)

    assert blurred["sharpness"] < sharp["sharpness"] - 1
    assert blurred["luminance"] == pytest.approx(sharp["luminance"], abs=0.005)


@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24), st.just(3)), fill=st.just(9)
    )
)
def test_every_picture_has_every_feature_within_its_range(image):
    """Each feature is a finite number, and shares and means are within their ranges."""
    found = describe_image(image)

    assert tuple(found) == FEATURES
    assert all(math.isfinite(value) for value in found.values())
    assert 0 <= found["luminance"] <= 1
    assert 0 <= found["contrast"] <= 0.5
    assert 0 <= found["clipped_share"] <= 1
    assert 0 <= found["framing_x"] <= 1
    assert 0 <= found["framing_y"] <= 1
    assert 0 <= found["framing_spread"] <= 1
