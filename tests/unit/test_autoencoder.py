"""The autoencoder's shortcut: enlarging and convolving as one."""

import pytest
import torch
import torch.nn.functional as F

from reconad_plugin.networks.autoencoder import EnlargingConvolution


@pytest.mark.parametrize("shape", [(8, 12), (7, 12), (8, 11)])
def test_enlarging_convolution_is_the_two_steps(shape: tuple[int, int]) -> None:
    """Values and gradients of interpolation and convolution, borders included, where sides double
    and where they do not."""
    torch.manual_seed(0)
    layer = EnlargingConvolution(3, 5, shape).double()
    coarse = torch.randn(2, 3, 4, 6, dtype=torch.double, requires_grad=True)
    wanted = F.conv2d(F.interpolate(coarse, size=shape, mode="nearest"), layer.weight, padding=1)

    found = layer(coarse)

    assert torch.allclose(found, wanted)
    weights = torch.randn_like(wanted)
    for of_found, of_wanted in zip(
        torch.autograd.grad((found * weights).sum(), (coarse, layer.weight)),
        torch.autograd.grad((wanted * weights).sum(), (coarse, layer.weight)),
        strict=True,
    ):
        assert torch.allclose(of_found, of_wanted)
