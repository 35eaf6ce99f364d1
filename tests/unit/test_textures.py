"""Textures, and what they are changed to before an anomaly takes its filling from them."""

import math
import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Generator

from reconad_plugin.errors import InvalidImageError, NotEnoughImagesError
from reconad_plugin.simulation.textures import (
    TextureDraw,
    Textures,
    _value_table,
    load_textures,
)

SIZE_PX = 16
STRETCH, EQUALISE, CONTRAST, BRIGHTNESS, SOLARISE, POSTERISE, INVERT = range(7)
VALUES = torch.linspace(0, 1, 256)


def seeded(seed=0):
    """A generator."""
    return Generator().manual_seed(seed)


@pytest.fixture
def noise():
    """(3, 3, 16, 16) uint8 of random colours between 40 and 200."""
    return torch.randint(40, 201, (3, 3, SIZE_PX, SIZE_PX), generator=seeded(9)).byte()


@pytest.fixture
def textures(noise):
    """The random pictures as textures."""
    return Textures.of(noise)


def plain_draw(textures, **changes):
    """One picture, the first, that is not changed at all but by what is given."""
    parts = {
        "number": torch.zeros(1, dtype=torch.long),
        "table": VALUES.expand(1, 3, 256).contiguous(),
        "sharpness": torch.zeros(1),
        "hue": torch.zeros(1),
        "saturation": torch.ones(1),
        "turn": torch.zeros(1),
        "shift": torch.zeros(1, 2, dtype=torch.long),
    }
    return TextureDraw(textures, **parts | changes)


def whole(draw):
    """All fillings of a draw's only picture: (3, S, S)."""
    size_px = draw.textures.pixels.shape[1]
    row, column = torch.ones(size_px, size_px).nonzero(as_tuple=True)
    fillings = draw.at(torch.zeros_like(row), row, column)
    return fillings.view(size_px, size_px, 3).permute(2, 0, 1)


def table_of(textures, *operations, count=200, seed=0):
    """Value tables of the first texture with some operations: (count, 3, 256)."""
    chosen = torch.zeros(count, 7, dtype=torch.bool)
    chosen[:, list(operations)] = True
    return _value_table(textures.shares[:1].expand(count, 3, 256), chosen, seeded(seed))


def test_packaged_textures_load():
    """Dozens of different materials come with the package."""
    textures = load_textures(32)

    assert textures.pixels.shape[1:] == (32, 32, 3)
    assert textures.pixels.dtype == torch.uint8
    assert len({texture.numpy().tobytes() for texture in textures.pixels}) >= 32


def test_folder_of_textures_loads_in_order_of_path(tmp_path):
    """JPEG and PNG files, also in folders below, are read by their paths; others are not."""
    (tmp_path / "deep").mkdir()
    for name, shade in (("b.png", 200), ("a.PNG", 40), ("deep/c.jpg", 90)):
        Image.new("RGB", (40, 30), (shade,) * 3).save(tmp_path / name)
    (tmp_path / "README.md").write_text("materials")

    pixels = load_textures(32, tmp_path).pixels

    assert pixels[:2, 0, 0, 0].tolist() == [40, 200]
    assert pixels[2].float().mean() == pytest.approx(90, abs=2)
    assert len(pixels) == 3


def test_folder_is_read_again_when_its_files_changed(tmp_path):
    """A version is noted with the pictures that it learnt from, in one process as in two."""
    file = tmp_path / "a.png"
    Image.new("RGB", (40, 40), (200, 0, 0)).save(file)
    first = load_textures(32, tmp_path)
    assert load_textures(32, tmp_path) is first

    Image.new("RGB", (40, 40), (0, 0, 200)).save(file)
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    assert load_textures(32, tmp_path).pixels[0, 0, 0].tolist() == [0, 0, 200]

    file.rename(tmp_path / "b.png")
    Image.new("RGB", (40, 40), (9, 9, 9)).save(file)
    assert load_textures(32, tmp_path).pixels[:, 0, 0, 2].tolist() == [9, 200]


def test_folder_without_pictures_is_refused(tmp_path):
    """An empty folder is an error that says what to do."""
    with pytest.raises(
        NotEnoughImagesError, match=r"at least one texture; .* holds no \.jpg or \.png: leave"
    ):
        load_textures(32, tmp_path)


def test_broken_texture_is_refused(tmp_path):
    """A texture that is no picture is not skipped in silence, but for hidden files."""
    (tmp_path / "wood.jpg").write_bytes(b"sawdust")
    (tmp_path / "._oak.jpg").write_bytes(b"what a Mac leaves beside a picture")

    with pytest.raises(InvalidImageError, match=r"wood\.jpg: an image must be one of"):
        load_textures(32, tmp_path)


def test_shares_are_the_distribution_of_values(noise, textures):
    """The share up to a value is numpy's, colour by colour."""
    for number, colour, value in ((0, 0, 40), (1, 2, 100), (2, 1, 200), (0, 1, 39), (0, 1, 255)):
        expected = (noise[number, colour].numpy() <= value).mean()
        assert float(textures.shares[number, colour, value]) == pytest.approx(expected)


def test_table_without_operations_is_the_identity(textures):
    """Each value stays what it is."""
    torch.testing.assert_close(table_of(textures, count=1)[0], VALUES.expand(3, 256))


def test_stretching_takes_the_darkest_to_0_and_the_lightest_to_1(noise, textures):
    """Between the two a colour's values keep their distances."""
    table = table_of(textures, STRETCH, count=1)[0]

    for colour in range(3):
        low, high = int(noise[0, colour].min()), int(noise[0, colour].max())
        expected = ((torch.arange(256) - low) / (high - low)).clamp(0, 1)
        torch.testing.assert_close(table[colour], expected, rtol=0, atol=1e-5)


def test_stretching_a_flat_texture_is_finite():
    """A texture of one value has nothing to stretch."""
    flat = Textures.of(torch.full((1, 3, 8, 8), 77, dtype=torch.uint8))

    table = table_of(flat, STRETCH, EQUALISE, count=1)

    assert torch.isfinite(table).all()
    assert 0 <= table.min() <= table.max() <= 1


def test_equalising_gives_each_value_its_share(noise, textures):
    """After it a texture's values are spread evenly."""
    table = table_of(textures, EQUALISE, count=1)[0]

    torch.testing.assert_close(table, textures.shares[0])
    spread = torch.stack([table[colour][noise[0, colour].long()] for colour in range(3)])
    assert spread.flatten(1).mean(1).tolist() == pytest.approx([0.5] * 3, abs=0.02)


def test_contrast_curves_bend_each_colour_by_a_power(textures):
    """Ends stay, and every curve is a power between a half and two, one for each colour."""
    table = table_of(textures, CONTRAST)

    power = table[..., 128].log() / VALUES[128].log()
    assert table[..., 0].abs().max() == 0
    assert (table[..., 255] == 1).all()
    assert 0.5 <= power.min() < 0.7
    assert 1.8 < power.max() <= 2.0001
    assert (power[:, 0] != power[:, 1]).all()
    torch.testing.assert_close(table, VALUES ** power[..., None], rtol=0, atol=1e-5)


def test_brightness_scales_and_shifts(textures):
    """All colours of a picture become lighter or darker alike, by a fifth and an eighth at most."""
    table = table_of(textures, BRIGHTNESS)

    gain, offset = (table[..., 150] - table[..., 60]) * 255 / 90, table[..., 60]
    assert 0.8 - 1e-4 <= gain.min() < 0.85
    assert 1.15 < gain.max() <= 1.2 + 1e-4
    assert (offset - VALUES[60] * gain).abs().max() <= 0.12 + 1e-4
    assert torch.equal(table[:, 0], table[:, 1])


def test_solarising_turns_what_is_light(textures):
    """Values below a threshold stay, those above are turned round."""
    for table in table_of(textures, SOLARISE)[:, 0]:
        turned = table != VALUES
        assert torch.equal(table[turned], 1 - VALUES[turned])
        first = int(turned.nonzero()[0])
        assert 0.12 <= VALUES[first] <= 0.51
        assert bool((turned | (VALUES == 0.5))[first:].all())


def test_posterising_leaves_few_values(textures):
    """Values are rounded to two to fifteen even steps."""
    for table in table_of(textures, POSTERISE)[:, 0]:
        levels = table.unique()
        assert 3 <= len(levels) <= 16
        torch.testing.assert_close(levels, torch.linspace(0, 1, len(levels)))
        assert (table - VALUES).abs().max() <= 0.5 / (len(levels) - 1) + 1e-6


def test_inverting_turns_every_value(textures):
    """Black becomes white."""
    torch.testing.assert_close(table_of(textures, INVERT, count=1)[0], (1 - VALUES).expand(3, 256))


def test_operations_follow_each_other(textures):
    """Stretching and inverting is stretching, inverted."""
    stretched = table_of(textures, STRETCH, count=1)

    torch.testing.assert_close(table_of(textures, STRETCH, INVERT, count=1), 1 - stretched)


@given(seed=st.integers(0, 2**31))
def test_fillings_stay_in_range(seed):
    """Whatever is drawn, every filling is a colour in [0, 1]."""
    generator = seeded(seed)
    pixels = torch.randint(0, 256, (2, 3, SIZE_PX, SIZE_PX), generator=generator).byte()
    draw = TextureDraw.draw(20, Textures.of(pixels), generator)

    image = torch.arange(20).repeat_interleave(50)
    row, column = torch.randint(SIZE_PX, (2, 1000), generator=generator)
    fillings = draw.at(image, row, column)

    assert fillings.shape == (1000, 3)
    assert torch.isfinite(fillings).all()
    assert 0 <= fillings.min() <= fillings.max() <= 1


def test_plain_draw_is_the_texture(noise, textures):
    """Without any change the fillings are the picture's pixels."""
    torch.testing.assert_close(whole(plain_draw(textures)), noise[0] / 255)


def test_number_chooses_the_texture(noise, textures):
    """Each image has the picture that was drawn for it."""
    draw = plain_draw(textures, number=torch.tensor([2]))

    torch.testing.assert_close(whole(draw), noise[2] / 255)


def test_shift_moves_down_and_across_and_begins_again(noise, textures):
    """Beyond its border a moved texture begins again at the other side."""
    draw = plain_draw(textures, shift=torch.tensor([[5, 11]]))

    torch.testing.assert_close(whole(draw), (noise[0] / 255).roll((-5, -11), (1, 2)))


def test_turned_texture_is_read_along_its_angle(noise, textures):
    """A step across the picture is a step along the angle in the texture, cut to whole pixels."""
    turn = 0.6

    fillings = whole(plain_draw(textures, turn=torch.tensor([turn])))

    for row, column in ((0, 0), (3, 9), (15, 2), (7, 15)):
        down = math.floor(row * math.cos(turn) - column * math.sin(turn)) % SIZE_PX
        across = math.floor(row * math.sin(turn) + column * math.cos(turn)) % SIZE_PX
        torch.testing.assert_close(fillings[:, row, column], noise[0, :, down, across] / 255)


@pytest.mark.parametrize("strength", [pytest.param(s, id=f"strength {s}") for s in (0.5, 2.0)])
def test_sharpness_adds_the_difference_to_the_neighbours(noise, textures, strength):
    """A pixel moves away from the mean of its four neighbours."""
    draw = plain_draw(textures, sharpness=torch.tensor([strength]))

    padded = np.pad(noise[0].numpy().astype(float), ((0, 0), (1, 1), (1, 1)), mode="wrap")
    around = (
        padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    ) / 4
    centre = padded[:, 1:-1, 1:-1]
    expected = (centre + strength * (centre - around)).clip(0, 255) / 255
    np.testing.assert_allclose(whole(draw).numpy(), expected, atol=1.01 / 255)


def test_sharpness_is_each_images_own(textures):
    """Of two images one is sharpened and the other is as it was."""
    two = plain_draw(
        textures,
        **{
            name: getattr(plain_draw(textures), name).repeat_interleave(2, 0)
            for name in ("number", "table", "hue", "saturation", "turn", "shift")
        },
        sharpness=torch.tensor([0.0, 2.0]),
    )
    row = column = torch.arange(SIZE_PX).repeat(2)

    plain, sharp = two.at(torch.tensor([0, 1]).repeat_interleave(SIZE_PX), row, column).chunk(2)

    torch.testing.assert_close(plain, whole(plain_draw(textures)).diagonal(0, 1, 2).T)
    assert (sharp - plain).abs().mean() > 0.05


def test_third_of_a_turn_of_hue_swaps_the_colours(noise, textures):
    """A hue that is turned by 120 degrees makes each colour the next one; grey stays grey."""
    hue, all_but_plain = torch.tensor([2 * math.pi / 3]), torch.tensor([1 + 1e-6])

    turned = whole(plain_draw(textures, hue=hue, saturation=all_but_plain))

    swaps = [(noise[0] / 255).roll(by, 0) for by in (1, 2)]
    assert min((turned - swap).abs().max() for swap in swaps) < 1e-4
    torch.testing.assert_close(turned.mean(0), noise[0].float().mean(0) / 255)


def test_saturation_scales_the_distance_from_grey(noise, textures):
    """Half the saturation is half way to the grey of the same brightness."""
    picture = noise[0] / 255

    pale = whole(plain_draw(textures, saturation=torch.tensor([0.5])))

    grey = picture.mean(0, keepdim=True)
    torch.testing.assert_close(pale, (picture + grey) / 2)


def test_three_of_ten_changes_are_drawn(textures):
    """Each of the ten comes in three tenths of the draws, and never more than three at once."""
    draw = TextureDraw.draw(4000, textures, seeded())

    by_place = torch.stack([draw.sharpness != 0, draw.hue != 0, draw.turn != 0])
    plain = (draw.table == VALUES).flatten(1).all(1)
    assert by_place.float().mean(1).tolist() == pytest.approx([0.3] * 3, abs=0.03)
    assert torch.equal(draw.hue != 0, draw.saturation != 1)
    assert plain[by_place.sum(0) == 3].all()
    assert not plain[by_place.sum(0) == 0].any()
    assert draw.turn.abs().max() <= math.pi / 4
    assert len(draw.number.unique()) == 3


def test_draws_follow_the_generator(textures):
    """The same seed gives the same fillings, another seed others."""
    first, again, other = (whole(TextureDraw.draw(1, textures, seeded(seed))) for seed in (4, 4, 5))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_moving_to_a_device_keeps_everything(textures):
    """A copy on another device is the same."""
    moved = textures.to("cpu")

    assert torch.equal(moved.pixels, textures.pixels)
    assert torch.equal(moved.shares, textures.shares)
