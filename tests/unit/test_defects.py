"""Confirmed defects as fillings: where a defect is in its picture, and that shapes are filled with
it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator

from reconad_plugin.simulation.anomalies import simulate_anomalies
from reconad_plugin.simulation.defect_boxes import UsualColours, find_defect
from reconad_plugin.simulation.defects import DefectCuts, DefectDraw
from reconad_plugin.simulation.presets import Preset
from reconad_plugin.simulation.textures import Textures

DISC = Preset(
    shapes={"blobs": 1},
    fillings={"texture": 2, "shade": 1},
    opacity=(1.0, 1.0),
    blurred_share=0.0,
    blob_radius=(0.2, 0.2),
    blob_number=(1, 1),
)
GREEN = (7, 222, 33)
SIDE_PX = 64


def flat(colour, height_px=8, width_px=8):
    """A (3, H, W) uint8 picture of one colour."""
    return torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1).repeat(1, height_px, width_px)


def materials(defects=None):
    """One dark texture, with defects beside it."""
    return replace(Textures.of(flat((9, 9, 9), 32, 32)[None]), defects=defects)


def normal_pictures(count=12, seed=0):
    """(N, 3, S, S) uint8: a bright bar on a shaded ground that is always there, with noise."""
    generator = Generator().manual_seed(seed)
    ground = torch.linspace(60, 110, SIDE_PX).expand(3, SIDE_PX, SIDE_PX).clone()
    ground[:, 10:14] += 90
    noise = 3 * torch.randn(count, 3, SIDE_PX, SIDE_PX, generator=generator)
    return (ground + noise).clamp(0, 255).byte()


def with_defect(down, across, colour=(10, 10, 10)):
    """A picture with a defect at two slices."""
    image = normal_pictures(1, seed=1)[0]
    image[:, down, across] = torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1)
    return image


def share_of_green(defects):
    """Share of 400 simulated anomalies that have the colour all over their shape."""
    normal = flat((130, 120, 110), 32, 32).repeat(400, 1, 1, 1)
    simulated = simulate_anomalies(normal, Generator().manual_seed(0), DISC, materials(defects))
    is_green = (simulated.pixels == torch.tensor(GREEN).view(3, 1, 1)).all(1)
    assert not is_green[~simulated.mask].any()
    return float((is_green == simulated.mask).all((1, 2)).float().mean())


def test_simulated_anomalies_have_the_colours_of_a_defect():
    """A quarter of them, however small the defect is, and none without it."""
    assert share_of_green(None) == 0
    assert share_of_green(DefectCuts.of([flat(GREEN, 3, 5)])) == pytest.approx(0.25, abs=0.06)
    assert share_of_green(DefectCuts.of([flat(GREEN)] * 9)) == pytest.approx(0.25, abs=0.06)


def test_cuts_are_laid_out_over_and_over():
    """Each image has one of the cuts, from a random pixel on, as a tiled picture has it."""
    cuts = [torch.randint(0, 256, (3, *sides)).byte() for sides in ((2, 5), (4, 3), (1, 1))]
    draw = DefectDraw.draw(20, DefectCuts.of(cuts), Generator().manual_seed(0))
    image, row, column = (each.flatten() for each in torch.meshgrid(
        torch.arange(20), torch.arange(9), torch.arange(7), indexing="ij"
    ))  # fmt: skip

    found = (draw.at(image, row, column) * 255).round().byte().view(20, 9, 7, 3)

    assert set(draw.number.tolist()) == {0, 1, 2}
    for shown, number, (down, across) in zip(found, draw.number, draw.shift, strict=True):
        cut = cuts[number].permute(1, 2, 0).numpy()
        tiled = np.tile(cut, (12, 12, 1))[down : down + 9, across : across + 7]
        np.testing.assert_array_equal(shown.numpy(), tiled)


@pytest.mark.parametrize(
    ("down", "across"),
    [
        pytest.param(slice(30, 38), slice(40, 52), id="on plain ground"),
        pytest.param(slice(8, 16), slice(20, 30), id="over the bar"),
        pytest.param(slice(0, 5), slice(59, 64), id="in a corner"),
        pytest.param(slice(22, 50), slice(10, 40), id="large"),
    ],
)
@pytest.mark.parametrize("light", [pytest.param(1.0, id="as usual"), pytest.param(0.6, id="dim")])
def test_the_cut_is_where_the_defect_is(down, across, light):
    """In the light of its own night, and hardly more of the picture than the defect."""
    usual, image = UsualColours.of(normal_pictures()), with_defect(down, across)
    found, true = (np.zeros((SIDE_PX, SIDE_PX), bool) for _ in range(2))
    true[down, across] = True

    found[find_defect((image * light).byte(), [usual])] = True

    assert (found & true).sum() / true.sum() > 0.7
    assert (found & true).sum() / found.sum() > 0.5


def test_what_all_pictures_of_a_night_show_is_no_defect():
    """Where the camera moved, say, a frame is new in all of them; and what only few of them show
    stays a difference, though the others of the night are defects too."""
    usual = UsualColours.of(normal_pictures())
    moved = normal_pictures(9, seed=2)
    moved[:, :, :, :12] = 255
    moved[0, :, 40:50, 30:40] = moved[1, :, 50:60, 50:60] = 10
    of_the_night = UsualColours.of(moved)

    before, after = (find_defect(moved[0], each) for each in ([usual], [usual, of_the_night]))

    assert before[1].stop <= 16
    assert 38 <= after[0].start < after[0].stop <= 52
    assert 28 <= after[1].start < after[1].stop <= 42


def test_a_cut_is_at_most_half_of_each_side():
    """However large a defect is, around its peak."""
    large = with_defect(slice(20, 64), slice(20, 64), (250, 20, 20))

    box = find_defect(large, [UsualColours.of(normal_pictures())])

    assert [span.stop - span.start for span in box] == [SIDE_PX // 2] * 2


def test_a_region_keeps_the_cut_inside():
    """What moves where nobody looks is no defect."""
    image = with_defect(slice(50, 60), slice(2, 14), (255, 255, 255))
    image[:, 30:36, 40:48] = 160  # less bright, and where it counts
    inside = np.zeros((SIDE_PX, SIDE_PX), bool)
    inside[:45] = True

    cut = image[:, *find_defect(image, [UsualColours.of(normal_pictures())], inside)]

    assert (cut == 160).float().mean() > 0.4
    assert not (cut == 255).any()


def test_a_picture_like_all_others_has_a_cut_too():
    """A person's word holds where nothing can be seen at this size."""
    alike = flat((80, 80, 80), 32, 32)

    box = find_defect(alike, [UsualColours.of(alike[None])])

    assert [span.stop - span.start for span in box] == [16, 16]
