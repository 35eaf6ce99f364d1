"""GANomaly, its discriminator, and who learns from which loss."""

import copy
import math

import pytest
import torch
from torch import Generator, nn

from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.ganomaly import build_ganomaly, draw_weights
from reconad_plugin.training.ganomaly import COLLAPSED_BELOW, GanomalyRecipe
from reconad_plugin.training.recipe import Simulation

LATENT_DIM = 6


def small_ganomaly(size_px=32, width=4):
    """A network of a few weights, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_ganomaly(ImageSize.square(size_px), width=width, latent_dim=LATENT_DIM)


@pytest.fixture
def recipe():
    """A recipe that is about to learn."""
    return GanomalyRecipe(small_ganomaly(), Simulation()).train()


def noise_image(count, size_px=32):
    """(count, 3, S, S) float in [0, 1]."""
    return torch.rand(count, 3, size_px, size_px, generator=Generator().manual_seed(1))


def losses_of(recipe, image, seed=0):
    """The recipe's losses; the generator matters only where the discriminator is drawn anew."""
    return recipe.losses(image, Generator().manual_seed(seed))


def has_gradient(module):
    """Whether any weight got one."""
    return any(weight.grad is not None for weight in module.parameters())


def state_of(module):
    """A copy of weights and statistics."""
    return copy.deepcopy(module.state_dict())


def is_same(state, other):
    """Whether two states are equal bit by bit."""
    return all(torch.equal(value, other[name]) for name, value in state.items())


class Always(nn.Module):
    """Gives the same answer to everything."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, _):
        return self.answer


@pytest.mark.parametrize(
    "size_px", [pytest.param(32, id="32 pixels"), pytest.param(64, id="64 pixels")]
)
def test_shapes(size_px):
    """Reconstruction, latents, map and score have a batch's shape, for two images and for one."""
    network = small_ganomaly(size_px).eval()

    for count in (1, 2):
        image = noise_image(count, size_px)
        rebuilt, latent, second_latent = network(image)
        anomaly_map = network.anomaly_map(image)
        assert rebuilt.shape == network.reconstruct(image).shape == image.shape
        assert latent.shape == second_latent.shape == (count, LATENT_DIM)
        assert anomaly_map.shape == (count, size_px, size_px)
        assert network.image_score(image, anomaly_map).shape == (count,)


def test_large_images_stay_feasible():
    """Channels double up to eight times the width, so that 1024 pixels cost a little more."""
    with torch.device("meta"):
        network = build_ganomaly(ImageSize.square(1024), width=4)

    widest = max(layer.out_channels for layer in network.encoder[:-1] if hasattr(layer, "stride"))
    assert widest == 32


def test_paper_size():
    """At 32 pixels the layers are 64, 128 and 256 channels wide, and the latent has 100 numbers."""
    network = build_ganomaly(ImageSize.square(32))

    layers = [layer for layer in network.encoder if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in layers] == [64, 128, 256, 100]


def test_reconstruction_is_a_picture_and_always_the_same():
    """What is rebuilt lies in [0, 1], and asking twice gives it twice."""
    network, image = small_ganomaly().eval(), noise_image(2)

    rebuilt = network.reconstruct(image)

    assert rebuilt.min() >= 0
    assert rebuilt.max() <= 1
    assert torch.equal(rebuilt, network.reconstruct(image))
    assert torch.equal(rebuilt, network(image)[0])


def test_inside_pictures_are_signed():
    """The encoder sees black as -1 and white as 1, and a decoder's -1 comes out as black."""
    network = small_ganomaly().eval()
    seen = []
    network.encoder.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    network.decoder = Always(torch.full((1, 3, 32, 32), -1.0))

    rebuilt = network.reconstruct(
        torch.cat([torch.zeros(1, 3, 32, 16), torch.ones(1, 3, 32, 16)], 3)
    )

    assert (seen[0][..., :16] == -1).all()
    assert (seen[0][..., 16:] == 1).all()
    assert (rebuilt == 0).all()


def test_map_by_hand():
    """The map is the absolute error in [0, 1], summed over the colours."""
    network, image = small_ganomaly().eval(), noise_image(2)

    red, green, blue = (network.reconstruct(image) - image).abs().unbind(1)

    torch.testing.assert_close(network.anomaly_map(image), red + green + blue)


@pytest.mark.parametrize(
    ("shift", "score"),
    [pytest.param(0.0, 0.0, id="latents agree"), pytest.param(2.0, 4.0, id="two apart")],
)
def test_score_compares_the_latents(shift, score):
    """The score is the mean squared difference of the latents, and the map has no say."""
    network, image = small_ganomaly().eval(), noise_image(2)
    network.second_encoder = Always(network.encoder(2 * image - 1) + shift)

    scores = network.image_score(image, torch.full((2, 32, 32), 9.0))

    torch.testing.assert_close(scores, torch.full((2,), score), rtol=1e-5, atol=1e-12)


def test_first_weights_are_those_of_dcgan():
    """Convolutions are drawn from N(0, 0.02), the scales of BatchNorm from N(1, 0.02)."""
    network = small_ganomaly(width=16)
    convolutions = [
        layer.weight.flatten()
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    scales = torch.cat([layer.weight for layer in norms])

    assert torch.cat(convolutions).std().item() == pytest.approx(0.02, rel=0.02)
    assert torch.cat(convolutions).mean().item() == pytest.approx(0, abs=1e-3)
    assert scales.mean().item() == pytest.approx(1, abs=0.01)
    assert scales.std().item() == pytest.approx(0.02, rel=0.2)
    assert all((layer.bias == 0).all() for layer in norms)


def test_drawing_weights_follows_its_generator():
    """The same seed draws the same weights, and gathered statistics are forgotten."""
    first, second = small_ganomaly(), small_ganomaly().train()
    second(noise_image(2))

    draw_weights(first, Generator().manual_seed(3))
    draw_weights(second, Generator().manual_seed(3))

    assert is_same(first.state_dict(), second.state_dict())


def test_total_is_the_weighted_sum(recipe):
    """Weights 1, 50 and 1 for the generator, and the discriminator's loss beside them."""
    losses = losses_of(recipe, noise_image(2))

    expected = (
        losses["adversarial"]
        + 50 * losses["contextual"]
        + losses["latent"]
        + losses["discriminator"]
    )
    torch.testing.assert_close(losses["total"], expected)


def test_losses_by_hand(recipe):
    """In eval mode each loss is what its definition says."""
    recipe.eval()
    image = noise_image(2)
    rebuilt, latent, second_latent = recipe.network(image)
    real_features, real = recipe.discriminator(image)
    fake_features, fake = recipe.discriminator(rebuilt)

    losses = losses_of(recipe, image)

    signed_error = (2 * rebuilt - 1) - (2 * image - 1)
    cross_entropy = -(torch.sigmoid(real).log().mean() + torch.sigmoid(-fake).log().mean()) / 2
    torch.testing.assert_close(losses["contextual"], signed_error.abs().mean())
    torch.testing.assert_close(losses["latent"], ((latent - second_latent) ** 2).mean())
    torch.testing.assert_close(losses["adversarial"], ((real_features - fake_features) ** 2).mean())
    torch.testing.assert_close(losses["discriminator"], cross_entropy)


@pytest.mark.parametrize("name", ["adversarial", "contextual", "latent"])
def test_generators_losses_leave_the_discriminator_alone(recipe, name):
    """No part of the generator's loss gives the discriminator a gradient."""
    losses_of(recipe, noise_image(2))[name].backward()

    assert has_gradient(recipe.network.encoder)
    assert has_gradient(recipe.network.decoder)
    assert not has_gradient(recipe.discriminator)


def test_discriminators_loss_leaves_the_generator_alone(recipe):
    """The discriminator's loss reaches all of its weights and none of the network's."""
    losses_of(recipe, noise_image(2))["discriminator"].backward()

    assert all(weight.grad is not None for weight in recipe.discriminator.parameters())
    assert not has_gradient(recipe.network)


def test_total_gives_each_the_gradient_of_its_own_losses(recipe):
    """Descending the sum is descending the two apart."""
    image = noise_image(2)
    twin = copy.deepcopy(recipe)

    losses_of(recipe, image)["total"].backward()
    apart = losses_of(twin, image)
    generators = apart["adversarial"] + 50 * apart["contextual"] + apart["latent"]
    generators.backward(retain_graph=True)
    apart["discriminator"].backward()

    for weight, expected in zip(recipe.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, expected.grad)


def test_statistics_come_from_two_passes(recipe):
    """The discriminator's BatchNorms see real and rebuilt pictures once each, in training alone."""
    image = noise_image(2)
    losses_of(recipe, image)
    norms = [layer for layer in recipe.discriminator.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {layer.num_batches_tracked.item() for layer in norms} == {2}
    before = state_of(recipe)

    with torch.inference_mode():
        losses = losses_of(recipe.eval(), image)

    assert is_same(before, recipe.state_dict())
    assert all(math.isfinite(loss.item()) for loss in losses.values())


@pytest.mark.parametrize(
    ("loss", "is_training", "is_drawn"),
    [
        pytest.param(COLLAPSED_BELOW / 2, True, True, id="collapsed"),
        pytest.param(COLLAPSED_BELOW * 2, True, False, id="not collapsed"),
        pytest.param(COLLAPSED_BELOW / 2, False, False, id="collapsed but not learning"),
        pytest.param(math.nan, True, False, id="not a number"),
    ],
)
def test_collapsed_discriminator_is_drawn_anew(recipe, loss, is_training, is_drawn):
    """After a step with a loss below 1e-5 the next training step begins with new weights."""
    recipe.train(is_training)
    recipe.discriminator_loss.fill_(loss)
    before = recipe.discriminator.classifier.weight.detach().clone()

    losses_of(recipe, noise_image(2), seed=1)["total"].backward()

    assert torch.equal(before, recipe.discriminator.classifier.weight) is not is_drawn


def test_collapse_is_noticed(recipe):
    """A discriminator that is certain and right is replaced by one that is not."""
    image = torch.zeros(2, 3, 32, 32)
    recipe.network.decoder = Always(torch.ones(2, 3, 32, 32))
    recipe.discriminator.features = nn.Sequential(nn.AvgPool2d(32))
    recipe.discriminator.classifier = nn.Conv2d(3, 1, kernel_size=1, bias=False)
    nn.init.constant_(recipe.discriminator.classifier.weight, -10)  # logits 30 and -30

    first, second = losses_of(recipe, image), losses_of(recipe, image)

    assert first["discriminator"] < COLLAPSED_BELOW
    assert second["discriminator"] > 0.1


def test_recipe_leaves_the_global_random_state():
    """Building a discriminator neither reads nor moves torch's random state."""
    network = small_ganomaly()
    before = torch.get_rng_state()

    first, second = (GanomalyRecipe(network, Simulation()) for _ in range(2))

    assert torch.equal(before, torch.get_rng_state())
    assert is_same(first.state_dict(), second.state_dict())


def test_discriminator_is_not_part_of_the_network(recipe):
    """What is served has no discriminator, and shares no weight with it."""
    served = {id(weight) for weight in recipe.network.parameters()}

    assert not any(id(weight) in served for weight in recipe.discriminator.parameters())
    assert {name.split(".")[0] for name in recipe.network.state_dict()} == {
        "encoder",
        "decoder",
        "second_encoder",
    }


@pytest.mark.parametrize(
    "count", [pytest.param(1, id="one image"), pytest.param(3, id="three images")]
)
def test_losses_are_float32_under_autocast(recipe, count):
    """In bfloat16 too the losses are finite float32 and every weight gets a gradient."""
    with torch.autocast("cpu", torch.bfloat16):
        losses = losses_of(recipe, noise_image(count))
    losses["total"].backward()

    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert all(math.isfinite(loss.item()) for loss in losses.values())
    assert all(weight.grad is not None for weight in recipe.parameters())


def test_one_batch_is_learnt(make_normal):
    """One optimiser over both teaches the generator to rebuild a batch."""
    batch = make_normal(4, 1).float() / 255
    recipe = GanomalyRecipe(small_ganomaly(width=8), Simulation()).train()
    optimizer = torch.optim.Adam(recipe.parameters(), lr=2e-3, betas=recipe.betas)
    history = []

    for step in range(100):
        losses = losses_of(recipe, batch, seed=step)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        history.append({name: loss.item() for name, loss in losses.items()})

    assert history[-1]["contextual"] < history[0]["contextual"] / 3
    assert history[-1]["total"] < history[0]["total"] / 2
