"""Pictures made by rule, and smudges of one colour."""

import pytest
import torch
from torch import Generator

from reconad_plugin.images.size import ImageSize
from reconad_plugin.simulation.presets import PRESETS
from reconad_plugin.simulation.procedural import (
    FIELDS,
    checks,
    gradients,
    gratings,
    procedural_patterns,
    stains,
)
from reconad_plugin.simulation.smudges import LEAST_CONTRAST, OPACITY, simulate_smudges

SIZE_PX = 64


def seeded(seed=0):
    """A generator."""
    return Generator().manual_seed(seed)


def plain(count, colours=(0.3, 0.5, 0.7)):
    """(count, 3, S, S) of one colour."""
    return torch.tensor(colours).view(1, 3, 1, 1).expand(count, 3, SIZE_PX, SIZE_PX).clone()


@pytest.mark.parametrize("count", [pytest.param(n, id=f"{n} pictures") for n in (0, 1, 30)])
def test_patterns_are_pictures(count):
    """Any number of them, finite and in [0, 1]."""
    patterns = procedural_patterns(count, ImageSize.square(SIZE_PX), seeded())

    assert patterns.shape == (count, 3, SIZE_PX, SIZE_PX)
    assert patterns.dtype == torch.float32
    assert ((patterns >= 0) & (patterns <= 1)).all()


def test_patterns_differ():
    """No two are alike, nearly all have contrast, and they have colours."""
    patterns = procedural_patterns(60, ImageSize.square(SIZE_PX), seeded())

    flat = patterns.flatten(1)
    distance = torch.cdist(flat, flat) + 1e3 * torch.eye(60)
    assert distance.min() > 1
    assert (flat.std(1) > 0.02).float().mean() > 0.9
    assert ((patterns[:, 0] - patterns[:, 2]).abs().flatten(1).amax(1) > 0.05).float().mean() > 0.8


def test_patterns_follow_the_generator():
    """The same seed gives the same ones, another gives others."""
    first, again, other = (
        procedural_patterns(6, ImageSize.square(SIZE_PX), seeded(seed)) for seed in (0, 0, 1)
    )

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("size_px", [pytest.param(s, id=f"{s} pixels") for s in (32, 128)])
def test_fields_fill_their_range(name, size_px):
    """Each kind at each size is between 0 and 1, and reaches far into both halves."""
    field = FIELDS[name](20, ImageSize.square(size_px), seeded())

    assert field.shape == (20, size_px, size_px)
    assert field.min() >= 0
    assert field.max() <= 1
    assert field.min() < 0.2
    assert field.max() > 0.8


def crossness(field):
    """How far slopes point other ways than the usual one: 0 where all are parallel, (N,)."""
    down = (field[:, 2:, 1:-1] - field[:, :-2, 1:-1]).flatten(1)
    across = (field[:, 1:-1, 2:] - field[:, 1:-1, :-2]).flatten(1)
    slopes = torch.stack([down, across], 2)  # (N, P, 2)
    values = torch.linalg.eigvalsh(slopes.transpose(1, 2) @ slopes)
    return values[:, 0] / values[:, 1].clamp_min(1e-6)


def test_kinds_are_what_they_are_called():
    """Checks have two values, gradients are smooth, gratings rise and fall one way alone."""
    assert set(checks(10, ImageSize.square(SIZE_PX), seeded()).unique().tolist()) == {0.0, 1.0}
    assert gradients(20, ImageSize.square(SIZE_PX), seeded()).diff(dim=1).abs().max() < 3 / SIZE_PX
    lines, clouds = (
        crossness(make(40, ImageSize.square(SIZE_PX), seeded())) for make in (gratings, stains)
    )
    assert lines.median() < 0.02
    assert clouds.median() > 0.05


def test_smudge_covers_its_mask_alone():
    """Outside the mask nothing changes; inside all goes to one colour in one opacity."""
    image = plain(20)

    smudged = simulate_smudges(image, seeded(), PRESETS["general"])

    inside = smudged.mask[:, None].expand_as(image)
    assert smudged.mask.flatten(1).any(1).all()
    assert torch.equal(smudged.image[~inside], image[~inside])
    for picture, mask in zip(smudged.image, smudged.mask, strict=True):
        colours = picture[:, mask]
        torch.testing.assert_close(colours, colours[:, :1].expand_as(colours))
        assert (colours[:, 0] - image[0, :, 0, 0]).abs().max() > 0.9 * LEAST_CONTRAST * OPACITY[0]


def test_smudge_keeps_what_is_below_in_part():
    """A smudge of opacity a leaves 1 - a of the contrast below it."""
    noise = 0.2 + 0.2 * torch.rand(12, 3, SIZE_PX, SIZE_PX, generator=seeded(5))

    smudged = simulate_smudges(noise, seeded(), PRESETS["general"])

    for before, after, mask in zip(noise, smudged.image, smudged.mask, strict=True):
        left = after[:, mask].std() / before[:, mask].std()
        assert after.min() >= 0
        assert after.max() <= 1
        if mask.sum() > 50:
            spread = (after[:, mask] - after[:, mask].mean(1, keepdim=True)).std()
            share = spread / (before[:, mask] - before[:, mask].mean(1, keepdim=True)).std()
            assert -1e-3 <= share <= 1 - OPACITY[0] + 1e-3
        assert torch.isfinite(left)


def test_grey_pictures_get_grey_smudges():
    """A camera without colours sees none."""
    grey = plain(8, (0.4, 0.4, 0.4))

    red, green, blue = simulate_smudges(grey, seeded(), PRESETS["general"]).image.unbind(1)

    assert torch.equal(red, green)
    assert torch.equal(green, blue)


def test_smudges_follow_the_generator():
    """The same seed gives the same ones, another gives others."""
    first, again, other = (
        simulate_smudges(plain(4), seeded(seed), PRESETS["metal"]) for seed in (0, 0, 1)
    )

    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)
