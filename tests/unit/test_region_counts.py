"""Nothing outside of a region counts: in trainings, scores, thresholds and figures."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.ndimage import uniform_filter
from torch import Generator

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector import evaluation
from reconad_plugin.detector.batch import smooth_map
from reconad_plugin.detector.normal_map import MapSums, scores_without_own
from reconad_plugin.detector.persistence import WEIGHTS_FILE, load_detector, save_detector
from reconad_plugin.detector.score_table import score_table
from reconad_plugin.detector.torch_engine import TorchEngine, score_images
from reconad_plugin.errors import ConfigError
from reconad_plugin.gate.golden import simulated_golden_set
from reconad_plugin.images.features import FEATURES
from reconad_plugin.images.folder import read_folder
from reconad_plugin.images.illumination import Illumination
from reconad_plugin.images.region import PRODUCT, Region
from reconad_plugin.images.size import ImageSize
from reconad_plugin.metrics.pixel import PixelCurves
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.registry import MODELS
from reconad_plugin.simulation.anomalies import draw_masks, simulate_anomalies
from reconad_plugin.simulation.presets import PRESETS
from reconad_plugin.store.mirror import load_files
from reconad_plugin.training.autoencoder import AutoencoderRecipe
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.held_out import HeldOut
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.recipe import Simulation
from tests.unit.conftest import DESCENDING

SIZE_PX = 32
SIZE = ImageSize.square(SIZE_PX)
LEFT = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
LEFT[8:20, :16] = True
RIGHT = np.fliplr(LEFT)
ROWS = pd.DataFrame(
    {"position": ["left", "", "right"], "width_px": 64, "height_px": 48}, index=[4, 7, 9]
)


class Brightness(AnomalyNetwork):
    """Rebuilds black, so that its map is the picture's red."""

    def reconstruct(self, image):
        return torch.zeros_like(image)

    def anomaly_map(self, image):
        return image[:, 0]


class NormalBorder(Brightness):
    """The same, where nothing is anomalous beyond the border."""

    border_is_normal = True


def spots(*places, size_px=SIZE_PX):
    """Black pictures with a white pixel each, (N, 3, S, S) uint8."""
    images = torch.zeros(len(places), 3, size_px, size_px, dtype=torch.uint8)
    for image, (row, column) in zip(images, places, strict=True):
        image[:, row, column] = 255
    return images


@pytest.mark.parametrize("window_px", [1, 3, 7])
@pytest.mark.parametrize("border_is_normal", [False, True])
def test_a_windows_border_is_that_of_the_region(window_px, border_is_normal):
    """What lies outside has no part in an average, as what lies beyond the picture has none."""
    maps = torch.rand(2, SIZE_PX, SIZE_PX, generator=Generator().manual_seed(1))
    inside = torch.from_numpy(np.stack([LEFT, RIGHT]))

    smooth = smooth_map(maps, window_px, border_is_normal, inside)

    for raw, mask, found in zip(maps.double().numpy(), inside.numpy(), smooth, strict=True):
        total = uniform_filter(raw * mask, window_px, mode="constant")
        share = 1 if border_is_normal else uniform_filter(mask * 1.0, window_px, mode="constant")
        expected = np.where(mask, total / np.where(mask, share, 1), 0)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("network", [Brightness(), NormalBorder()], ids=["border", "normal border"])
def test_nothing_outside_scores(network):
    """A spot outside is not seen, also where a window would reach it; inside it is as ever."""
    images = spots((12, 6), (12, 17), (2, 2))

    scores = score_images(network, images, 3, inside=LEFT)
    everywhere = score_images(network, images, 3)

    assert scores.pred_score.tolist() == pytest.approx([1 / 9, 0, 0])
    assert not scores.anomaly_map[:, ~LEFT].any()
    np.testing.assert_array_equal(scores.anomaly_map[0], everywhere.anomaly_map[0])


def test_each_picture_is_looked_at_where_its_position_says(tiny_detector):
    """At night, when positions are known; else wherever any is."""
    region = Region({"left": LEFT, "right": RIGHT})
    detector = replace(tiny_detector, engine=TorchEngine(Brightness().eval(), 1), region=region)
    images = spots((12, 6), (12, 6), (12, 26))
    rows = ROWS.assign(key="k", sha256="1", pixels_sha256="2", night="2024-05-01", split="train")

    table = score_table(detector, rows.assign(**dict.fromkeys(FEATURES, 0.5)), images, "1")

    assert (table["pred_score"] > 0).tolist() == [True, True, True]
    assert detector.score(images, ["right"] * 3).pred_score.tolist()[:2] == [0, 0]
    assert (detector.score(images).pred_score > 0).all()


def test_a_normal_map_is_of_the_pixels_inside():
    """What all pixels share is that of those inside, as if the picture were these alone."""
    noise = np.random.default_rng(0).gamma(2, 1, (8, SIZE_PX, SIZE_PX)).astype(np.float32)
    maps, rows, columns = noise * LEFT, slice(8, 20), slice(0, 16)
    part = maps[:, rows, columns].copy()
    sums, of_part = MapSums.of(maps), MapSums.of(part)

    normal, cut = sums.normal_map(LEFT), of_part.normal_map()
    scores, left = scores_without_own(sums, maps, maps, LEFT)

    np.testing.assert_allclose(normal.mean[rows, columns], cut.mean, rtol=1e-5)
    np.testing.assert_allclose(normal.deviation[rows, columns], cut.deviation, rtol=1e-5)
    alone = scores_without_own(of_part, part, part)[0]
    np.testing.assert_allclose(scores, alone, rtol=1e-5)
    assert not left[:, ~LEFT].any()


def test_pixel_figures_are_of_the_pixels_inside():
    """They are those of the pictures cut to the region; of a defect at its edge a part."""
    random = np.random.default_rng(3)
    maps, masks = random.random((5, SIZE_PX, SIZE_PX), np.float32), np.zeros((5, 32, 32), np.bool_)
    masks[:3, 15:24, 10:20] = True
    inside, cut = PixelCurves(), PixelCurves()

    inside.update(maps, masks, LEFT)
    cut.update(maps[:, 8:20, :16].copy(), masks[:, 8:20, :16].copy())

    for figure in (PixelCurves.auroc, PixelCurves.ap, lambda curves: curves.aupro(0.3)):
        assert figure(inside) == pytest.approx(figure(cut))


@pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in PRESETS])
def test_anomalies_are_simulated_inside_alone(make_normal, name):
    """Whatever their shapes; none is empty, and the others stay as they are without a region."""
    images, inside = make_normal(24, 1), torch.from_numpy(LEFT)

    simulated = simulate_anomalies(images, Generator().manual_seed(0), PRESETS[name], inside=inside)

    assert simulated.mask.any((1, 2)).all()
    assert not simulated.mask[:, ~inside].any()
    assert torch.equal(simulated.pixels[..., ~inside], images[..., ~inside])
    assert simulated.mask.float().mean((1, 2)).unique().numel() > 12  # shapes, not the region


def test_a_region_of_a_few_pixels_is_marked_whole():
    """Shapes cut to it would be emptier than an anomaly may be."""
    inside = torch.zeros(128, 128, dtype=torch.bool)
    inside[5, 5:8] = True

    mask = draw_masks(
        4, ImageSize.square(128), Generator().manual_seed(0), PRESETS["general"], inside
    )

    assert torch.equal(mask, inside.expand(4, -1, -1))


def test_the_gates_anomalies_are_inside(make_normal):
    """Versions are judged on what they are to find."""
    normal = make_normal(3, 2).numpy()

    golden = simulated_golden_set(normal, list("abc"), ["2024-05-01"] * 3, 0, Region({"": LEFT}))

    repeats = len(golden.anomalous) // 3
    changed = (golden.anomalous != np.repeat(normal, repeats, 0)).any(1)
    assert changed.any((1, 2)).all()
    assert not changed[:, ~LEFT].any()


class Wrong(torch.nn.Module):
    """Rebuilds a picture perfectly inside, and as white elsewhere."""

    illumination = Illumination()

    def encode(self, image):
        return image

    def decode(self, latent):
        return torch.where(torch.from_numpy(LEFT), latent, 1.0)


def test_what_is_outside_raises_no_loss(make_normal):
    """Of the autoencoder, whose errors are those of pixels."""
    image = make_normal(2, 4).float() / 255
    simulation = Simulation(inside=torch.from_numpy(LEFT))

    inside = AutoencoderRecipe(Wrong(), simulation).losses(image, Generator())["total"]
    everywhere = AutoencoderRecipe(Wrong(), Simulation()).losses(image, Generator())["total"]

    assert inside == 0
    assert everywhere > 0.1


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in DESCENDING])
def test_a_region_of_all_is_none(make_normal, name):
    """Every model learns by the same losses then, whichever of its pixels they are of."""
    spec, image = MODELS[name], make_normal(4, 5).float() / 255
    whole = torch.ones(SIZE_PX, SIZE_PX, dtype=torch.bool)
    phase = spec.phases[-1]

    def losses(inside):
        torch.manual_seed(0)
        network = spec.build_network(SIZE, **spec.architecture(None, {}))
        recipe = spec.build_recipe(network, Simulation(inside=inside), {}, phase).eval()
        with torch.inference_mode():
            return recipe.losses(image, Generator().manual_seed(1))

    if name in ("draem", "dsr"):  # their anomalies are moved over the region
        inside = losses(torch.from_numpy(LEFT))
        assert all(torch.isfinite(value) for value in inside.values())
        return
    for found, expected in zip(losses(whole).values(), losses(None).values(), strict=True):
        torch.testing.assert_close(found, expected)


def test_validation_looks_inside(make_normal):
    """The best weights are those that tell anomalies inside."""
    recipe = AutoencoderRecipe(Wrong(), Simulation(inside=torch.from_numpy(LEFT)))
    recipe.network = Brightness()
    held_out = HeldOut(make_normal(6, 6), recipe, 1, "cpu")

    assert not held_out._mask[:, ~LEFT].any()
    assert held_out._mask[6:].any((1, 2)).all()


@pytest.fixture(scope="module")
def trained(make_normal, tiny_models):
    """A detector that looks to the left, and one that looks everywhere."""
    images = NormalImages(make_normal(16, 1), make_normal(10, 2), make_normal(2, 3))
    settings = ProductSettings(image_size_px=SIZE_PX, target_fpr=0.1)
    steps = TrainingSettings(steps=4, batch_size=8)
    region = Region({PRODUCT: LEFT, "right": RIGHT & ~LEFT})
    return [fit_detector(images, settings, steps, region=each)[0] for each in (region, None)]


def test_a_version_carries_its_region(trained, make_normal, tmp_path):
    """Saved and loaded, it looks where it looked, position by position."""
    looking, _ = trained
    images = make_normal(3, 9)
    save_detector(looking, tmp_path)

    loaded = load_detector(tmp_path)

    assert loaded.region.sha256 == looking.region.sha256
    for positions in (None, ["", "right", "right"]):
        before, after = (each.score(images, positions) for each in (looking, loaded))
        np.testing.assert_array_equal(before.anomaly_map, after.anomaly_map)
    assert not looking.score(images, ["right"] * 3).anomaly_map[:, LEFT].any()


@pytest.mark.usefixtures("tiny_models")
def test_thresholds_are_of_what_counts(make_normal):
    """The scores that calibrate are highest points inside."""
    images = NormalImages(make_normal(16, 1), make_normal(10, 2), make_normal(2, 3))
    settings = ProductSettings(model="draem", image_size_px=SIZE_PX, target_fpr=0.1)
    steps = TrainingSettings(steps=2, batch_size=8)

    looking, _ = fit_detector(images, settings, steps, region=Region({PRODUCT: LEFT}))

    own = looking.score(images.calibration).pred_score
    assert looking.calibration.normal_scores == pytest.approx(sorted(own))


def test_a_version_without_a_region_is_saved_as_before(trained, tmp_path):
    """No name among its weights tells of regions."""
    looking, everywhere = trained
    for detector, folder in ((looking, "region"), (everywhere, "none")):
        save_detector(detector, tmp_path / folder)

    names = [
        b'"region.' in (tmp_path / each / WEIGHTS_FILE).read_bytes() for each in ("region", "none")
    ]
    assert names == [True, False]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Black pictures with a white spot, and masks of two defects, one of them on the right."""
    monkeypatch.chdir(tmp_path)
    pictures = {
        "test/good/a": (1, 1), "test/good/b": (30, 20),
        "test/hole/in": (12, 6), "test/hole/out": (12, 26),
    }  # fmt: skip
    for name, (row, column) in {"train/good/t": (0, 0), **pictures}.items():
        picture = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
        picture[row, column] = 255
        files = [tmp_path / f"{name}.png"]
        if "hole" in name:
            files.append(tmp_path / f"{name.replace('test', 'ground_truth')}_mask.png")
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(file)
    return read_folder(tmp_path)


def test_a_defect_outside_is_a_miss_and_has_no_pixels(tiny_detector, folder):
    """It counts among the images as it is labelled, and is told; pixels outside do not count."""
    detector = replace(
        tiny_detector, engine=TorchEngine(Brightness().eval(), 1), region=Region({PRODUCT: LEFT})
    )
    images = load_files([file.path for file in folder.test], SIZE, detector.limits)

    found = evaluation.evaluate(detector, folder, images)

    assert found.images == {"good": 2, "hole": 2}
    assert (found.image_AUROC, found.pixel_AUROC) == (0.75, 1.0)
    hidden = evaluation.describe_hidden(detector, folder)
    assert hidden.startswith(
        "1 of 2 defects lie outside the region by their masks, such as out.png"
    )
    assert evaluation.describe_hidden(tiny_detector, folder) is None
    right = replace(detector, region=Region({PRODUCT: np.roll(LEFT, 12, 0)}))
    assert evaluation.evaluate(right, folder, images).pixel_AUROC is None


def test_a_region_with_windows_is_refused(make_normal):
    """Windows of a picture would each need their own part of it."""
    images = NormalImages(make_normal(16, 1), make_normal(10, 2), make_normal(2, 3))
    settings = ProductSettings(image_size_px=SIZE_PX, windows=True)

    with pytest.raises(ConfigError, match="windows = true: leave one of them out"):
        fit_detector(images, settings, TrainingSettings(steps=1), region=Region({PRODUCT: LEFT}))
