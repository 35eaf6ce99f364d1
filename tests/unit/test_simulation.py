"""Simulated anomalies: a filled shape, blended into a normal picture."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from reconad_plugin.errors import ConfigError
from reconad_plugin.images.size import ImageSize
from reconad_plugin.simulation.anomalies import (
    LEAST_CHANGE,
    MIN_MASK_SHARE,
    draw_masks,
    simulate_anomalies,
)
from reconad_plugin.simulation.presets import DEFAULT_PRESET, PRESETS, Preset, preset
from reconad_plugin.simulation.textures import Textures

DISC = Preset(
    shapes={"blobs": 1},
    fillings={"shade": 1},
    opacity=(1.0, 1.0),
    blurred_share=0.0,
    blob_radius=(0.2, 0.2),
    blob_number=(1, 1),
)
every_preset = pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in PRESETS])


def seeded(seed=0):
    """A generator."""
    return Generator().manual_seed(seed)


def flat(count, size_px=32, colour=(120, 120, 120)):
    """(count, 3, S, S) uint8 of one colour."""
    return (
        torch.tensor(colour, dtype=torch.uint8).view(1, 3, 1, 1).repeat(count, 1, size_px, size_px)
    )


def coloured(count, size_px=32, seed=0):
    """(count, 3, S, S) uint8 of random colours."""
    shape = (count, 3, size_px, size_px)
    return torch.randint(30, 220, shape, generator=seeded(seed)).byte()


@pytest.mark.parametrize(
    "size_px", [pytest.param(size, id=f"{size} pixels") for size in (32, 64, 128)]
)
@every_preset
def test_every_preset_at_every_size(name, size_px):
    """Inside the mask is an anomaly, outside are the normal pixels, bit by bit."""
    normal = coloured(12, size_px)

    simulated = simulate_anomalies(normal, seeded(), PRESETS[name])

    outside = ~simulated.mask[:, None].expand_as(normal)
    assert simulated.image.shape == normal.shape
    assert simulated.image.dtype == torch.float32
    assert 0 <= simulated.image.min() <= simulated.image.max() <= 1
    assert torch.equal(simulated.image[outside], (normal.float() / 255)[outside])
    assert torch.equal(simulated.pixels[outside], normal[outside])
    changed = (simulated.image != normal.float() / 255).any(1) & simulated.mask
    assert (changed.sum((1, 2)) >= 0.5 * simulated.mask.sum((1, 2))).all()


@every_preset
def test_masks_of_every_preset_take_a_sane_share(name):
    """No mask is empty, none takes all, and most take a small part of the picture."""
    mask = draw_masks(300, ImageSize.square(64), seeded(), PRESETS[name])

    share = mask.float().mean((1, 2))
    assert mask.dtype == torch.bool
    assert share.min() >= MIN_MASK_SHARE
    assert share.max() < 0.9
    assert 0.005 < share.mean() < 0.2


@given(seed=st.integers(0, 2**31), name=st.sampled_from(sorted(PRESETS)))
def test_mask_is_never_empty_nor_everything(seed, name):
    """Every image has an anomaly, and it has a place."""
    share = draw_masks(4, ImageSize.square(32), seeded(seed), PRESETS[name]).float().mean((1, 2))

    assert share.min() >= MIN_MASK_SHARE
    assert share.max() < 1


def test_shapes_that_are_always_empty_become_a_square():
    """Where no draw gives a pixel there is still an anomaly."""
    vanishing = replace(DISC, shapes={"polygon": 1}, polygon_radius=(1e-7, 1e-7))

    mask = draw_masks(3, ImageSize.square(32), seeded(), vanishing)

    assert (mask.sum((1, 2)) >= 0.01 * 32 * 32).all()


def test_shapes_come_by_their_shares():
    """A shape of share zero never comes, and the others as often as they should."""
    discs = replace(DISC, shapes={"polygon": 0, "blobs": 3, "perlin": 1}, perlin_threshold=(-2, -2))

    mask = draw_masks(400, ImageSize.square(32), seeded(), discs)

    is_everything = mask.all((1, 2))  # noise above minus two
    assert is_everything.float().mean() == pytest.approx(0.25, abs=0.07)


@pytest.mark.parametrize("count", [pytest.param(n, id=f"{n} images") for n in (1, 2, 33)])
def test_batches_of_any_length(count):
    """One image has an anomaly as well as many."""
    simulated = simulate_anomalies(coloured(count), seeded())

    assert simulated.image.shape == (count, 3, 32, 32)
    assert simulated.mask.shape == (count, 32, 32)


def test_bytes_and_floats_give_the_same(make_normal):
    """Pictures as uint8 and the same in [0, 1] get the same anomalies."""
    normal = make_normal(4, 1)

    of_bytes = simulate_anomalies(normal, seeded(3))
    of_floats = simulate_anomalies(normal.float() / 255, seeded(3))

    assert torch.equal(of_bytes.image, of_floats.image)
    assert torch.equal(of_bytes.mask, of_floats.mask)


def test_channels_last_gives_the_same():
    """The memory order of a batch does not matter."""
    normal = coloured(4).float() / 255

    plain = simulate_anomalies(normal, seeded(3))
    turned = simulate_anomalies(normal.contiguous(memory_format=torch.channels_last), seeded(3))

    assert torch.equal(plain.image, turned.image)


@pytest.mark.parametrize(
    "as_float", [pytest.param(False, id="bytes"), pytest.param(True, id="float")]
)
def test_input_images_are_left_as_they_are(as_float):
    """The normal images can be used again."""
    images = flat(6).float() / 255 if as_float else flat(6)
    before = images.clone()

    simulate_anomalies(images, seeded())

    assert torch.equal(images, before)


def test_anomalies_follow_the_generator():
    """The same seed gives the same anomalies, another gives others, and no two are alike."""
    first, again, other = (simulate_anomalies(flat(12), seeded(seed)) for seed in (1, 1, 2))

    assert torch.equal(first.image, again.image)
    assert torch.equal(first.mask, again.mask)
    assert not torch.equal(first.mask, other.mask)
    assert len({mask.numpy().tobytes() for mask in first.mask}) == 12


def test_global_random_state_is_not_used():
    """The generator is the only source of chance."""
    before = torch.get_rng_state()

    simulate_anomalies(flat(6), seeded())

    assert torch.equal(torch.get_rng_state(), before)


def test_opacity_decides_how_much_shows():
    """A clear anomaly of half the opacity changes the picture half as much, everywhere."""
    normal = flat(8)
    half, opaque = (
        simulate_anomalies(
            normal,
            seeded(1),
            replace(DISC, fillings={"noise": 1}, opacity=(opacity, opacity)),
        )
        for opacity in (0.5, 1.0)
    )

    change = [simulated.image - normal.float() / 255 for simulated in (half, opaque)]
    assert torch.equal(half.mask, opaque.mask)
    torch.testing.assert_close(change[0], change[1] / 2, rtol=0, atol=1e-5)


def test_faint_anomalies_are_made_visible():
    """A label must be true: what would hardly show is made clearer, what shows is left alone."""
    normal = flat(64)
    faint = replace(DISC, fillings={"shade": 1}, opacity=(0.1, 0.1))
    clear = replace(DISC, fillings={"shade": 1}, opacity=(1.0, 1.0))

    for preset_ in (faint, clear):
        simulated = simulate_anomalies(normal, seeded(), preset_)
        change = (simulated.image - normal / 255).abs().amax(1)
        mean = (change * simulated.mask).sum((1, 2)) / simulated.mask.sum((1, 2))
        assert mean.min() >= LEAST_CHANGE - 1e-4
        assert preset_ is clear or mean.max() <= LEAST_CHANGE + 1e-4


@pytest.mark.parametrize("shade", [pytest.param(0, id="black"), pytest.param(255, id="white")])
@every_preset
def test_anomaly_shows_where_its_look_could_not(shade, name):
    """Black cannot be shaded darker, nor white lighter: such a filling becomes a texture."""
    normal = flat(200, colour=(shade,) * 3)
    normal[:, :, 16:] = coloured(200)[:, :, 16:]

    simulated = simulate_anomalies(normal, seeded(), PRESETS[name])

    change = (simulated.image - normal / 255).abs().amax(1)
    mean = (change * simulated.mask).sum((1, 2)) / simulated.mask.sum((1, 2))
    assert mean.min() >= 0.99 / 255


def test_anomalies_that_show_do_not_change_for_those_that_do_not():
    """A filling that is drawn again moves no other image, and draws nothing from the generator."""
    normal = coloured(8)
    beside_black = torch.cat([normal[:4], flat(4, colour=(0, 0, 0))])
    shades = replace(DISC, fillings={"shade": 1, "texture": 0})
    generators = seeded(3), seeded(3)

    plain = simulate_anomalies(normal, generators[0], shades)
    beside = simulate_anomalies(beside_black, generators[1], shades)

    assert torch.equal(plain.image[:4], beside.image[:4])
    assert (beside.image[4:] > 0).any((1, 2, 3)).all()
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


def test_opacity_is_drawn_from_its_range():
    """No anomaly is fainter or stronger than its preset allows."""
    opaque = simulate_anomalies(flat(300), seeded(1), DISC)
    drawn = simulate_anomalies(flat(300), seeded(1), replace(DISC, opacity=(0.2, 0.6)))

    def strongest(simulated):
        return (simulated.image - 120 / 255).abs().amax((1, 2, 3))

    share = strongest(drawn) / strongest(opaque)
    assert 0.2 - 1e-3 <= share.min() < 0.23
    assert 0.57 < share.max() <= 0.6 + 1e-3


def test_edges_are_sharp_or_soft_as_the_preset_says():
    """A hard mask changes all its pixels alike; a soft one changes those at its edge less."""

    def evenness(blurred_share):
        simulated = simulate_anomalies(
            flat(60, 64), seeded(2), replace(DISC, blurred_share=blurred_share)
        )
        change = (simulated.image - 120 / 255).abs().amax(1)
        return [
            float(one[mask].min() / one[mask].max())
            for one, mask in zip(change, simulated.mask, strict=True)
        ]

    assert min(evenness(0.0)) > 0.999
    assert max(evenness(1.0)) < 0.9
    assert 0.2 < sum(share > 0.999 for share in evenness(0.5)) / 60 < 0.8


def test_edges_of_a_share_are_moved():
    """Sharpened masks are others than those that are not, and still about as large."""
    plain = draw_masks(200, ImageSize.square(64), seeded(), replace(DISC, sharpened_share=0.0))
    moved = draw_masks(200, ImageSize.square(64), seeded(), replace(DISC, sharpened_share=1.0))

    assert (plain != moved).any((1, 2)).float().mean() > 0.5
    assert moved.float().mean() == pytest.approx(float(plain.float().mean()), rel=0.3)


def fillings_of(filling, normal, seed=0, textures=None):
    """Pixels inside and outside of opaque discs: change inside, and the mask."""
    preset_ = replace(DISC, fillings={filling: 1})
    simulated = simulate_anomalies(normal, seeded(seed), preset_, textures)
    return [
        (image[:, mask], clean[:, mask])
        for image, clean, mask in zip(
            simulated.image, normal.float() / 255, simulated.mask, strict=True
        )
    ]


def test_shade_is_the_picture_lighter_or_darker():
    """Within a mask every pixel is scaled alike, by a fifth to four fifths more or less."""
    gains = []
    for found, clean in fillings_of("shade", coloured(100).clamp(30, 130)):
        gain = found / clean
        is_clipped = found == 1
        assert (gain[~is_clipped] - gain[~is_clipped].mean()).abs().max() < 1e-3
        gains.append(float(gain[~is_clipped].mean()))

    assert all(0.2 - 1e-3 <= abs(gain - 1) <= 0.8 + 1e-3 for gain in gains)
    assert 0.3 < sum(gain > 1 for gain in gains) / 100 < 0.7


def test_noise_lies_around_the_picture():
    """Within a mask noise of its own strength is added, without a level of its own."""
    grains = [
        found - clean for found, clean in fillings_of("noise", flat(100, 64, (120, 127, 134)))
    ]

    deviations = [float(grain.std()) for grain in grains]
    assert float(torch.cat(grains, 1).mean()) == pytest.approx(0, abs=0.02)
    assert 0.09 < min(deviations) < 0.12
    assert 0.24 < max(deviations) < 0.31


def test_patch_comes_from_a_normal_picture():
    """Within a mask are values of the batch's pictures, up to a third lighter or darker."""
    normal = torch.cat([flat(4), flat(4, colour=(60, 60, 60))])

    for found, clean in fillings_of("patch", normal):
        value = float(found.mean() * 255)
        assert (found == found[0, 0]).all()
        assert 0.7 * 60 - 1 <= value <= 1.3 * 60 + 1 or 0.7 * 120 - 1 <= value <= 1.3 * 120 + 1
        assert clean.shape == found.shape


def test_patch_is_another_place():
    """What is pasted is not what was there before."""
    ramp = (
        torch.arange(32, dtype=torch.uint8).view(1, 1, 32, 1).expand(1, 3, 32, 32).contiguous() * 4
    )

    (found, clean) = fillings_of("patch", ramp + 60)[0]

    assert (found / clean).std() > 0.02  # no mere gain of the same place


def test_texture_comes_from_the_given_pictures():
    """Other textures give other fillings in the same masks."""
    bright, dark = (Textures.of(coloured(3, seed=seed)) for seed in (1, 2))

    first, again, other = (
        fillings_of("texture", coloured(5), textures=textures)
        for textures in (bright, bright, dark)
    )

    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


@every_preset
def test_grey_product_gets_grey_fillings(name):
    """A camera without colours sees none in an anomaly either."""
    grey = coloured(16)[:, :1].repeat(1, 3, 1, 1)

    image = simulate_anomalies(grey, seeded(), PRESETS[name]).image

    assert torch.equal(image[:, 0], image[:, 1])
    assert torch.equal(image[:, 1], image[:, 2])


def test_coloured_product_gets_coloured_fillings():
    """A single coloured pixel shows that the camera sees colours."""
    images = flat(16)
    images[0, 0, 0, 0] = 121

    image = simulate_anomalies(images, seeded()).image

    assert (image[:, 0] - image[:, 1]).abs().max() > 0.1


def test_pixels_are_rounded():
    """As bytes the images are rounded, not cut."""
    simulated = simulate_anomalies(coloured(4), seeded())

    assert simulated.pixels.dtype == torch.uint8
    assert (simulated.pixels / 255 - simulated.image).abs().max() <= 0.5 / 255 + 1e-6


@every_preset
def test_presets_are_found_by_name(name):
    """Each name gives its entry of the table."""
    assert preset(name) is PRESETS[name]
    assert DEFAULT_PRESET in PRESETS


def test_unknown_preset_is_refused():
    """A name that is not in the table is an error that lists those that are."""
    with pytest.raises(
        ConfigError, match=r"preset must be one of general, electronics, .*metal; got 'wood'"
    ):
        preset("wood")
