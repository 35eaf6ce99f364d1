"""The autoencoder's shortcut: enlarging and convolving as one."""

import copy

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


def test_a_kept_kernel_follows_the_weights() -> None:
    """What is kept between two pictures is made anew after a step, loaded weights, another
    precision and a copy."""
    torch.manual_seed(0)
    layer, other = (EnlargingConvolution(3, 5, (8, 12)) for _ in range(2))
    coarse = torch.randn(2, 3, 4, 6)

    def wanted(layer: EnlargingConvolution) -> torch.Tensor:
        enlarged = F.interpolate(coarse.to(layer.weight.dtype), size=layer.shape, mode="nearest")
        return F.conv2d(enlarged, layer.weight, padding=1)

    def holds(layer: EnlargingConvolution) -> bool:
        found = layer(coarse.to(layer.weight.dtype))
        return torch.allclose(found, wanted(layer), atol=1e-5)

    with torch.inference_mode():
        assert holds(layer)
        assert layer._enlarging_kernel() is layer._enlarging_kernel()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(coarse).square().sum().backward()
    optimizer.step()
    with torch.inference_mode():
        assert holds(layer)
        layer.load_state_dict(other.state_dict())
        assert holds(layer)
        copied = copy.deepcopy(layer)
        torch.nn.init.ones_(copied.weight)
        assert holds(copied)
        layer.weight.data.mul_(2)  # which counts as no change of a version
        assert holds(layer)
        assert holds(layer.double())


def test_a_trace_does_not_keep_the_kernel() -> None:
    """Each time that it is traced it is the same graph, also after it was used."""
    torch.manual_seed(0)
    layer, coarse = EnlargingConvolution(3, 5, (8, 12)), torch.randn(2, 3, 4, 6)
    with torch.inference_mode():
        as_it_is = layer(coarse)
        traced = torch.jit.trace(layer, coarse)

        assert torch.allclose(traced(coarse), as_it_is)
