"""Shapes of simulated anomalies, and the noise that stains are cut from."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.path import Path as Outline
from scipy import ndimage
from torch import Generator

from reconad_plugin.images.size import ImageSize
from reconad_plugin.simulation.masks import (
    VERTICES,
    blob_masks,
    dilate,
    erode,
    perlin_masks,
    polygon_masks,
    soften,
    soften_widely,
    stroke_masks,
    uniform,
)
from reconad_plugin.simulation.perlin import perlin_noise, rotate

SHAPES = {
    "perlin": perlin_masks,
    "polygon": polygon_masks,
    "stroke": stroke_masks,
    "blobs": blob_masks,
}
BOOL_MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)))


@pytest.fixture(params=[pytest.param(shape, id=name) for name, shape in SHAPES.items()])
def shape(request):
    """Each shape's function in turn."""
    return request.param


def seeded(seed=0):
    """A generator."""
    return Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "size", [pytest.param(size, id=size) for size in ("32", "64", "128", "256", "64x160", "208x96")]
)
def test_masks_have_the_size_that_is_asked_for(shape, size):
    """One mask or several are truth values of its height and width."""
    size = ImageSize.parse(size)
    for count in (1, 3):
        mask = shape(count, size, seeded())

        assert mask.shape == (count, *size.shape)
        assert mask.dtype == torch.bool


def test_masks_follow_the_generator(shape):
    """The same seed gives the same masks, another seed gives others, and no two are alike."""
    first, again, other = (
        shape(8, ImageSize.square(64), seeded(1)),
        shape(8, ImageSize.square(64), seeded(1)),
        shape(8, ImageSize.square(64), seeded(2)),
    )

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    drawn = [mask.numpy().tobytes() for mask in first if mask.any()]
    assert len(set(drawn)) == len(drawn) > 4


@pytest.mark.parametrize(
    ("shape", "least", "most"),
    [
        pytest.param(perlin_masks, 0.03, 0.25, id="perlin"),
        pytest.param(polygon_masks, 0.01, 0.08, id="polygon"),
        pytest.param(stroke_masks, 0.005, 0.05, id="stroke"),
        pytest.param(blob_masks, 0.001, 0.02, id="blobs"),
    ],
)
def test_share_of_the_picture_is_that_of_a_defect(shape, least, most):
    """A shape takes a few percent of the picture, as much of a small one as of a large one."""
    shares = [
        shape(300, ImageSize.square(size_px), seeded(size_px)).float().mean((1, 2))
        for size_px in (64, 128)
    ]

    for share in shares:
        assert least < share.mean() < most
        assert share.max() < 0.9
    assert shares[0].mean() == pytest.approx(float(shares[1].mean()), rel=0.35)


def test_shapes_reach_every_part_of_the_picture(shape):
    """No corner and no side is spared."""
    ever = shape(2000, ImageSize.square(32), seeded()).any(0)

    quarters = ever.float().unflatten(0, (4, 8)).unflatten(2, (4, 8)).mean((1, 3))
    assert quarters.min() > 0.5


def test_threshold_decides_how_much_is_stained():
    """A lower threshold stains more, and each mask holds those of higher thresholds."""
    low = perlin_masks(50, ImageSize.square(64), seeded(), threshold=(0.2, 0.2))
    high = perlin_masks(50, ImageSize.square(64), seeded(), threshold=(0.6, 0.6))

    assert low.sum() > 2 * high.sum()
    assert not (high & ~low).any()


@pytest.mark.parametrize("seed", [pytest.param(seed, id=f"seed {seed}") for seed in range(5)])
def test_polygons_against_matplotlib(seed):
    """Pixels are inside exactly where matplotlib says that their middles are."""
    count, size_px, most = 6, 64, VERTICES[1]
    radius = (0.04, 0.25)
    generator = seeded(seed)  # the draws that the function makes, once more
    corners = torch.randint(VERTICES[0], most + 1, (count, 1), generator=generator)
    jitter = uniform(generator, 0, 0.8, count, most)
    reach = uniform(generator, *radius, count, 1) * uniform(generator, 0.5, 1, count, most)
    middle = uniform(generator, 0, 1, count, 2)
    line = (np.arange(size_px) + 0.5) / size_px
    pixels = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)  # x, y

    masks = polygon_masks(count, ImageSize.square(size_px), seeded(seed), radius)

    for number in range(count):
        several = int(corners[number])
        angle = (np.arange(several) + jitter[number, :several].numpy()) * 2 * math.pi / several
        length = reach[number, :several].numpy()
        y, x = middle[number].tolist()
        outline = np.stack([x + length * np.cos(angle), y + length * np.sin(angle)], axis=1)
        expected = Outline(outline).contains_points(pixels).reshape(size_px, size_px)
        assert (masks[number].numpy() != expected).sum() <= 1  # a middle on the outline


def test_polygons_keep_their_radius():
    """No part is further from another than two radii."""
    masks = polygon_masks(100, ImageSize.square(128), seeded(), radius=(0.1, 0.1))

    rows = masks.any(2).sum(1)
    assert rows.max() <= math.ceil(2 * 0.1 * 128)
    assert rows.max() > 0.1 * 128


def test_strokes_are_as_wide_as_asked():
    """The thickest place of a stroke is about its width, whatever its bends."""
    for width in (0.05, 0.1):
        masks = stroke_masks(
            40, ImageSize.square(128), seeded(), length=(0.5, 0.5), width=(width, width)
        )

        thickest = [2 * ndimage.distance_transform_edt(mask).max() for mask in masks.numpy()]
        assert np.median(thickest) == pytest.approx(width * 128, rel=0.35)


def test_strokes_are_as_long_as_asked():
    """A longer stroke covers more, in proportion, and is about as long as it was asked to be."""
    area = {
        length: stroke_masks(200, ImageSize.square(128), seeded(), (length, length), (0.04, 0.04))
        .sum()
        .item()
        / 200
        for length in (0.2, 0.4)
    }

    assert area[0.4] / area[0.2] == pytest.approx(2, rel=0.3)
    assert area[0.4] == pytest.approx(0.4 * 0.04 * 128**2, rel=0.4)


def test_thin_strokes_are_still_seen():
    """A stroke that is thinner than a pixel is drawn a pixel wide."""
    masks = stroke_masks(100, ImageSize.square(32), seeded(), length=(0.5, 0.5), width=(1e-4, 1e-4))

    assert (masks.flatten(1).sum(1) > 5).float().mean() > 0.8


def test_single_blob_is_a_disc():
    """One blob that lies within the picture is about as high as wide, with a disc's area."""
    masks = blob_masks(
        100, ImageSize.square(128), seeded(), radius=(0.1, 0.1), blobs=(1, 1)
    ).numpy()
    border = np.ones((128, 128), dtype=bool)
    border[1:-1, 1:-1] = False
    whole = [mask for mask in masks if not (mask & border).any()]

    assert len(whole) > 30
    for mask in whole:
        high, wide = mask.any(1).sum(), mask.any(0).sum()
        assert abs(int(high) - int(wide)) <= 1
        assert mask.sum() == pytest.approx(math.pi * high * wide / 4, rel=0.1)
        assert 0.1 * 128 - 2 <= high <= 2 * 0.1 * 128 + 1  # half the radius to all of it


def test_blobs_are_no_more_than_asked():
    """There are as many spots as blobs, or fewer where they touch or lie outside."""
    few = blob_masks(50, ImageSize.square(128), seeded(), radius=(0.02, 0.02), blobs=(3, 3)).numpy()
    many = blob_masks(
        50, ImageSize.square(128), seeded(), radius=(0.02, 0.02), blobs=(20, 20)
    ).numpy()

    spots_of_few = [ndimage.label(mask)[1] for mask in few]
    spots_of_many = [ndimage.label(mask)[1] for mask in many]
    assert max(spots_of_few) == 3
    assert 3 < np.mean(spots_of_many) <= 20


@given(mask=BOOL_MASKS)
def test_dilate_and_erode_against_scipy(mask):
    """A step of either is scipy's, with a square of three and a border that does not erode."""
    square = np.ones((3, 3))

    grown, shrunk = dilate(torch.from_numpy(mask)), erode(torch.from_numpy(mask))

    for one, larger, smaller in zip(mask, grown.numpy(), shrunk.numpy(), strict=True):
        np.testing.assert_array_equal(larger, ndimage.binary_dilation(one, square))
        np.testing.assert_array_equal(smaller, ndimage.binary_erosion(one, square, border_value=1))


def test_soften_against_scipy():
    """The small blur is a convolution that repeats the border."""
    alpha = torch.rand(2, 12, 12, generator=seeded())
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16

    soft = soften(alpha)

    for one, found in zip(alpha.double().numpy(), soft.numpy(), strict=True):
        expected = ndimage.convolve(one, kernel, mode="nearest")
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("size_px", [pytest.param(s, id=f"{s} pixels") for s in (16, 32, 128)])
def test_wide_blur_keeps_what_is_flat_and_smooths_what_is_not(size_px):
    """Ones stay ones; a step becomes a slope over about an eighth of the side."""
    flat = torch.ones(1, size_px, size_px)
    step = flat.clone()
    step[..., : size_px // 2] = 0

    soft = soften_widely(step)

    torch.testing.assert_close(soften_widely(flat), flat)
    assert soft.shape == step.shape
    assert 0 <= soft.min() < 0.01
    assert 0.99 < soft.max() <= 1
    slope_px = ((soft[0, 0] > 0.1) & (soft[0, 0] < 0.9)).sum()
    assert size_px / 32 <= slope_px <= size_px / 4


def slow_noise(angle, cells, size_px):
    """Perlin noise pixel by pixel, from its definition: (J, J) angles -> (S, S)."""
    noise = np.zeros((size_px, size_px))
    for row in range(size_px):
        for column in range(size_px):
            y, x = (row + 0.5) / size_px * cells[0], (column + 0.5) / size_px * cells[1]
            for corner_y in (math.floor(y), math.floor(y) + 1):
                for corner_x in (math.floor(x), math.floor(x) + 1):
                    if corner_y > cells[0] or corner_x > cells[1]:
                        continue  # the last grid line: its weight is zero
                    dy, dx = y - corner_y, x - corner_x
                    weight = np.prod(
                        [1 - (6 * d**5 - 15 * d**4 + 10 * d**3) for d in map(abs, (dy, dx))]
                    )
                    turn = angle[corner_y, corner_x]
                    noise[row, column] += weight * (math.sin(turn) * dy + math.cos(turn) * dx)
    return math.sqrt(2) * noise


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param([(1, 1)], id="one cell"),
        pytest.param([(4, 2)], id="more cells down than across"),
        pytest.param([(3, 5)], id="cells that do not divide the picture"),
        pytest.param([(1, 8), (2, 2)], id="images of different cells"),
    ],
)
def test_noise_against_a_slow_reference(cells):
    """Two products of matrices are the sum over corners that defines the noise."""
    size_px, finest = 16, max(max(pair) for pair in cells)
    noise = perlin_noise(torch.tensor(cells), ImageSize.square(size_px), seeded(3))

    unit = torch.rand(len(cells), finest + 1, finest + 1, generator=seeded(3))
    for found, angle, pair in zip(noise, (2 * math.pi * unit).numpy(), cells, strict=True):
        np.testing.assert_allclose(found.numpy(), slow_noise(angle, pair, size_px), atol=1e-5)


@pytest.mark.parametrize("cells", [pytest.param((n, n), id=f"{n} cells") for n in (1, 4, 16)])
def test_noise_has_its_range(cells):
    """Noise stays in [-1, 1], uses a good part of it, and has no level of its own."""
    noise = perlin_noise(torch.tensor([cells] * 64), ImageSize.square(32), seeded())

    assert noise.shape == (64, 32, 32)
    assert noise.dtype == torch.float32
    assert 0.5 < noise.abs().max() <= 1.0001
    assert abs(noise.mean()) < 0.1


def test_octaves_are_added_at_half_the_strength():
    """Two octaves are a noise and half of one that is twice as fine, brought back to its range."""
    cells, generator = torch.tensor([(2, 4), (4, 1)]), seeded(5)
    coarse, fine = (
        perlin_noise(cells * scale, ImageSize.square(64), generator) for scale in (1, 2)
    )

    both = perlin_noise(cells, ImageSize.square(64), seeded(5), octaves=2)

    torch.testing.assert_close(both, (coarse + fine / 2) / 1.5, rtol=0, atol=1e-6)


def test_octaves_finer_than_pixels_are_left_out():
    """Where twice as fine would be finer than two pixels, only the coarse noise is there."""
    cells = torch.tensor([(16, 16)])

    both = perlin_noise(cells, ImageSize.square(32), seeded(5), octaves=2)

    torch.testing.assert_close(
        both * 1.5, perlin_noise(cells, ImageSize.square(32), seeded(5)), rtol=0, atol=1e-6
    )


def test_octaves_fray_the_edges():
    """Stains of more octaves have more edge for their area."""

    def edge_share(octaves):
        mask = perlin_masks(
            60, ImageSize.square(128), seeded(4), octaves=octaves, threshold=(0.3, 0.3)
        )
        return float((dilate(mask) & ~mask).sum() / mask.sum())

    assert edge_share(4) > 1.2 * edge_share(1)


def test_turning_by_nothing_changes_nothing():
    """An angle of zero is the identity."""
    image = torch.rand(2, 3, 16, 16, generator=seeded())

    torch.testing.assert_close(rotate(image, torch.zeros(2)), image, rtol=0, atol=1e-5)


def test_each_image_turns_by_its_own_angle():
    """A quarter, a half and minus a quarter turn are the turns of the pixel grid."""
    image = torch.rand(1, 1, 16, 16, generator=seeded()).repeat(3, 1, 1, 1)

    turned = rotate(image, torch.tensor([90.0, 180.0, -90.0]))[:, 0]

    quarter = [torch.rot90(image[0, 0], times) for times in (1, 2, 3)]
    torch.testing.assert_close(turned[1], quarter[1], rtol=0, atol=1e-4)
    assert sum((turned[0] - quarter[i]).abs().max() < 1e-4 for i in (0, 2)) == 1
    torch.testing.assert_close(torch.rot90(turned[2], 2), turned[0], rtol=0, atol=1e-4)


def test_corners_mirror():
    """A bright picture has no dark corners after a turn."""
    turned = rotate(torch.ones(1, 1, 32, 32), torch.tensor([45.0]))

    torch.testing.assert_close(turned, torch.ones(1, 1, 32, 32))
