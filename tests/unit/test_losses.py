"""Losses that more than one model learns by, against their definitions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Generator

from reconad_plugin.training.losses import SSIM_SIGMA_PX, SSIM_WINDOW_PX, focal_loss, ssim_map

HALF_WINDOW_PX = SSIM_WINDOW_PX // 2


def pictures(seed, size_px=24, count=2):
    """(count, 3, S, S) float in [0, 1]."""
    return torch.rand(count, 3, size_px, size_px, generator=Generator().manual_seed(seed))


def rare_mask(anomalous_px):
    """(2, 64, 64) bool with a few anomalous pixels in the first picture."""
    mask = torch.zeros(2, 64, 64, dtype=torch.bool)
    mask[0, 3, :anomalous_px] = True
    return mask


def confident(mask, margin=8.0):
    """Logits (B, 2, S, S) that say with confidence what a mask says."""
    sign = torch.where(mask, 1.0, -1.0)
    return torch.stack([-sign, sign], 1) * margin / 2


def slow_focal(logits, mask, gamma):
    """Equation 4 with a softmax, in double precision."""
    probability = logits.double().softmax(1)
    of_truth = torch.where(mask, probability[:, 1], probability[:, 0])
    return float((-((1 - of_truth) ** gamma) * of_truth.log()).mean())


@pytest.mark.parametrize("gamma", [pytest.param(g, id=f"gamma {g}") for g in (0.5, 2.0, 4.0)])
def test_focal_loss_against_its_definition(gamma):
    """The loss is equation 4 of the paper, averaged over pixels."""
    generator = Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 2, 8, 8, generator=generator)
    mask = torch.rand(2, 8, 8, generator=generator) < 0.3

    found = focal_loss(logits, mask, gamma)

    assert float(found) == pytest.approx(slow_focal(logits, mask, gamma), rel=1e-4)


def test_focal_loss_without_focus_is_cross_entropy():
    """With gamma 0 it is torch's cross-entropy of two classes."""
    logits = torch.randn(2, 2, 8, 8, generator=Generator().manual_seed(1))
    mask = torch.zeros(2, 8, 8, dtype=torch.bool)
    mask[:, 2:5] = True

    torch.testing.assert_close(focal_loss(logits, mask, 0.0), F.cross_entropy(logits, mask.long()))


@pytest.mark.parametrize(
    "anomalous_px",
    [
        pytest.param(60, id="some anomalous pixels"),
        pytest.param(1, id="a single anomalous pixel"),
        pytest.param(0, id="no anomalous pixel"),
    ],
)
def test_perfect_mask_beats_every_flat_answer(anomalous_px):
    """However rare anomalies are, marking them is better than marking nothing or everything."""
    mask = rare_mask(anomalous_px)
    nothing, everything = torch.zeros_like(mask), torch.ones_like(mask)

    perfect = focal_loss(confident(mask), mask)

    assert perfect < focal_loss(confident(everything), mask)
    assert perfect < focal_loss(torch.zeros(2, 2, 64, 64), mask)
    if anomalous_px:
        assert perfect < focal_loss(confident(nothing), mask)


def test_second_channel_is_the_anomalous_one():
    """A mask that is answered the wrong way round costs more than a guess."""
    mask = rare_mask(60)

    swapped = confident(mask).flip(1)

    assert focal_loss(swapped, mask) > focal_loss(torch.zeros_like(swapped), mask)


def test_false_alarm_costs_what_a_miss_does():
    """Neither class has a weight of its own."""
    mask = rare_mask(1)
    flipped = confident(~mask)

    torch.testing.assert_close(focal_loss(flipped, mask), focal_loss(confident(mask), ~mask))


def test_focal_loss_descends_towards_the_mask():
    """The gradient raises the anomalous logit in the mask and lowers it elsewhere."""
    mask = rare_mask(5)
    logits = torch.zeros(2, 2, 64, 64, requires_grad=True)

    focal_loss(logits, mask).backward()

    assert (logits.grad[:, 1][mask] < 0).all()
    assert (logits.grad[:, 1][~mask] > 0).all()
    torch.testing.assert_close(logits.grad[:, 0], -logits.grad[:, 1])


def test_focal_loss_is_float32_whatever_the_network_gives():
    """Half precision in gives single precision out."""
    loss = focal_loss(torch.zeros(1, 2, 4, 4, dtype=torch.bfloat16), torch.ones(1, 4, 4).bool())

    assert loss.dtype == torch.float32


def slow_ssim(first, second):
    """Equation 13 with scipy's Gaussian filter, in double precision."""

    def smooth(image):
        return gaussian_filter(image, SSIM_SIGMA_PX, radius=HALF_WINDOW_PX)

    mean_1, mean_2 = smooth(first), smooth(second)
    variance_1 = smooth(first**2) - mean_1**2
    variance_2 = smooth(second**2) - mean_2**2
    covariance = smooth(first * second) - mean_1 * mean_2
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)) / (
        (mean_1**2 + mean_2**2 + c1) * (variance_1 + variance_2 + c2)
    )


@pytest.mark.parametrize(
    "strength", [pytest.param(0.05, id="much alike"), pytest.param(1.0, id="not alike")]
)
def test_ssim_against_scipy(strength):
    """Away from the border the map is that of a plain Gaussian window, colour by colour."""
    first, other = pictures(0), pictures(1)
    second = torch.lerp(first, other, strength)

    found = ssim_map(first, second)

    assert found.shape == first.shape
    inside = slice(HALF_WINDOW_PX, -HALF_WINDOW_PX)
    for one, two, ours in zip(
        first.double().flatten(0, 1),
        second.double().flatten(0, 1),
        found.flatten(0, 1),
        strict=True,
    ):
        expected = slow_ssim(one.numpy(), two.numpy())[inside, inside]
        np.testing.assert_allclose(ours.numpy()[inside, inside], expected, atol=2e-4)


def test_equal_pictures_are_entirely_similar():
    """The map of a picture and itself is one, also at the border."""
    picture = pictures(2)

    torch.testing.assert_close(ssim_map(picture, picture), torch.ones_like(picture))


def test_ssim_is_symmetric_and_in_range():
    """Which picture comes first does not matter, and no value leaves [-1, 1]."""
    first, second = pictures(3), 1 - pictures(3)

    found = ssim_map(first, second)

    torch.testing.assert_close(found, ssim_map(second, first))
    assert -1.0001 <= found.min() < -0.5
    assert found.max() <= 1.0001


def test_ssim_border_is_a_cut_window_and_not_padding():
    """A flat pair keeps one value up to the very corner."""
    found = ssim_map(torch.full((1, 3, 16, 16), 0.5), torch.full((1, 3, 16, 16), 0.7))

    expected = (2 * 0.5 * 0.7 + 1e-4) / (0.5**2 + 0.7**2 + 1e-4)
    torch.testing.assert_close(found, torch.full_like(found, expected), rtol=0, atol=1e-3)


def test_ssim_pulls_the_reconstruction_to_the_picture():
    """Gradients flow to both pictures, and a step along them raises the similarity."""
    picture = pictures(4)
    rebuilt = pictures(5).requires_grad_()

    before = ssim_map(rebuilt, picture).mean()
    before.backward()

    assert torch.isfinite(rebuilt.grad).all()
    assert (rebuilt.grad != 0).all()
    assert ssim_map(rebuilt.detach() + 100 * rebuilt.grad, picture).mean() > before


def test_ssim_can_be_learnt_by_after_it_was_only_looked_at():
    """A first call without gradients does not spoil later ones of the same size."""
    picture = pictures(6, size_px=20)
    with torch.inference_mode():
        ssim_map(picture, picture)

    rebuilt = pictures(7, size_px=20).requires_grad_()
    ssim_map(rebuilt, picture).mean().backward()

    assert rebuilt.grad is not None


def test_ssim_is_float32_under_autocast():
    """Variances would vanish in half precision."""
    picture = pictures(8).bfloat16()

    with torch.autocast("cpu", torch.bfloat16):
        found = ssim_map(picture, picture)

    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.ones_like(found), rtol=0, atol=1e-3)
