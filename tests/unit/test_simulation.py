"""Simulated anomalies, from the noise to the finished picture."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Generator

from reconad_plugin.errors import InvalidImageError, NotEnoughImagesError
from reconad_plugin.simulation.anomalies import MIN_MASK_SHARE, simulate_anomalies
from reconad_plugin.simulation.perlin import perlin_noise, rotate
from reconad_plugin.simulation.textures import load_textures, random_textures


@pytest.fixture
def grey_images():
    """(12, 3, 32, 32) uint8 of flat grey."""
    return torch.full((12, 3, 32, 32), 120, dtype=torch.uint8)


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param((1, 1), id="one cell"),
        pytest.param((4, 4), id="square cells"),
        pytest.param((2, 16), id="long cells"),
        pytest.param((32, 32), id="a cell for each pixel"),
        pytest.param((3, 5), id="cells that do not divide the picture"),
    ],
)
def test_noise_has_its_range(cells):
    """Noise stays in [-1, 1], uses a good part of it, and has no level of its own."""
    noise = perlin_noise(64, 32, cells, Generator().manual_seed(0))

    assert noise.shape == (64, 32, 32)
    assert noise.dtype == torch.float32
    assert noise.abs().max() <= 1.0001
    assert noise.abs().max() > 0.5
    assert abs(noise.mean()) < 0.05


def test_noise_comes_near_one():
    """In the middle of a cell whose four gradients all point inward the noise is one."""
    middle = perlin_noise(5000, 1, (1, 1), Generator().manual_seed(0))

    assert 0.9 < middle.max() <= 1.0001
    assert -1.0001 <= middle.min() < -0.9


def test_noise_differs_from_draw_to_draw():
    """Images of a batch, and batches of a generator, are independent."""
    generator = Generator().manual_seed(0)

    first, second = perlin_noise(2, 32, (4, 4), generator), perlin_noise(2, 32, (4, 4), generator)

    flat = torch.cat([first, second]).flatten(1)
    correlation = torch.corrcoef(flat)
    assert (correlation - torch.eye(4)).abs().max() < 0.5


def test_same_seed_gives_the_same_noise():
    """The generator is the only source of chance."""
    first = perlin_noise(3, 32, (4, 8), Generator().manual_seed(9))
    second = perlin_noise(3, 32, (4, 8), Generator().manual_seed(9))

    assert torch.equal(first, second)


def test_noise_is_zero_on_the_grid_and_smooth_between():
    """At the corners of its cells the noise vanishes, and neighbours are alike."""
    noise = perlin_noise(8, 256, (4, 4), Generator().manual_seed(0))

    corners = noise[:, 63:257:64, 63:257:64]  # half a pixel from the grid
    assert corners.abs().max() < 0.03
    assert noise.diff(dim=1).abs().max() < 0.06
    assert noise.diff(dim=2).abs().max() < 0.06


def test_cells_run_down_and_across():
    """One cell down and eight across change faster across than down."""
    noise = perlin_noise(16, 64, (1, 8), Generator().manual_seed(0))

    assert noise.diff(dim=2).abs().mean() > 2 * noise.diff(dim=1).abs().mean()


def test_turning_by_nothing_changes_nothing():
    """An angle of zero is the identity."""
    image = torch.rand(2, 16, 16, generator=Generator().manual_seed(0))

    torch.testing.assert_close(rotate(image, torch.zeros(2)), image, rtol=0, atol=1e-5)


def test_each_image_turns_by_its_own_angle():
    """A quarter, a half and minus a quarter turn are the turns of the pixel grid."""
    image = torch.rand(1, 16, 16, generator=Generator().manual_seed(0)).repeat(3, 1, 1)

    turned = rotate(image, torch.tensor([90.0, 180.0, -90.0]))

    quarter = [torch.rot90(image[0], times) for times in (1, 2, 3)]
    torch.testing.assert_close(turned[1], quarter[1], rtol=0, atol=1e-4)
    ends = [(turned[0] - quarter[i]).abs().max() < 1e-4 for i in (0, 2)]
    assert sum(ends) == 1
    torch.testing.assert_close(torch.rot90(turned[2], 2), turned[0], rtol=0, atol=1e-4)


def test_corners_mirror():
    """A bright picture has no dark corners after a turn."""
    turned = rotate(torch.ones(1, 32, 32), torch.tensor([45.0]))

    torch.testing.assert_close(turned, torch.ones(1, 32, 32))


@given(seed=st.integers(0, 2**31), size_px=st.sampled_from([32, 64]))
def test_mask_is_never_empty_nor_everything(seed, size_px):
    """Every image has an anomaly, and it has a place."""
    images = torch.zeros(4, 3, size_px, size_px, dtype=torch.uint8)

    mask = simulate_anomalies(images, Generator().manual_seed(seed)).mask

    share = mask.float().mean((1, 2))
    assert mask.shape == (4, size_px, size_px)
    assert mask.dtype == torch.bool
    assert share.min() >= MIN_MASK_SHARE
    assert share.max() < 0.9


def test_outside_the_mask_nothing_changes(make_normal):
    """Pixels outside the mask are those of the normal image, bit by bit."""
    normal = make_normal(24, 1)

    simulated = simulate_anomalies(normal, Generator().manual_seed(0))

    outside = ~simulated.mask[:, None].expand_as(normal)
    assert simulated.image.dtype == torch.uint8
    assert torch.equal(simulated.image[outside], normal[outside])


def test_inside_the_mask_the_picture_changes(grey_images):
    """Every image is changed within its mask, and most pixels there are."""
    simulated = simulate_anomalies(grey_images, Generator().manual_seed(0))

    changed = (simulated.image != grey_images).any(1)
    share = [
        float(one[mask].float().mean()) for one, mask in zip(changed, simulated.mask, strict=True)
    ]
    assert min(share) > 0.5


def test_input_images_are_left_as_they_are(grey_images):
    """The normal images can be used again."""
    before = grey_images.clone()

    simulate_anomalies(grey_images, Generator().manual_seed(0))

    assert torch.equal(grey_images, before)


def test_same_seed_gives_the_same_anomalies(grey_images):
    """Anomalies follow the generator, and other seeds give other ones."""
    first = simulate_anomalies(grey_images, Generator().manual_seed(1))
    second = simulate_anomalies(grey_images, Generator().manual_seed(1))
    other = simulate_anomalies(grey_images, Generator().manual_seed(2))

    assert torch.equal(first.image, second.image)
    assert torch.equal(first.mask, second.mask)
    assert not torch.equal(first.mask, other.mask)


def test_opacity_decides_how_much_shows(grey_images):
    """A faint anomaly changes the picture less than an opaque one in the same place."""
    faint = simulate_anomalies(grey_images, Generator().manual_seed(1), opacity=(0.1, 0.1))
    opaque = simulate_anomalies(grey_images, Generator().manual_seed(1), opacity=(1.0, 1.0))

    def change(simulated):
        return (simulated.image.float() - 120).abs().mean().item()

    assert torch.equal(faint.mask, opaque.mask)
    assert change(faint) == pytest.approx(0.1 * change(opaque), rel=0.1)


def test_packaged_textures_load():
    """Dozens of different materials come with the package."""
    textures = load_textures(32)

    assert textures.shape[1:] == (3, 32, 32)
    assert textures.dtype == torch.uint8
    assert len(textures) >= 32
    assert len({texture.numpy().tobytes() for texture in textures}) == len(textures)


def test_folder_of_textures_loads_in_order_of_name(tmp_path):
    """JPEG and PNG files are read in the order of their names, and other files are not."""
    for name, shade in (("b.png", 200), ("a.PNG", 40), ("c.jpg", 90)):
        Image.new("RGB", (40, 30), (shade,) * 3).save(tmp_path / name)
    (tmp_path / "README.md").write_text("materials")

    textures = load_textures(32, tmp_path)

    assert textures[:2, 0, 0, 0].tolist() == [40, 200]
    assert textures[2].float().mean() == pytest.approx(90, abs=2)


def test_folder_without_pictures_is_refused(tmp_path):
    """An empty folder is an error that says what to do."""
    with pytest.raises(
        NotEnoughImagesError, match=r"at least one texture; .* holds no \.jpg or \.png: leave"
    ):
        load_textures(32, tmp_path)


def test_broken_texture_is_refused(tmp_path):
    """A texture that is no picture is not skipped in silence."""
    (tmp_path / "wood.jpg").write_bytes(b"sawdust")

    with pytest.raises(InvalidImageError, match="an image must be one of"):
        load_textures(32, tmp_path)


def test_drawn_textures_vary():
    """Of one texture come many looks: mirrored, recoloured, brighter and darker."""
    ramp = np.zeros((3, 16, 16), dtype=np.uint8)
    ramp[0] = np.linspace(50, 150, 16)
    texture = torch.from_numpy(ramp)[None]

    drawn = random_textures(200, texture, Generator().manual_seed(0))

    assert drawn.shape == (200, 3, 16, 16)
    assert 0 <= drawn.min() <= drawn.max() <= 1
    coloured = drawn.mean((2, 3)).argmax(1)
    assert set(coloured.tolist()) == {0, 1, 2}
    row = drawn.amax(1)[:, 0]
    assert 0.3 < (row[:, 0] > row[:, -1]).float().mean() < 0.7  # half are mirrored
    gain = row.mean(1) / (100 / 255)
    assert gain.min() < 0.6
    assert gain.max() > 1.4
