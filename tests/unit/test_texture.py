"""The texture of whole pictures, alone and beside the features of their patches."""

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from torch import Generator

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.persistence import load_detector, save_detector
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.region import PRODUCT, Region
from reconad_plugin.networks.texture import build_texture
from reconad_plugin.training.closed_form import fit_closed_form
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import DEFAULTS
from reconad_plugin.training.recipe import Simulation
from reconad_plugin.training.texture import TextureRecipe

SIZE_PX = 32


def untrained():
    """A network with random filters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_texture(SIZE_PX).eval()


def fitted(images):
    """A recipe that was fitted to images."""
    recipe = TextureRecipe(untrained(), Simulation())
    settings = TrainingSettings(geometric_augmentation="none")
    fit_closed_form(recipe, images, settings, 0, DEFAULTS)
    return recipe


def test_distance_is_that_of_mahalanobis(make_normal):
    """Against scikit-learn's estimator on the same statistics."""
    recipe, new = fitted(make_normal(64, 1)), make_normal(5, 2).float() / 255
    rows = torch.cat(recipe._rows).numpy()
    spread = rows.std(0)
    theirs = LedoitWolf().fit((rows - rows.mean(0)) / spread)

    with torch.inference_mode():
        shares, distance = recipe.network.maps(new)
        standard = (new - new.mean((1, 2, 3), keepdim=True)) / new.std(
            (1, 2, 3), keepdim=True, correction=0
        ) * 0.15 + 0.45
        found = recipe.network.describe(standard).double().numpy()

    expected = np.sqrt(theirs.mahalanobis((found - rows.mean(0)) / spread))
    np.testing.assert_allclose(distance[:, 0, 0], expected, rtol=1e-2)
    assert (distance.amax((1, 2)) == distance.amin((1, 2))).all()
    assert shares.shape == distance.shape
    assert shares.min() >= 0
    assert float(recipe.losses(new, Generator())["total"]) > 0


def test_one_flat_picture_gives_finite_distances():
    """A degenerate covariance divides by nothing."""
    recipe = fitted(torch.full((1, 3, SIZE_PX, SIZE_PX), 128, dtype=torch.uint8))

    with torch.inference_mode():
        found = recipe.network.maps(torch.rand(2, 3, SIZE_PX, SIZE_PX))

    assert all(torch.isfinite(each).all() for each in found)


def test_ten_images_calibrate_patches_and_texture_together(make_normal, plant_defect, tmp_path):
    """Both hold all of them out in turn, so that a version of both can be had of ten."""
    normal = NormalImages(make_normal(8, 1), make_normal(2, 2), make_normal(1, 3))
    product = ProductSettings(
        model="fre", witness="texture", features="random", image_size_px=SIZE_PX, target_fpr=0.1
    )

    detector, _ = fit_detector(normal, product, TrainingSettings())
    save_detector(detector, tmp_path)
    again = load_detector(tmp_path)

    assert len(detector.calibration.normal_scores) == 10
    images = make_normal(6, 4)
    found = again.score(images).pred_score
    assert found == pytest.approx(detector.score(images).pred_score, rel=1e-3)
    assert again.score(plant_defect(images)).pred_score.min() > found.max()


@pytest.mark.parametrize("models", [{"model": "texture"}, {"model": "ae", "witness": "texture"}])
def test_it_takes_no_region(make_normal, models):
    """What lies outside one would count; this is told before anything is trained."""
    normal = NormalImages(make_normal(16, 1), make_normal(12, 2), make_normal(1, 3))
    product = ProductSettings(features="random", image_size_px=SIZE_PX, **models)
    region = Region({PRODUCT: np.ones((SIZE_PX, SIZE_PX), np.bool_)})

    with pytest.raises(ConfigError, match="texture is of whole pictures; got it with a region"):
        fit_detector(normal, product, TrainingSettings(steps=10**6), region=region)


def test_a_region_counts_for_both_models(make_normal, plant_defect, tmp_path):
    """A defect outside it moves neither score."""
    normal = NormalImages(make_normal(16, 1), make_normal(12, 2), make_normal(1, 3))
    product = ProductSettings(
        model="ae", witness="fre", features="random", image_size_px=SIZE_PX, target_fpr=0.1
    )
    right = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
    right[:, 24:] = True

    detector, _ = fit_detector(
        normal, product, TrainingSettings(steps=3), region=Region({PRODUCT: right})
    )
    save_detector(detector, tmp_path)

    shown = load_detector(tmp_path).score(plant_defect(normal.judge)).anomaly_map
    assert shown[:, :, :24].max() == 0
    assert shown[:, :, 24:].max() > 0
