"""How DSR learns: the codes that are exchanged to train it, and its two phases."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.images.light import standard_light
from reconad_plugin.metrics.image import image_auroc
from reconad_plugin.networks.dsr import Comparison
from reconad_plugin.simulation.presets import PRESETS
from reconad_plugin.simulation.smudges import simulate_smudges
from reconad_plugin.training import dsr as training
from reconad_plugin.training.dsr import (
    FARTHEST_SHARE,
    SubspacesRecipe,
    UpsamplerRecipe,
    exchange_codes,
)
from reconad_plugin.training.loop import train
from reconad_plugin.training.losses import focal_loss
from reconad_plugin.training.recipe import Simulation
from tests.small_dsr import CODES, SIZE_PX, pictures, seeded, small

SIZES = {"width": 16, "code_dim": 8, "codes": 64}
RECIPES = [pytest.param(SubspacesRecipe, id="second"), pytest.param(UpsamplerRecipe, id="third")]


def ranks_after(codes, mask, ranking, seed):
    """By what rank from the code before each exchanged code was taken."""
    exchanged = exchange_codes(codes, mask, ranking, seeded(seed))
    place = ranking.long().argsort(1)  # where each code stands in each row
    return exchanged, place[codes, exchanged]


@pytest.mark.parametrize("size", [pytest.param(n, id=f"{n} codes") for n in (20, 100, 512)])
def test_exchanged_codes_are_neither_too_near_nor_too_far(size):
    """The nearest 5 % are left out, and each image's anomaly goes up to its share."""
    ranking = torch.cdist(points := torch.rand(size, 2, generator=seeded()), points).argsort(1)
    codes = torch.randint(size, (40, 16, 16), generator=seeded(1))
    mask = torch.ones(40, 16, 16, dtype=torch.bool)

    _, ranks = ranks_after(codes, mask, ranking.short(), seed=3)

    low, high = FARTHEST_SHARE
    share = low + (high - low) * torch.rand(40, generator=seeded(3))
    highest = ranks.flatten(1).amax(1)
    assert ranks.min() == round(0.05 * size)
    assert (highest < (share * size).ceil()).all()
    assert (highest >= (0.9 * share * size).floor() - 1).all()
    assert 0.2 <= share.min() < 0.3
    assert share.max() > 0.9


def test_only_masked_cells_are_exchanged():
    """Outside the mask the codes stay; inside none does."""
    ranking = small().subspaces.vq.fine_codebook.ranking()
    codes = torch.randint(CODES, (6, 8, 8), generator=seeded())
    mask = torch.rand(6, 8, 8, generator=seeded(1)) < 0.3
    before = codes.clone()

    exchanged, _ = ranks_after(codes, mask, ranking, seed=2)

    assert torch.equal(codes, before)
    assert torch.equal(exchanged[~mask], codes[~mask])
    assert (exchanged[mask] != codes[mask]).all()


def test_exchange_follows_the_generator():
    """The same seed gives the same codes, another gives others."""
    ranking = small().subspaces.vq.fine_codebook.ranking()
    codes = torch.randint(CODES, (3, 8, 8), generator=seeded())
    mask = torch.ones(3, 8, 8, dtype=torch.bool)

    first, again, other = (exchange_codes(codes, mask, ranking, seeded(seed)) for seed in (0, 0, 1))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def damage(seed=0, count=16):
    """A recipe's damaged codes with the true ones: recipe, damaged, coarse and fine codes."""
    network = small()
    recipe = SubspacesRecipe(network, Simulation(PRESETS["electronics"]))
    picture = standard_light(pictures(count), like=pictures(count))
    with torch.no_grad():
        damaged, _, _ = recipe._damage(network.subspaces.vq, picture, seeded(seed))
        seen = network.subspaces.vq(picture)
    return damaged, seen.coarse.codes, seen.fine.codes


def test_mask_marks_the_cells_that_were_exchanged():
    """Half of a batch is damaged, on the coarse grid, the fine one or both, and marked so."""
    damaged, coarse, fine = damage()

    coarse_changed, fine_changed = damaged.coarse != coarse, damaged.fine != fine
    on_coarse, on_fine = coarse_changed.flatten(1).any(1), fine_changed.flatten(1).any(1)
    assert (on_coarse | on_fine).tolist() == [True] * 8 + [False] * 8
    assert damaged.mask.flatten(1).any(1).tolist() == [True] * 8 + [False] * 8
    for image in range(8):
        marked = damaged.mask[image]
        if on_coarse[image]:
            cells = coarse_changed[image].repeat_interleave(8, 0).repeat_interleave(8, 1)
        else:
            cells = fine_changed[image].repeat_interleave(4, 0).repeat_interleave(4, 1)
        assert torch.equal(marked, cells)


def test_all_kinds_of_damage_occur():
    """Over some batches: the coarse grid alone, the fine one alone, and both."""
    kinds = set()
    for seed in range(4):
        damaged, coarse, fine = damage(seed)
        on_coarse = (damaged.coarse != coarse).flatten(1).any(1)[:8]
        on_fine = (damaged.fine != fine).flatten(1).any(1)[:8]
        kinds |= set(zip(on_coarse.tolist(), on_fine.tolist(), strict=True))

    assert kinds == {(True, False), (False, True), (True, True)}


@pytest.mark.parametrize("recipe_class", RECIPES)
def test_each_phase_learns_its_own_part(recipe_class):
    """Gradients reach what the phase trains, and nothing of the phases before."""
    network = small()
    recipe = recipe_class(network, Simulation()).train()
    before = copy.deepcopy(network.subspaces.vq.state_dict())

    recipe.losses(pictures(4), seeded())["total"].backward()

    learnt = {
        name.split(".")[1] if name.startswith("subspaces") else "upsampler"
        for name, weight in network.named_parameters()
        if weight.grad is not None
    }
    if recipe_class is SubspacesRecipe:
        assert learnt == {"coarse_restriction", "fine_restriction", "object_decoder", "detector"}
    else:
        assert learnt == {"upsampler"}
    for name, value in network.subspaces.vq.state_dict().items():
        assert torch.equal(value, before[name])


def test_losses_of_the_second_phase_by_hand(monkeypatch):
    """Both features against the codes of the undamaged picture, ten times the picture, focal."""
    network, image, seen = small().eval(), pictures(4), []
    compare = network.subspaces.compare
    monkeypatch.setattr(
        network.subspaces, "compare", lambda *parts: seen.append(compare(*parts)) or seen[-1]
    )

    losses = SubspacesRecipe(network, Simulation()).losses(image, seeded())

    picture = standard_light(image, like=image)
    true = network.subspaces.vq(picture)
    expected = {
        "coarse_error": F.mse_loss(seen[0].coarse, true.coarse.vectors),
        "fine_error": F.mse_loss(seen[0].fine, true.fine.vectors),
        "image_error": 10 * F.mse_loss(seen[0].rebuilt, picture),
    }
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
    torch.testing.assert_close(losses["total"], sum(losses.values()) - losses["total"])


class Marks(nn.Module):
    """Says with confidence that a mask is anomalous and the rest is not, whatever it sees."""

    def __init__(self):
        super().__init__()
        self.mask = torch.zeros(4, SIZE_PX, SIZE_PX, dtype=torch.bool)

    def forward(self, _):
        margin = 5.0 * self.mask - 2.5
        return torch.stack([-margin, margin], 1)


@pytest.mark.parametrize("recipe_class", RECIPES)
def test_perfect_mask_beats_all_ones_and_all_zeros(monkeypatch, recipe_class):
    """A false positive costs something, and so does a miss."""
    network, masks = small().eval(), []
    monkeypatch.setattr(
        training, "focal_loss", lambda *pair: masks.append(pair[1]) or focal_loss(*pair)
    )

    marks = Marks()
    if recipe_class is SubspacesRecipe:
        network.subspaces.detector = marks
    else:
        network.upsampler = marks
    recipe = recipe_class(network, Simulation(PRESETS["electronics"]))

    def focal():
        return float(recipe.losses(pictures(4), seeded())["focal"].detach())

    none = focal()
    marks.mask = torch.ones_like(marks.mask)
    all_ = focal()
    marks.mask = masks[0]
    perfect = focal()

    assert masks[0].any()
    assert perfect < 0.1 * none
    assert perfect < 0.1 * all_


def test_losses_follow_the_generator():
    """The same seed gives the same losses, another gives others."""
    for recipe_class in (SubspacesRecipe, UpsamplerRecipe):
        recipe = recipe_class(small().eval(), Simulation())

        first, again, other = (
            recipe.losses(pictures(4), seeded(seed))["total"] for seed in (0, 0, 1)
        )

        assert torch.equal(first, again)
        assert not torch.equal(first, other)


class PlainSight(nn.Module):
    """Stands for everything before the upsampler: shows the picture itself and a flat one."""

    def forward(self, image):
        flat = image.mean((2, 3), keepdim=True).expand_as(image)
        unknown = torch.zeros_like(image[:, :2])
        return Comparison(image, flat, unknown, unknown, unknown)


def test_upsampler_learns_smudges_that_can_be_seen():
    """Where both pictures show all there is, the sharp map is soon higher on smudges."""
    network = small()
    network.subspaces = PlainSight()
    images = (255 * (0.4 + 0.05 * pictures(16))).byte()
    settings = TrainingSettings(steps=80, learning_rate=5e-3)

    train(UpsamplerRecipe(network, Simulation()), images, images[:0], settings, seed=0)

    smudged = simulate_smudges(images[:8] / 255, seeded(9), PRESETS["general"])
    with torch.inference_mode():
        found = network.anomaly_map(smudged.image)
    by_pixel = image_auroc(found[~smudged.mask].numpy(), found[smudged.mask].numpy())
    assert by_pixel > 0.9
