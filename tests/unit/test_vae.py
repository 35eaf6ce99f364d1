"""The variational autoencoder and how it learns."""

import math

import pytest
import torch
from torch import Generator
from torch.distributions import Normal, kl_divergence

from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.autoencoder import build_autoencoder
from reconad_plugin.networks.vae import LOG_VARIANCE_RANGE, build_vae
from reconad_plugin.training.recipe import Simulation
from reconad_plugin.training.vae import KL_WEIGHT, VaeRecipe, gaussian_divergence

LATENT_DIM = 8


def small_vae(size_px=32, width=4):
    """A network of a few weights, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_vae(ImageSize.square(size_px), width=width, latent_dim=LATENT_DIM)


def noise_image(count, size_px=32):
    """(count, 3, S, S) float in [0, 1]."""
    return torch.rand(count, 3, size_px, size_px, generator=Generator().manual_seed(1))


def losses_of(recipe, image, seed=0):
    """The recipe's losses with the noise of a seed."""
    return recipe.losses(image, Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "size_px", [pytest.param(32, id="32 pixels"), pytest.param(64, id="64 pixels")]
)
def test_shapes(size_px):
    """Latent, reconstruction and map have a batch's shape, for several images and for one."""
    network = small_vae(size_px).eval()

    for count in (1, 2):
        image = noise_image(count, size_px)
        mean, log_variance = network(image)
        assert mean.shape == log_variance.shape == (count, LATENT_DIM)
        assert network.reconstruct(image).shape == image.shape
        assert network.anomaly_map(image).shape == (count, size_px, size_px)


def test_map_by_hand():
    """The map is the absolute error of the mean's reconstruction, summed over the colours."""
    network, image = small_vae().eval(), noise_image(2)

    rebuilt = network.decode(network.encode(image)[0])

    red, green, blue = (rebuilt - image).abs().unbind(1)
    torch.testing.assert_close(network.anomaly_map(image), red + green + blue)


def test_reconstruction_is_not_drawn():
    """Asking twice gives the same picture, whatever torch's random state."""
    network, image = small_vae().eval(), noise_image(2)

    assert torch.equal(network.reconstruct(image), network.reconstruct(image))


def test_variance_stays_in_its_range():
    """However large the weights, the variance is neither zero nor infinite."""
    network = small_vae().eval()
    with torch.no_grad():
        network.to_log_variance.weight.mul_(1e6)

    _, log_variance = network.encode(noise_image(4))

    assert (log_variance.min(), log_variance.max()) == LOG_VARIANCE_RANGE


def test_divergence_is_that_of_torch():
    """The closed form agrees with torch's own, summed over the latent."""
    generator = Generator().manual_seed(2)
    mean, log_variance = torch.randn(2, 5, LATENT_DIM, generator=generator).unbind()

    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0, 1)).sum(1)

    torch.testing.assert_close(gaussian_divergence(mean, log_variance), expected)


def test_divergence_by_hand():
    """N(1, e) is 0.5 * (1 + e - 1 - 1) nats from the prior; the prior itself is none."""
    one = torch.ones(1, 1)

    assert gaussian_divergence(one, one).item() == pytest.approx(0.5 * (math.e - 1))
    assert gaussian_divergence(0 * one, 0 * one).item() == 0


def test_total_by_hand():
    """Error and weighted divergence are summed an image and divided by its 3 * 32 * 32 values."""
    recipe, image = VaeRecipe(small_vae().eval(), Simulation()), noise_image(3)
    with torch.no_grad():  # a narrow latent, on which the picture depends much
        recipe.network.to_log_variance.bias.fill_(-2)
        recipe.network.from_latent.weight.mul_(50)

    losses = losses_of(recipe, image, seed=5)

    mean, log_variance = recipe.network.encode(image)
    noise = torch.randn(mean.shape, generator=Generator().manual_seed(5))
    rebuilt = recipe.network.decode(mean + noise * log_variance.exp().sqrt())
    prior = Normal(0, 1)
    total = 0.0
    for i in range(3):
        posterior = Normal(mean[i], log_variance[i].exp().sqrt())
        bound = ((image[i] - rebuilt[i]) ** 2).sum()
        bound = bound + KL_WEIGHT * kl_divergence(posterior, prior).sum()
        total += bound.item() / (3 * 32 * 32) / 3
    assert losses["total"].item() == pytest.approx(total, rel=1e-5)


def test_noise_comes_from_the_generator():
    """The same seed gives the same losses, another gives others."""
    recipe, image = VaeRecipe(small_vae().eval(), Simulation()), noise_image(2)

    first, again, other = (losses_of(recipe, image, seed)["total"] for seed in (1, 1, 2))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    "count", [pytest.param(1, id="one image"), pytest.param(3, id="three images")]
)
def test_losses_are_float32_under_autocast(count):
    """In bfloat16 too the losses are finite float32 and every weight gets a gradient."""
    recipe = VaeRecipe(small_vae().train(), Simulation())

    with torch.autocast("cpu", torch.bfloat16):
        losses = losses_of(recipe, noise_image(count))
    losses["total"].backward()

    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert all(math.isfinite(loss.item()) for loss in losses.values())
    assert all(weight.grad is not None for weight in recipe.network.parameters())


def test_one_batch_is_learnt_and_the_latent_is_used(make_normal):
    """The loss falls to less than a fifth, and the latent still tells the images apart."""
    batch = make_normal(8, 1).float() / 255
    batch[::2] = 1 - batch[::2]
    recipe = VaeRecipe(small_vae(width=8).train(), Simulation())
    optimizer = torch.optim.Adam(recipe.parameters(), lr=5e-3)
    generator = Generator().manual_seed(0)
    totals = []

    for _ in range(120):
        losses = recipe.losses(batch, generator)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        totals.append(losses["total"].item())

    assert totals[-1] < totals[0] / 5
    assert losses["divergence"].item() > 1
    recipe.eval()
    with torch.inference_mode():
        assert math.isfinite(recipe.losses(batch, generator)["total"].item())


def test_autoencoder_keeps_its_names():
    """Sharing its halves with the variational one leaves the autoencoder's saved weights valid."""
    names = set(
        build_autoencoder(ImageSize.square(32), width=4, latent_dim=LATENT_DIM).state_dict()
    )

    assert {name.split(".")[0] for name in names} == {
        "encoder",
        "to_latent",
        "from_latent",
        "decoder",
    }
    assert {"encoder.0.0.weight", "decoder.1.0.weight", "decoder.6.bias"} <= names
