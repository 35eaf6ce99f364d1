"""Pictures in their own shape: the size that a network takes, and that all before and behind it
follows."""

import json
from datetime import date

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from flows.jobs import by_hand, nightly_training
from flows.jobs.product import Product
from mlflow_models import registry, version_tags
from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.persistence import DETECTOR_FILE, load_detector, save_detector
from reconad_plugin.detector.score_table import map_cells
from reconad_plugin.errors import ConfigError, InvalidImageError
from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.geometry import decode_to_size
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.masks import shrink_mask
from reconad_plugin.images.size import (
    MOST_OVER_BUDGET,
    ImageSize,
    check_image_size,
    fit_budget,
    keep_size,
    settle_size,
)
from reconad_plugin.networks.registry import MODELS, model_spec
from reconad_plugin.plots.figures import plot_maps
from reconad_plugin.simulation.anomalies import simulate_anomalies
from reconad_plugin.simulation.masks import blob_masks
from reconad_plugin.simulation.perlin import rotate
from reconad_plugin.store.mirror import describe_sizes
from reconad_plugin.store.pixels import PixelCache
from reconad_plugin.training.augment import vary_geometry
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from tests.unit.conftest import DESCENDING

OBLONG = ImageSize(64, 160)
SCREW = (512, 208)  # width and height of a picture


def seeded(seed=0):
    """A generator."""
    return torch.Generator().manual_seed(seed)


def pictures(count, size=OBLONG, seed=0):
    """(count, 3, H, W) uint8: a ramp with a little noise."""
    ramp = torch.linspace(60, 160, size.width_px).expand(count, 3, *size.shape)
    noise = 4 * torch.randn(count, 1, *size.shape, generator=seeded(seed))
    return (ramp + noise).clamp(0, 255).byte()


# --- which size


@pytest.mark.parametrize("side", [pytest.param(2**n, id=str(2**n)) for n in range(5, 11)])
def test_square_pictures_get_the_square_they_always_had(side):
    """And so do pictures that are nearly square."""
    assert fit_budget(side) == ImageSize.square(side)
    assert settle_size(side, [(1000, 960)] * 3) == ImageSize.square(side) or side > 512


@pytest.mark.parametrize("budget", [pytest.param(px, id=f"{px} px") for px in (64, 100, 128, 256)])
@pytest.mark.parametrize("aspect", [208 / 512, 3 / 4, 1, 9 / 16, 2.5])
def test_size_is_near_its_budget_and_its_aspect(budget, aspect):
    """Sides are multiples of 16; where there is room for it the shape is right to a tenth."""
    size = fit_budget(budget, aspect)

    assert all(side % 16 == 0 and side >= 32 for side in size.shape)
    assert 0.6 < size.pixels / budget**2 <= MOST_OVER_BUDGET
    if budget > 100:
        assert size.height_px / size.width_px == pytest.approx(aspect, rel=0.1)
    assert fit_budget(budget, size.height_px / size.width_px) == size


def test_median_of_the_pictures_decides():
    """A few pictures of another shape change nothing, and a size that is given stays."""
    pictures = [SCREW] * 5 + [(300, 300)] * 2 + [(100, 900)]

    assert settle_size(128, pictures) == fit_budget(128, 208 / 512)
    assert settle_size(ImageSize.square(128), pictures) == ImageSize.square(128)
    assert settle_size(128, []) == ImageSize.square(128)


def test_strips_are_refused():
    """Ten thousand pixels of 64 are no picture to see as a whole; a size that is given is taken."""
    with pytest.raises(ConfigError, match=r"at most 16 times as long as broad .*; got 10000 x 64"):
        settle_size(128, [(10_000, 64)])

    assert settle_size(ImageSize(64, 1024), [(10_000, 64)]) == ImageSize(64, 1024)


@pytest.mark.parametrize(
    ("size", "setting"), [(ImageSize.square(96), 96), (ImageSize(208, 512), "208x512")]
)
def test_size_stands_in_files_as_it_is_asked_for(size, setting):
    """A square as a number, as it always did, and any other as height x width."""
    product = ProductSettings(image_size_px=setting)

    assert size.setting == setting
    assert ImageSize.parse(setting) == size
    assert check_image_size(str(setting)) in (setting, size)
    assert product.image_size == size
    assert product.with_image_size(size).model_dump(mode="json")["image_size_px"] == setting


def test_fine_tuning_keeps_the_size_of_its_version():
    """Where it can have come of the same budget; else what is asked stands, and is refused."""
    size = fit_budget(128, 208 / 512)

    assert keep_size(128, size) == size
    assert keep_size(256, size) == ImageSize.square(256)
    assert keep_size(ImageSize.square(64), size) == ImageSize.square(64)


def test_folder_settles_the_size_by_the_pictures_that_train(tmp_path):
    """As they are seen upright."""
    for number in range(8):
        camera = Image.Exif()
        camera[0x0112] = 6  # a quarter turn
        Image.new("RGB", (208, 512), (number, 0, 0)).save(tmp_path / f"{number}.jpg", exif=camera)
    table = by_hand.table_of(by_hand.mirror.open_source(str(tmp_path)))

    size = by_hand._settle_size(ProductSettings(image_size_px=128), table)

    assert size == fit_budget(128, 208 / 512)
    assert describe_sizes(table["path"].tolist(), size) == (
        "pictures of 512 x 208 are seen at 192 x 80: one pixel there is 2.7 x 2.6 of theirs. For "
        "smaller defects give a larger image size"
    )


def test_version_says_its_size_unless_it_is_a_square():
    """So tags of squares are what they were."""
    square, oblong = (
        version_tags.training_tags("1f", "train", size) for size in (ImageSize.square(128), OBLONG)
    )

    assert version_tags.image_size_of(square) is None
    assert version_tags.image_size_of(oblong) == OBLONG
    assert oblong.items() - square.items() == {("reconad.image_size", "64x160")}


# --- what networks make of it


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize("size", ["64x160", "80x192", "112x48", "176x368", "32x512"])
def test_every_network_takes_every_shape(model, size):
    """Maps and reconstructions have the shape of the picture, also where grids are odd."""
    size, spec = ImageSize.parse(size), model_spec(model)
    network = spec.build_network(size, **spec.architecture(None, {})).eval()
    image = torch.rand(2, 3, *size.shape, generator=seeded())

    with torch.inference_mode():
        anomaly_map, rebuilt = network.anomaly_map(image), network.reconstruct(image)

    assert anomaly_map.shape == (2, *size.shape)
    assert torch.isfinite(anomaly_map).all()
    assert rebuilt.shape == image.shape


def test_networks_of_one_budget_have_about_as_many_weights():
    """The grid before a bottleneck has about as many cells, whatever the shape."""
    for name in ("ae", "vae", "ganomaly"):
        spec = model_spec(name)
        weights = [
            sum(each.numel() for each in spec.build_network(size, **arch).parameters())
            for size in (ImageSize.square(128), ImageSize(80, 192), ImageSize(32, 512))
            for arch in [spec.architecture(None, {})]
        ]
        assert max(weights) < 1.5 * min(weights)


@pytest.mark.usefixtures("tiny_models", "few_validations")
@pytest.mark.filterwarnings("ignore:GANomaly is a baseline")
def test_detector_of_oblong_pictures(model, tmp_path):
    """It is trained, calibrated, saved, loaded and fine-tuned, and scores bit by bit as before."""
    product = ProductSettings(model=model, image_size_px=str(OBLONG), target_fpr=0.1)
    images = NormalImages(pictures(8), pictures(6, seed=1), pictures(2, seed=2))
    training = TrainingSettings(steps=3, batch_size=4, geometric_augmentation="rotate")

    detector, _ = fit_detector(images, product, training)
    save_detector(detector, tmp_path)
    loaded = load_detector(tmp_path)

    assert json.loads((tmp_path / DETECTOR_FILE).read_text())["image_size_px"] == "64x160"
    assert loaded.image_size_px == OBLONG
    before, after = detector.score(images.judge), loaded.score(images.judge)
    assert before.anomaly_map.shape == (2, *OBLONG.shape)
    np.testing.assert_array_equal(after.anomaly_map, before.anomaly_map)
    assert map_cells(before.anomaly_map, 1.0).shape == (2, 256)
    assert plot_maps(loaded, images.judge, ["a", "b"]).get_size_inches()[0] > 5
    if model in DESCENDING:
        fit_detector(images, product, training, base=loaded)
    with pytest.raises(ConfigError, match=r"at 64x160 px .*; the settings say .* at \d+ px"):
        fit_detector(images, ProductSettings(model=model), training, base=loaded)


def test_autoencoder_marks_a_defect_where_it_is(tiny_models, few_validations):
    """The map has the picture's own height and width, not those of a square."""
    product = ProductSettings(model="ae", image_size_px=str(OBLONG), target_fpr=0.1)
    images = NormalImages(pictures(16), pictures(9, seed=1), pictures(2, seed=2))
    training = TrainingSettings(steps=80, batch_size=8, learning_rate=3e-3)
    detector, _ = fit_detector(images, product, training)
    defective = images.judge.clone()
    defective[..., 40:50, 120:130] = 250

    scores = detector.score(defective)

    row, column = np.unravel_index(scores.anomaly_map[0].argmax(), OBLONG.shape)
    assert 40 <= row < 50
    assert 120 <= column < 130
    assert (scores.pred_score > detector.calibration.image_threshold).all()


def test_models_have_a_budget():
    """What a model takes by default is a number that a budget may be."""
    assert all(check_image_size(spec.image_size_px) for spec in MODELS.values())


# --- what lies before and behind


def test_picture_is_decoded_in_its_shape(encode):
    """A circle stays one, and a turned picture is not decoded smaller than it is needed."""
    y, x = np.mgrid[0:208, 0:512]
    scene = np.full((208, 512, 3), 40, np.uint8)
    scene[(y - 100) ** 2 + (x - 300) ** 2 < 60**2] = 220
    camera = Image.Exif()
    camera[0x0112] = 8
    turned = encode(np.rot90(scene, -1).copy(), "JPEG", quality=95, exif=camera)
    small = ImageSize(80, 192)

    found = decode_to_size(turned, small, ImageLimits())

    assert found.shape == (*small.shape, 3)
    rows, columns = (np.flatnonzero((found[..., 0] > 130).any(axis)) for axis in (1, 0))
    assert len(rows) == pytest.approx(len(columns), abs=2)
    assert decode_image(turned, ImageLimits(), small).shape == (104, 256, 3)
    with pytest.raises(InvalidImageError, match="at least 16 px"):
        decode_to_size(encode(scene[:8], "PNG"), small, ImageLimits())


def test_caches_of_two_shapes_are_two(tmp_path):
    """And that of a square is called as it always was."""
    for size in (OBLONG, ImageSize(160, 64), ImageSize.square(64)):
        shown = np.full((*size.shape, 3), size.height_px, np.uint8)
        found = PixelCache(tmp_path, size).load(["1f" * 32], lambda _, shown=shown: shown)
        assert found.shape == (1, 3, *size.shape)
        assert (found == size.height_px).all()

    names = {path.name for path in tmp_path.glob("*.u8")}
    assert {name.removeprefix("pixels-v2-") for name in names} == {
        "64x160.u8", "160x64.u8", "64.u8",
    }  # fmt: skip


def test_mask_is_shrunk_in_its_shape():
    """Each anomalous pixel sets the cell that it falls into."""
    mask = np.zeros((208, 512), np.bool_)
    mask[207, 5] = mask[0, 511] = True

    cells = shrink_mask(mask, ImageSize(80, 192))

    assert cells.shape == (80, 192)
    assert np.argwhere(cells).tolist() == [[0, 191], [79, 2]]  # 2 x 512 / 192 is 5


def test_simulated_shapes_are_as_round_as_in_a_square():
    """A blob is as high as it is wide, in pixels."""
    masks = blob_masks(40, ImageSize(96, 256), seeded(), radius=(0.1, 0.1), blobs=(1, 1))

    inner = [m for m in masks if m.any() and not (m[[0, -1]].any() or m[:, [0, -1]].any())]
    extents = [(int(m.any(1).sum()), int(m.any(0).sum())) for m in inner]
    assert len(inner) > 10
    assert all(abs(height - width) <= 1 for height, width in extents)


def test_anomalies_are_simulated_all_over_oblong_pictures():
    """None is empty, and they reach the right end as well as the left."""
    images = pictures(64)

    simulated = simulate_anomalies(images, seeded())

    changed = (simulated.pixels != images).any(1)
    assert (changed & ~simulated.mask).sum() == 0
    assert simulated.mask.flatten(1).any(1).all()
    columns = simulated.mask.any(1).float().mean(0)
    assert columns.view(4, -1).mean(1).min() > 0.05


def test_oblong_pictures_are_turned_without_distortion():
    """A disc at the centre stays one at any angle; no picture is transposed."""
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(160) - 79.5, indexing="ij")
    disc = ((y**2 + x**2) < 20**2).float().expand(3, 1, 64, 160)

    turned = rotate(disc, torch.tensor([30.0, 60.0, 90.0]))

    assert (turned - disc)[..., 48:112].abs().mean() < 0.02
    image = torch.rand(8, 3, 64, 160, generator=seeded())
    assert vary_geometry(image, "rotate", seeded()).shape == image.shape


@pytest.fixture
def nightly_job(monkeypatch):
    """The training job of a product with pictures of 512 x 208, from scratch or from a base."""
    rows = pd.DataFrame(
        {
            "key": ["a", "b", "c"],
            "sha256": ["1f", "2e", "3d"],
            "split": ["train", "calibration", "judge"],
            "night": "2024-05-01",
            "width_px": [512, 60, 60],
            "height_px": [208, 60, 60],
        }
    )
    loaded = []

    def load(_, rows, size):
        loaded.append(size)
        return np.zeros((len(rows), 3, *size.shape), np.uint8)

    def make(base_tags=None, **settings):
        nothing = dict.fromkeys(("store", "cache", "layout", "records"))
        product = Product("screw", ProductSettings(**settings), "", "lean", **nothing)
        monkeypatch.setattr(Product, "load_images", load)
        monkeypatch.setattr(Product, "region", lambda *_: None)
        chosen = nightly_training.TrainingSet(product, date(2024, 5, 1), rows, {"manifest": rows})
        monkeypatch.setattr(nightly_training.TrainingSet, "read", lambda *_: chosen)
        monkeypatch.setattr(nightly_training, "with_textures", lambda _, training: (training, {}))
        monkeypatch.setattr(nightly_training, "_with_those_of", lambda base, fillings: fillings)
        base = base_tags and registry.Version("1", "models:/reconad-screw/1", base_tags, "run")
        job = nightly_training.training_job(product, date(2024, 5, 1), TrainingSettings(), base)
        job.load()
        return job, loaded[-1]

    return make


def test_night_settles_the_size_by_the_pictures_that_train(nightly_job):
    """From scratch; what was settled decides the fingerprint, and is noted."""
    job, loaded = nightly_job(image_size_px=128)
    square, _ = nightly_job(image_size_px="128x128")

    assert loaded == job.settled.image_size == ImageSize(80, 192)
    assert job.fingerprint != square.fingerprint == job.square_fingerprint
    tags = job.record({}, {}, [], {}).tags
    assert version_tags.image_size_of(tags) == ImageSize(80, 192)


@pytest.mark.parametrize(
    ("tags", "size"),
    [
        pytest.param({"reconad.purpose": "train"}, ImageSize.square(128), id="square of before"),
        pytest.param({"reconad.image_size": "80x192"}, ImageSize(80, 192), id="oblong"),
        pytest.param({"reconad.image_size": "160x384"}, ImageSize.square(128), id="other budget"),
    ],
)
def test_fine_tuning_of_a_night_keeps_the_size_of_its_version(nightly_job, tags, size):
    """Its pictures decide nothing."""
    job, loaded = nightly_job(tags, image_size_px=128)

    assert loaded == job.settled.image_size == size
