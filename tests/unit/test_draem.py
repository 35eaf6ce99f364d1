"""DRAEM, its predictive block, and how it learns."""

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, nn

from reconad_plugin.images.light import standard_light
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.draem import Draem, Reconstructor, build_draem, build_segmenter
from reconad_plugin.networks.registry import model_spec
from reconad_plugin.networks.sspcab import LOSS_WEIGHT, AttentiveBlock
from reconad_plugin.simulation.presets import PRESETS
from reconad_plugin.training import draem as training
from reconad_plugin.training.draem import DraemRecipe
from reconad_plugin.training.losses import focal_loss, ssim_map
from reconad_plugin.training.recipe import Simulation


class Doubled(nn.Module):
    """A segmenter whose anomalous logit is the difference of picture and reconstruction."""

    def forward(self, pictures):
        difference = (pictures[:, :3] - pictures[:, 3:]).abs().sum(1)
        return torch.stack([torch.zeros_like(difference), difference], 1)


def small(sspcab=False):
    """A network of few weights, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_draem(
            ImageSize.square(32), reconstructor_width=4, segmenter_width=4, sspcab=sspcab
        )


def pictures(count, size_px=32, seed=1):
    """(count, 3, S, S) float with room above and below."""
    noise = torch.rand(count, 3, size_px, size_px, generator=Generator().manual_seed(seed))
    return 0.35 + 0.2 * noise


def losses_of(recipe, image, seed=0):
    """The recipe's losses with the anomalies of a seed."""
    return recipe.losses(image, Generator().manual_seed(seed))


@pytest.mark.parametrize("size_px", [pytest.param(s, id=f"{s} pixels") for s in (32, 64)])
@pytest.mark.parametrize("count", [pytest.param(n, id=f"{n} images") for n in (1, 3)])
def test_shapes(size_px, count):
    """Reconstruction, logits and map have a batch's shape."""
    network, image = small().eval(), pictures(count, size_px)

    reconstruction, logits = network(image)

    assert reconstruction.shape == network.reconstruct(image).shape == image.shape
    assert logits.shape == (count, 2, size_px, size_px)
    assert network.anomaly_map(image).shape == (count, size_px, size_px)


@pytest.mark.parametrize(
    ("width", "millions"),
    [
        pytest.param("tiny", 6.1, id="tiny"),
        pytest.param("small", 24.4, id="small"),
        pytest.param("paper", 97.4, id="paper"),
    ],
)
def test_widths_have_their_size(width, millions):
    """The table of widths says how many parameters each has."""
    spec = model_spec("draem")
    with torch.device("meta"):
        network = spec.build_network(ImageSize.square(256), **spec.architecture(width, {}))

    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_bottleneck_is_a_sixteenth():
    """The reconstructor has no skips and halves four times; the segmenter halves five times."""
    features = Reconstructor(4).encoder(torch.zeros(1, 3, 64, 64))

    assert features.shape == (1, 32, 4, 4)
    assert len(build_segmenter(4).down) == 6


def test_skips_reach_the_output():
    """Each level of the segmenter has a part in the result."""
    segmenter = build_segmenter(4)

    segmenter(torch.rand(2, 6, 32, 32, generator=Generator().manual_seed(0))).sum().backward()

    assert all(p.grad is not None for p in segmenter.parameters())


def test_map_by_hand():
    """The map is the probability of the second class, of the picture in standard light."""
    network, image = Draem(nn.AvgPool2d(3, 1, 1), Doubled()), pictures(2)

    found = network.anomaly_map(image)

    lit = standard_light(image, like=image)
    difference = (F.avg_pool2d(lit, 3, 1, 1) - lit).abs().sum(1)
    torch.testing.assert_close(found, difference.sigmoid())


def test_light_does_not_matter(other_light):
    """A picture that is darker or of less contrast has the same map."""
    network, image = small().eval(), pictures(2)

    with torch.inference_mode():
        usual, dimmed = network.anomaly_map(image), network.anomaly_map(other_light(image))

    torch.testing.assert_close(dimmed, usual, rtol=0, atol=1e-4)


def test_reconstruction_is_in_the_pictures_own_light():
    """Where nothing is changed the picture comes back as it came."""
    network, image = Draem(nn.Identity(), Doubled()), pictures(2)

    torch.testing.assert_close(network.reconstruct(image), image)
    torch.testing.assert_close(network.anomaly_map(image), torch.full((2, 32, 32), 0.5))


def test_flat_picture_has_a_finite_map():
    """A picture without contrast, such as a covered lens, can be scored."""
    network = small().eval()

    for shade in (0.0, 0.5, 1.0):
        assert torch.isfinite(network.anomaly_map(torch.full((1, 3, 32, 32), shade))).all()


def plain_block(channels=8):
    """A block of random weights, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AttentiveBlock(channels)


def test_block_keeps_the_shape_and_leaves_its_loss():
    """What comes out has the shape of what came in, and the loss is their mean square."""
    block, features = plain_block(), torch.rand(2, 8, 6, 7, generator=Generator().manual_seed(0))

    attended = block(features)

    assert attended.shape == features.shape
    torch.testing.assert_close(block.loss, (attended - features).square().mean())


def test_block_sees_four_corners_and_not_the_pixel_itself():
    """Before the attention a pixel depends on those two away on the diagonals, and on no other."""
    block = plain_block()
    block.attention = nn.Identity()
    for corner in block.corners:
        nn.init.constant_(corner.weight, 0.1)
        nn.init.zeros_(corner.bias)
    features = torch.ones(1, 8, 9, 9, requires_grad=True)

    block(features)[0, 0, 4, 4].backward()

    seen = features.grad[0].abs().sum(0).nonzero().tolist()
    assert seen == [[2, 2], [2, 6], [6, 2], [6, 6]]


def test_block_weighs_whole_channels():
    """The attention is one factor a channel, between none and all."""
    block, features = plain_block(), torch.rand(1, 8, 5, 5, generator=Generator().manual_seed(0))
    attended = block(features)
    block.attention = nn.Identity()
    predicted = block(features).sqrt()  # without attention: the prediction times itself

    factor = (attended / predicted)[0].flatten(1)

    seen = predicted[0].flatten(1) > 1e-3
    for one, is_seen in zip(factor, seen, strict=True):
        if is_seen.any():
            assert one[is_seen].std(correction=0) < 1e-3
            assert 0 < one[is_seen].mean() < 1


def test_losses_are_the_papers_three():
    """Squared error, 1 - SSIM and focal loss add up with weight one each."""
    losses = losses_of(DraemRecipe(small(), Simulation()), pictures(4))

    assert set(losses) == {"total", "squared_error", "ssim", "focal"}
    parts = losses["squared_error"] + losses["ssim"] + losses["focal"]
    torch.testing.assert_close(losses["total"], parts)


def test_block_adds_its_loss():
    """With SSPCAB a tenth of the block's error is learnt as well."""
    network = small(sspcab=True)

    losses = losses_of(DraemRecipe(network, Simulation()), pictures(4))

    torch.testing.assert_close(losses["sspcab"], LOSS_WEIGHT * network.reconstructor.predictor.loss)
    torch.testing.assert_close(losses["total"], sum(losses.values()) - losses["total"])


@pytest.mark.parametrize(
    "sspcab", [pytest.param(False, id="plain"), pytest.param(True, id="sspcab")]
)
def test_every_weight_learns(sspcab):
    """Gradients reach the reconstructor, through the segmenter too, and the predictive block."""
    recipe = DraemRecipe(small(sspcab), Simulation())

    losses_of(recipe, pictures(4))["total"].backward()

    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in recipe.parameters())
    assert any(p.grad.abs().sum() > 0 for p in recipe.network.reconstructor.parameters())


@pytest.mark.parametrize(
    ("count", "anomalous"),
    [
        pytest.param(1, 1, id="one image"),
        pytest.param(2, 1, id="two"),
        pytest.param(8, 4, id="eight"),
    ],
)
def test_half_of_a_batch_gets_anomalies(monkeypatch, count, anomalous):
    """The other half is learnt as it is; target and mask are those of the clean pictures."""
    network = small()  # 64 pixels: at 32 its last level is a pixel, and one has no variance
    seen, targets, masks = [], [], []
    network.register_forward_pre_hook(lambda module, parts: seen.append(parts[0]))
    monkeypatch.setattr(
        training, "ssim_map", lambda *pair: targets.append(pair[1]) or ssim_map(*pair)
    )
    monkeypatch.setattr(
        training, "focal_loss", lambda *pair: masks.append(pair[1]) or focal_loss(*pair)
    )
    image = pictures(count, 64)

    losses_of(DraemRecipe(network, Simulation(PRESETS["electronics"])), image)

    (seen,), (target,), (mask,) = seen, targets, masks
    assert mask.flatten(1).any(1).tolist() == [True] * anomalous + [False] * (count - anomalous)
    outside = ~mask[:, None].expand_as(seen)
    torch.testing.assert_close(seen[outside], target[outside], rtol=0, atol=1e-4)
    assert ((seen - target).abs().sum(1)[mask] > 0.01).float().mean() > 0.5
    clean = standard_light(image, like=image)[anomalous:]
    torch.testing.assert_close(seen[anomalous:], clean)


def test_anomalies_follow_the_generator():
    """The same seed gives the same losses, another gives others."""
    recipe = DraemRecipe(small().eval(), Simulation())

    first, again, other = (losses_of(recipe, pictures(4), seed)["total"] for seed in (0, 0, 1))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
